"""The plugin's commands for napari's command palette and menus: one a key, and those that open and export.

napari does not wire the key bindings of a manifest, so the keys are bound in `cockpit`; a command does the same as its
key. `napari.yaml` lists all of them under these names; a test compares.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from imaging.errors import ImagingError
from pipelines.viewer.keys import KEYS


def _panel() -> Any:
    """The reading panel of the viewer in front; docked if need be, None without a viewer."""
    from napari import current_viewer

    from pipelines.viewer.docking import dock_panel

    viewer = current_viewer()
    return None if viewer is None else dock_panel(viewer)


def _of_key(action: str) -> Callable[[], None]:
    def command() -> None:
        panel = _panel()
        if panel is not None and panel.session is None:
            panel.tell("Open a CT first.")
        elif panel is not None:
            panel.act(action)

    command.__name__ = command.__qualname__ = action
    command.__doc__ = f"The action {action} of the table of keys."
    return command


#: action -> command, for each row of `KEYS`; each is an attribute of this module too, as the manifest wants it.
OF_KEYS: Final = {row.action: _of_key(row.action) for row in KEYS}
globals().update(OF_KEYS)


def open_folder() -> None:
    """Ask for a folder with a CT, a DICOMDIR or a result, and open it."""
    from qtpy.QtWidgets import QFileDialog

    _open(lambda panel: QFileDialog.getExistingDirectory(panel, "A folder with a CT, or a result for the open CT"))


def open_file() -> None:
    """Ask for a file with a CT, or with a segmentation or a report on the open one, and open it."""
    from qtpy.QtWidgets import QFileDialog

    kinds = "CT, DICOM SEG or SR (*.zip *.dcm *.dicom *.ima *.nii *.nii.gz *.mha *.mhd *.nrrd *.nhdr);;All files (*)"
    _open(lambda panel: QFileDialog.getOpenFileName(panel, "A CT, or a DICOM SEG or SR on the open one", "", kinds)[0])


def _open(ask: Callable[[Any], str]) -> None:
    panel = _panel()
    if panel is None or not (chosen := ask(panel)):
        return
    from pipelines.viewer.window import open_into

    with suppress(ImagingError):  # the panel has said it
        if (session := open_into(panel.viewer, Path(chosen))) is not None:
            panel.adopt(session)


def find_nodules() -> None:
    """Run the search on the open CT, or cancel the one that runs."""
    if (panel := _panel()) is not None:
        panel.finder.button.click()


def export_review() -> None:
    """Ask where the review goes and export it."""
    panel = _panel()
    if panel is not None and panel.export.isEnabled():
        panel.export.click()
    elif panel is not None:
        panel.answer("There is nothing to export yet: open a CT and its result, or mark a nodule.", done=False)


def compare_with() -> None:
    """Dock the comparison and ask for the other study."""
    from pipelines.viewer.docking import dock

    if (panel := _panel()) is not None:
        compare = dock(panel.viewer, "compare")
        if not compare.work.running:
            compare.open.click()


def show_worklist() -> None:
    """Dock the worklist."""
    from napari import current_viewer

    from pipelines.viewer.docking import dock_worklist

    if (viewer := current_viewer()) is not None:
        dock_worklist(viewer)
