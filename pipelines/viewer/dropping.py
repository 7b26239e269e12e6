"""What falls on the picture is opened by nodulus where its panel is docked, without napari's question for a plugin."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QMainWindow, QWidget

from imaging.errors import ImagingError
from pipelines.viewer.reader import get_reader, is_dicom
from pipelines.viewer.results import is_result_folder
from pipelines.viewer.window import open_into


class Drops(QObject):
    """Takes drops on a napari window for a panel; paths that are not ours stay napari's."""

    def __init__(self, panel: Any) -> None:
        super().__init__(panel)
        self.panel = panel

    def watch(self, window: QWidget) -> None:
        """Watch everything in the middle of the window that takes drops."""
        centre = window.centralWidget() if isinstance(window, QMainWindow) else None
        for widget in [] if centre is None else [centre, *centre.findChildren(QWidget)]:
            if widget.acceptDrops():
                widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Open what is ours."""
        if event.type() != QEvent.Type.Drop:
            return False
        urls = event.mimeData().urls()  # type: ignore[attr-defined]
        paths = [Path(url.toLocalFile()) for url in urls if url.isLocalFile()]
        if not paths or len(paths) != len(urls) or not all(get_reader(str(path)) for path in paths):
            return False
        event.accept()
        open_dropped(self.panel, paths)
        return True


def open_dropped(panel: Any, paths: Sequence[Path]) -> None:
    """Open paths for a panel, CTs before results; several DICOM files of one folder are that folder.

    A refusal is said in the panel.
    """
    parents = {path.parent for path in paths}
    if len(paths) > 1 and len(parents) == 1 and all(path.is_file() and is_dicom(path) for path in paths):
        paths = list(parents)
    for path in sorted(paths, key=is_result_folder):
        with suppress(ImagingError):
            if (session := open_into(panel.viewer, path)) is not None:
                panel.adopt(session)
