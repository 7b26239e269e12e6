"""What falls on the window is nodulus's where its panel is docked: opened, or refused in the loader's own words.

A picture of another kind would become a layer of napari's and change the sliders of the CT that is read, and napari's
own questions and refusals know nothing of CTs. With Alt held a drop on the picture is napari's, which then asks for a
plugin; so is everything without the panel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from imaging.errors import ImagingError, InputError
from pipelines.viewer.reader import is_dicom
from pipelines.viewer.results import is_result_folder
from pipelines.viewer.window import open_into

#: What Qt asks before it lets something fall.
BEFORE_A_DROP = (QEvent.Type.DragEnter, QEvent.Type.DragMove)


class Drops(QObject):
    """Takes drops on a napari window, and on the panel in it, for the panel."""

    def __init__(self, panel: Any) -> None:
        super().__init__(panel)
        self.panel = panel
        panel.setAcceptDrops(True)
        panel.installEventFilter(self)

    def watch(self, window: QWidget) -> None:
        """Watch everything in the middle of the window that takes drops."""
        centre = window.centralWidget() if isinstance(window, QMainWindow) else None
        for widget in [] if centre is None else [centre, *centre.findChildren(QWidget)]:
            if widget.acceptDrops():
                widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Open what falls; the panel itself says beforehand that it takes files, the rest is napari's and does."""
        if event.type() in BEFORE_A_DROP and watched is self.panel:
            event.setAccepted(event.mimeData().hasUrls())  # type: ignore[attr-defined]
            return True
        if event.type() != QEvent.Type.Drop or self._is_naparis(watched, event):
            return False
        urls = event.mimeData().urls()  # type: ignore[attr-defined]
        if not urls:
            return False
        event.accept()
        open_dropped(self.panel, [Path(url.toLocalFile()) for url in urls if url.isLocalFile()], others=_others(urls))
        return True

    def _is_naparis(self, watched: QObject, event: Any) -> bool:
        alt = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        return self.panel.parent() is None or (alt and watched is not self.panel)


def _others(urls: Sequence[Any]) -> list[str]:
    """Addresses that are not on this computer."""
    return [url.toDisplayString() for url in urls if not url.isLocalFile()]


def open_dropped(panel: Any, paths: Sequence[Path], *, others: Sequence[str] = ()) -> None:
    """Open paths for a panel, CTs before results; several DICOM files of one folder are that folder.

    Every refusal is said in the panel, whatever else was opened well; what was open stays open.
    """
    parents = {path.parent for path in paths}
    if len(paths) > 1 and len(parents) == 1 and all(path.is_file() and is_dicom(path) for path in paths):
        paths = list(parents)
    refused: list[ImagingError] = [_not_here(address) for address in others]
    for path in sorted(paths, key=is_result_folder):
        try:
            if (session := open_into(panel.viewer, path)) is not None:
                panel.adopt(session)
        except ImagingError as error:
            refused.append(error)
    if refused:
        panel.tell("\n".join(str(error) for error in refused))
        _bring_to_front(panel)


def _bring_to_front(panel: QWidget) -> None:
    """Out of the dark, or from behind another tab: what was refused must be seen."""
    dock = next((one for one in panel.window().findChildren(QDockWidget) if one.isAncestorOf(panel)), None)
    if dock is not None and panel.visibleRegion().isEmpty():
        dock.show()
        dock.raise_()


def _not_here(address: str) -> InputError:
    return InputError("input.missing", "this is no file on this computer", where=address)
