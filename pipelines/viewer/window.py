"""The window: a viewer with the reading panel and the other planes docked, and what dropping files on it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from imaging.errors import InputError
from imaging.io import SeriesInfo
from imaging.io.dicom_results import is_outside_result
from imaging.provenance import file_sha256
from pipelines.viewer.layers import LayerData
from pipelines.viewer.opening import open_session, own_folder, usable_series
from pipelines.viewer.results import is_result_folder, show_folder, show_outside
from pipelines.viewer.session import Session

Choose = Callable[[list[SeriesInfo], list[SeriesInfo]], SeriesInfo | None]


def open_window(path: Path, result: Path | None, *, block: bool = True) -> Any:
    """A new viewer on a CT; see `pipelines.viewer.open_viewer`."""
    from napari import Viewer, run

    session = open_session(path, result)
    viewer = Viewer(title="nodulus", show=block)
    show(viewer, session)
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
    from qtpy.QtWidgets import QDockWidget, QMainWindow

    panel = dock_panel(viewer)
    main = panel.window()
    if not isinstance(main, QMainWindow):
        return
    docks = {dock.objectName(): dock for dock in main.findChildren(QDockWidget)}
    planes = next((dock for name, dock in docks.items() if name.startswith("Other planes")), None)
    if "layer controls" in docks:
        docks["layer controls"].hide()
    if planes is not None:
        main.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, planes)
    if "layer list" in docks:
        main.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, docks["layer list"])
    viewer.window.resize(1500, 950)
    viewer.reset_view()


def dock_panel(viewer: Any) -> Any:
    """The viewer's reading panel; it and the other planes are docked if they are not there yet."""
    from pipelines.viewer.ortho import OtherPlanes
    from pipelines.viewer.panel import ReadingPanel

    panels = [widget for widget in viewer.window.dock_widgets.values() if isinstance(widget, ReadingPanel)]
    if panels:
        return panels[0]
    _, panel = viewer.window.add_plugin_dock_widget("nodulus", "Reading session")
    if not any(isinstance(widget, OtherPlanes) for widget in viewer.window.dock_widgets.values()):
        viewer.window.add_plugin_dock_widget("nodulus", "Other planes")
    return panel


def read_into_window(
    path: Path, as_layers: Callable[[Session], list[LayerData]], *, choose: Choose | None = None
) -> Any:
    """What dropping a path does: a result goes over the open CT, a CT becomes layers and opens the panel.

    Raises:
        InputError: the loader's refusal; ``result.no_ct`` for a result without an open CT; ``series.ambiguous`` where
            there are several series and nobody chose.
    """
    from napari import current_viewer

    viewer = current_viewer()
    panel = dock_panel(viewer) if viewer is not None else None
    if is_result_folder(path):
        if panel is None or panel.cockpit is None:
            raise InputError("result.no_ct", "no CT is open that this result could lie over", where=path)
        show_folder(panel.cockpit.session, path)
        return [(None,)]
    if path.is_file() and panel is not None and panel.cockpit is not None and is_outside_result(path):
        session = panel.cockpit.session
        show_outside(session, path, folder=own_folder(session.volume.seriesuid) / f"report-{file_sha256(path)[:12]}")
        return [(None,)]
    return as_layers(open_chosen(path, choose or (_ask if panel is not None else None)))


def open_chosen(path: Path, choose: Choose | None) -> Session:
    """Open the only series of a path, or the one that is chosen among several.

    Raises:
        InputError: the loader's refusal; ``series.ambiguous`` where nothing was chosen.
    """
    try:
        return open_session(path)
    except InputError as error:
        if error.code != "series.ambiguous" or choose is None:
            raise
        chosen = choose(*usable_series(path))
        if chosen is None:
            raise
        return open_session(path, series=chosen)


def _ask(usable: list[SeriesInfo], unusable: list[SeriesInfo]) -> SeriesInfo | None:
    from pipelines.viewer.series_chooser import ask

    return ask(usable, unusable)
