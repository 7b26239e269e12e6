"""What the AI drew over the CT: how it is called, and what of it is seen. No Qt.

By itself one heat map is seen, so that two are not laid over one another: where the reader asked with words the map of
these words, else Grad-CAM. Any other is seen, or goes, with its eye in the layer list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from imaging.findings import Point
from pipelines.viewer.identifiers import on_one_line, shortened

if TYPE_CHECKING:
    from imaging.findings import Report
    from imaging.geometry import Grid

#: role -> layer name, in drawing order.
NAMES: Final[dict[str, str]] = {
    "ct": "CT (HU)",
    "lungs": "lungs",
    "similarity": "similarity to a nodule",
    "grad_cam": "Grad-CAM: why here",
    "nodules": "nodules (AI outline)",
    "segmentation": "segmentation (DICOM SEG)",
    "findings": "findings",
    "crosshair": "crosshair",
}

#: Roles that the AI drew.
AI_ROLES: Final = ("lungs", "similarity", "grad_cam", "nodules", "segmentation", "findings")

#: Of these, heat maps, in drawing order.
HEAT_ROLES: Final = ("similarity", "grad_cam")

#: Of these, masks, in drawing order, and the colours of their outlines.
LABEL_COLOURS: Final = {"lungs": "#26a69a", "nodules": "#40c4ff", "segmentation": "#ff80ab"}

#: A longer prompt or maker is cut where it is part of a name.
LONGEST_WORDS: Final = 40


class Drawings:
    """The base of `Session` that knows what of the AI's drawings is seen; an eye that changes is told as ``eyes``."""

    grid: Grid
    report: Report | None
    maps: dict[str, npt.NDArray[Any]]
    segmented_by: str
    ai_shown: bool
    eyes: dict[str, bool]
    _highest: dict[str, float]
    _tell: Callable[..., None]

    @property
    def prompt(self) -> str:
        """The words that the similarity map was asked for, or nothing."""
        asked = self.report.provenance.settings.get("prompt") if self.report else None
        return on_one_line(str(asked or ""))

    @property
    def asked_for(self) -> bool:
        """Whether there is a map of the reader's own words."""
        return bool(self.prompt) and "similarity" in self.maps

    def shows(self, role: str) -> bool:
        """Whether a drawing is seen: not while all are hidden, nor one whose eye is closed."""
        closed = ("lungs", "grad_cam" if self.asked_for else "similarity")
        return self.ai_shown and self.eyes.get(role, role not in closed)

    def open_eye(self, role: str, opened: bool) -> None:
        """Remember that the reader opened or closed the eye of a drawing; it counts until a new result comes."""
        self.eyes[role] = opened
        self._tell("eyes")

    def drawing_name(self, role: str) -> str:
        """What the layer of a role is called; the map of a prompt names it, a segmentation its maker."""
        if role == "segmentation" and self.segmented_by:
            return f"segmentation by {shortened(self.segmented_by, most=LONGEST_WORDS)}"
        if role != "similarity" or not self.asked_for:
            return NAMES[role]
        return f"similarity: {shortened(self.prompt, most=LONGEST_WORDS)}"

    def highest(self, role: str) -> float:
        """The largest value of a map, never 0; looked up once."""
        if role not in self._highest:
            self._highest[role] = max(1e-6, float(np.nanmax(self.maps[role])))
        return self._highest[role]

    def hottest(self, role: str) -> float:
        """The value of a heat map that has its brightest colour; similarity is one scale for all prompts."""
        return 1.0 if role == "similarity" else self.highest(role)

    def place_of_highest(self, role: str) -> Point:
        """Where a map is largest, LPS mm."""
        index = np.unravel_index(int(np.nanargmax(self.maps[role])), self.grid.shape)
        x, y, z = self.grid.to_mm(index)
        return float(x), float(y), float(z)
