"""How a session is shown, and who is told when something changes. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from imaging.preprocessing.windows import WINDOWS

SLABS_MM: Final = (0.0, 5.0, 10.0, 15.0)
OPACITIES: Final = (0.25, 0.5, 0.8, 0.0)


def name_of(window: tuple[float, float]) -> str:
    """The preset with this (centre, width) in HU, or nothing.

    >>> name_of((400, 1800))
    'bone'
    """
    return next((name for name, preset in WINDOWS.items() if tuple(preset) == tuple(window)), "")


class Viewing:
    """Window, inversion, slab, opacity, and whether the AI's drawings and the patient's identifiers are shown.

    `eyes` are the drawings that the reader has opened (True) or closed in the layer list.
    """

    def __init__(self) -> None:
        self.window: tuple[float, float] = WINDOWS["lung"]
        self.inverted = False
        self.slab_mm = 0.0
        self.opacity = 0.5
        self.ai_shown = True
        self.eyes: dict[str, bool] = {}
        self.identifiers_shown = False
        self._listeners: list[Callable[[str], None]] = []

    def subscribe(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """Call `listener` with the word for each change; returns what ends the subscription."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener) if listener in self._listeners else None

    def _tell(self, *changes: str) -> None:
        for change in changes:
            for listener in tuple(self._listeners):
                listener(change)

    def set_window(self, centre_hu: float, width_hu: float) -> None:
        """Set the grey window; a width under 1 HU is taken as 1."""
        self.window = (float(centre_hu), max(1.0, float(width_hu)))
        self._tell("window")

    @property
    def window_name(self) -> str:
        """The preset in use, or nothing."""
        return name_of(self.window)

    def invert(self) -> None:
        """Turn black into white and back."""
        self.inverted = not self.inverted
        self._tell("window")

    def next_slab(self) -> None:
        """Go through the slab thicknesses."""
        self.slab_mm = SLABS_MM[(SLABS_MM.index(self.slab_mm) + 1) % len(SLABS_MM)]
        self._tell("slab")

    def view_as(self, other: Viewing) -> None:
        """Take the window, the inversion and the slab of another session, and how much of the AI's drawing is seen."""
        self.window, self.inverted, self.slab_mm = other.window, other.inverted, other.slab_mm
        self.ai_shown, self.opacity, self.eyes = other.ai_shown, other.opacity, dict(other.eyes)
        self._tell("window", "slab", "ai", "opacity")

    def next_opacity(self) -> None:
        """Go through the opacities of the heat maps."""
        self.opacity = OPACITIES[(OPACITIES.index(self.opacity) + 1) % len(OPACITIES)]
        self._tell("opacity")

    def toggle_ai(self) -> None:
        """Hide what the AI drew, or show it again."""
        self.ai_shown = not self.ai_shown
        self._tell("ai")

    def toggle_identifiers(self) -> None:
        """Show who the patient is, or hide it again; hidden at first in every session."""
        self.identifiers_shown = not self.identifiers_shown
        self._tell("identifiers")
