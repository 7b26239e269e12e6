"""What is written over the picture: the letters of the directions, the state of the review, the value at a point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: edge -> where napari draws it.
EDGES = {"left": "middle_left", "right": "middle_right", "top": "top_center", "bottom": "bottom_center"}
#: text -> the corner that it stands in.
CORNERS = {"nodulus_state": "top_left", "nodulus_readout": "bottom_left", "nodulus_patient": "top_right"}
LETTER_COLOUR = "#ffd54f"
#: Behind the texts, so that they can be read on bright tissue.
SHADE = (0.0, 0.0, 0.0, 0.55)


class Overlays:
    """Text overlays of one viewer, in napari's own overlay table under names that begin with ``nodulus``."""

    def __init__(self, viewer: Any) -> None:
        from napari.components.overlays import TextOverlay

        self._table = viewer.canvas.overlays
        for edge, position in EDGES.items():
            overlay = TextOverlay(position=position, font_size=16, color=LETTER_COLOUR, box_color=SHADE)
            self._table.setdefault(f"nodulus_{edge}", overlay)
        for name, position in CORNERS.items():
            overlay = TextOverlay(position=position, font_size=10, color="white", box_color=SHADE)
            self._table.setdefault(name, overlay)

    def letter(self, letters: Mapping[str, str]) -> None:
        """Show the letters at the edges; an edge without one shows none (3D)."""
        for edge in EDGES:
            overlay = self._table[f"nodulus_{edge}"]
            overlay.text = letters.get(edge, "")
            overlay.visible = bool(overlay.text)

    def write(self, state: str | None, readout: str | None) -> None:
        """Show the state of the review and the readout; None leaves a text as it is."""
        for name, text in (("nodulus_state", state), ("nodulus_readout", readout)):
            if text is not None:
                self._table[name].text = text
                self._table[name].visible = True

    def identify(self, patient: str) -> None:
        """Show who the patient is; nothing for an empty text."""
        self._table["nodulus_patient"].text = patient
        self._table["nodulus_patient"].visible = bool(patient)

    def hide(self) -> None:
        """Take all of them away."""
        for name in (*CORNERS, *(f"nodulus_{edge}" for edge in EDGES)):
            self._table[name].visible = False
        self._table["nodulus_patient"].text = ""
