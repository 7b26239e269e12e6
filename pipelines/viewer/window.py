"""The window: a viewer with the reading panel and the other planes docked, and what dropping files on it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from imaging.errors import ImagingError, InputError
from imaging.io import SeriesInfo
from imaging.io.dicom_results import is_outside_result
from imaging.provenance import file_sha256
from pipelines.viewer.comparison import compare, prepare
from pipelines.viewer.docking import dock, dock_panel, may_leave
from pipelines.viewer.layers import LayerData, ct_layer
from pipelines.viewer.opening import open_session, own_folder, usable_series
from pipelines.viewer.results import is_result_folder, show_folder, show_outside
from pipelines.viewer.session import Session

Choose = Callable[[list[SeriesInfo], list[SeriesInfo]], SeriesInfo | None]

#: What a reader of napari returns when there is no layer to add.
NOTHING: Final[list[tuple[None]]] = [(None,)]

#: What stands on the left of the picture, by the beginning of its title.
BESIDE: Final = ("Other planes", "Compare")

#: Of the reading panel, pixels: most rows of the list need one line, and the picture has half of the window.
PANEL_WIDTH: Final = 410


def open_window(
    path: Path, result: Path | None, *, other: Path | None = None, other_result: Path | None = None, block: bool = True
) -> Any:
    """A new viewer on a CT; see `pipelines.viewer.open_viewer`."""
    from napari import Viewer, run

    session = open_session(path, result)
    beside = None if other is None else prepare(session, other, other_result)
    viewer = Viewer(title="nodulus", show=block)
    show(viewer, session)
    if beside is not None:
        dock(viewer, "compare").adopt(compare(session, beside))
    arrange(viewer)
    if block:
        run()
    return viewer


def show(viewer: Any, session: Session) -> Any:
    """Show a session in a viewer with the panel and the other planes docked; returns the panel."""
    panel = dock_panel(viewer)
    panel.adopt(session)
    return panel


def arrange(viewer: Any) -> None:
    """Room for the picture: the other planes on the left, napari's layer list under the panel, its controls hidden.

    Everything comes back through the Window menu.
    """
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow

    panel = dock_panel(viewer)
    main = panel.window()
    if not isinstance(main, QMainWindow):
        return
    docks = {dock.objectName(): dock for dock in main.findChildren(QDockWidget)}
    if "layer controls" in docks:
        docks["layer controls"].hide()
    beside = [next((row for key, row in docks.items() if key.startswith(name)), None) for name in BESIDE]
    for widget in (widget for widget in beside if widget is not None):
        main.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, widget, Qt.Orientation.Horizontal)
    if "layer list" in docks:
        main.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks["layer list"])
    viewer.window.resize(1500, 950)
    reading = next((dock for dock in docks.values() if dock.isAncestorOf(panel)), None)
    if reading is not None and "layer list" in docks:
        QApplication.processEvents()  # the docks must have their room before it is shared out
        main.resizeDocks([reading, docks["layer list"]], [620, 230], Qt.Orientation.Vertical)
    planes, other = beside
    if planes is not None and other is not None:
        main.resizeDocks([planes, other], [200, 465], Qt.Orientation.Horizontal)
    elif planes is not None:
        main.resizeDocks([planes], [260], Qt.Orientation.Horizontal)
        if reading is not None:
            main.resizeDocks([reading], [PANEL_WIDTH], Qt.Orientation.Horizontal)
    viewer.reset_view()


def read_into_window(path: Path, as_layers: Callable[[Session], list[LayerData]]) -> Any:
    """What dropping a path does: a result goes over the open CT, a CT becomes layers and opens the panel.

    Raises:
        InputError: see `open_into`.
    """
    from napari import current_viewer

    viewer = current_viewer()
    session = open_into(viewer, path)
    if session is None:
        return NOTHING
    # A panel adds what lies over the CT as soon as the CT is there.
    return as_layers(session) if viewer is None else [ct_layer(session)]


def open_into(viewer: Any, path: Path, *, choose: Choose | None = None) -> Session | None:
    """Open a path for a viewer: a session of a CT that is to be shown, or None where nothing new is.

    Nothing new is shown where the path was a result that now lies over the open CT, where the reader cancelled the
    choice among several series, or keeps the open session because of decisions that are not on the disk.

    Args:
        viewer: with or without the panel; None without a window.
        choose: asks which series; a dialog where there is a window.

    Raises:
        InputError: the loader's refusal; ``result.no_ct`` for a result without an open CT; ``series.ambiguous`` where
            there are several series and nobody to choose. The panel says it too.
    """
    panel = dock_panel(viewer) if viewer is not None else None
    if not may_leave(viewer):
        return None
    try:
        if panel is not None and _lay_over(path, panel.session):
            panel.tell("")  # what was refused before
            return None
        if is_result_folder(path):
            raise InputError("result.no_ct", "no CT is open that this result could lie over", where=path)
        return open_chosen(path, choose or (None if panel is None else _asking(panel)))
    except ImagingError as error:
        if panel is not None:
            panel.refuse(error)
        raise


def _lay_over(path: Path, session: Session | None) -> bool:
    """Lay a result folder, a segmentation or a report over the open CT; False if the path is none of these."""
    if session is not None and is_result_folder(path):
        show_folder(session, path)
        return True
    if session is not None and path.is_file() and is_outside_result(path):
        show_outside(session, path, folder=own_folder(session.volume.seriesuid) / f"report-{file_sha256(path)[:12]}")
        return True
    return False


def open_chosen(path: Path, choose: Choose | None) -> Session | None:
    """Open the only series of a path, or the one that is chosen among several; None where the choice was cancelled.

    Raises:
        InputError: the loader's refusal; ``series.ambiguous`` where there is nobody to choose.
    """
    try:
        return open_session(path)
    except InputError as error:
        if error.code != "series.ambiguous" or choose is None:
            raise
        chosen = choose(*usable_series(path))
        return None if chosen is None else open_session(path, series=chosen)


def _asking(parent: Any) -> Choose:
    from pipelines.viewer.series_chooser import ask

    return lambda usable, unusable: ask(usable, unusable, parent)
