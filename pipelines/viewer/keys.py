"""The table of keys: bindings, the panel's tooltips and docs/napari.md are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Key:
    """One row: the key as napari writes it, the method of `Cockpit` it calls, and what a reader gets."""

    key: str
    action: str
    meaning: str


KEYS: Final[tuple[Key, ...]] = (
    Key("1", "window_lung", "lung window (−600 / 1500)"),
    Key("2", "window_mediastinum", "mediastinal window (40 / 400)"),
    Key("3", "window_bone", "bone window (400 / 1800)"),
    Key("I", "invert", "invert black and white"),
    Key("7", "axial", "axial plane; again: fit it to the window"),
    Key("8", "coronal", "coronal plane; again: fit it to the window"),
    Key("9", "sagittal", "sagittal plane; again: fit it to the window"),
    Key("0", "volume_3d", "3D and back"),
    Key("Up", "slice_up", "next slice"),
    Key("Down", "slice_down", "slice before"),
    Key("L", "slab", "maximum over a slab: 5, 10, 15 mm, off"),
    Key("N", "next_finding", "next finding"),
    Key("P", "previous_finding", "finding before"),
    Key("A", "accept", "accept the finding"),
    Key("R", "reject", "reject the finding"),
    Key("E", "edit_centre", "move the finding's centre to the crosshair"),
    Key("M", "add_missed", "mark a missed nodule at the crosshair"),
    Key("C", "comment", "write a comment on the finding"),
    Key("D", "measure", "diameter = distance from the finding's centre to the crosshair, times two"),
    Key("T", "ruler", "ruler: from the crosshair; again: to the crosshair"),
    Key("U", "undo", "undo the last decision or ruler"),
    Key("O", "opacity", "heat map: faint, middle, strong, off"),
    Key("H", "hide_ai", "hide or show everything that the AI drew"),
    Key("W", "identify", "show or hide who the patient is"),
    Key("PageDown", "next_study", "next study of the worklist"),
    Key("PageUp", "previous_study", "study before"),
)

#: What the mouse does on the picture; only for the guide.
MOUSE: Final[tuple[tuple[str, str], ...]] = (
    ("wheel", "scroll through the slices"),
    ("Shift + wheel", "zoom"),
    ("left drag", "move the picture"),
    ("right drag", "window: sideways for the width, up and down for the centre"),
    ("Shift + left drag", "ruler, in mm"),
    (
        "click",
        "put the crosshair there, in all planes; in a ring, select that finding; in the selected one's, the crosshair",
    ),
)


def markdown() -> str:
    """Both tables as they stand in docs/napari.md."""
    rows = ["| key | what it does |", "|---|---|"]
    rows += [f"| `{row.key}` | {row.meaning} |" for row in KEYS]
    rows += ["", "| mouse | what it does |", "|---|---|"]
    rows += [f"| {gesture} | {meaning} |" for gesture, meaning in MOUSE]
    return "\n".join(rows) + "\n"
