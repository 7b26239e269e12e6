"""The widgets of the plugin as a viewer docks them, found by their role.

Widgets find one another here, so that none has to import another.
"""

from __future__ import annotations

from typing import Any, Final

#: role (a widget's attribute `nodulus_role`) -> its display name in napari.yaml.
TITLES: Final = {"panel": "Reading session", "planes": "Other planes", "worklist": "Worklist", "compare": "Compare"}


def docked(viewer: Any, role: str) -> Any:
    """The viewer's widget of a role, or None."""
    widgets = viewer.window.dock_widgets.values()
    return next((widget for widget in widgets if getattr(widget, "nodulus_role", "") == role), None)


def dock(viewer: Any, role: str) -> Any:
    """The viewer's widget of a role; it is docked if it is not there yet."""
    widget = docked(viewer, role)
    if widget is None:
        _, widget = viewer.window.add_plugin_dock_widget("nodulus", TITLES[role])
    return widget


def dock_panel(viewer: Any) -> Any:
    """The reading panel; it and the other planes are docked if they are not there yet."""
    panel = dock(viewer, "panel")
    dock(viewer, "planes")
    return panel


def may_leave(viewer: Any) -> bool:
    """Whether the open session may give way to another: nothing unsaved, or the reader agrees to lose it."""
    panel = docked(viewer, "panel") if viewer is not None else None
    return panel is None or bool(panel.may_leave())


def dock_worklist(viewer: Any) -> Any:
    """The worklist, as a tab over napari's layer list, so that the reading panel keeps its room."""
    from qtpy.QtWidgets import QDockWidget, QMainWindow

    worklist = dock(viewer, "worklist")
    main = worklist.window()
    if isinstance(main, QMainWindow):
        docks = main.findChildren(QDockWidget)
        ours = next((one for one in docks if one.isAncestorOf(worklist)), None)
        layers = next((one for one in docks if one.objectName() == "layer list"), None)
        if ours is not None and layers is not None:
            main.tabifyDockWidget(layers, ours)
            ours.show()
            ours.raise_()
    return worklist
