"""Distances that the reader measured: from one point of the patient to another, in millimetres. No Qt.

A ruler is an event in the file of decisions like any other, so it comes back with the session and can be taken back.
It decides nothing about a finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from imaging.findings import Point
from imaging.geometry import Grid
from pipelines.viewer.planes import Plane
from pipelines.viewer.review import Event

#: A shorter one is a slip of the hand.
SHORTEST_MM: Final = 0.5


@dataclass(frozen=True)
class Ruler:
    """A straight distance between two LPS points, mm."""

    start_mm: Point
    end_mm: Point

    @property
    def length_mm(self) -> float:
        """The distance; the points are millimetres, so the spacing of the slices does not enter."""
        return math.dist(self.start_mm, self.end_mm)

    @property
    def label(self) -> str:
        """Its length in words."""
        return f"{self.length_mm:.1f} mm"

    def meets(self, plane: Plane, grid: Grid, point_mm: Point, *, slab_mm: float = 0.0) -> bool:
        """Whether any of it lies in the slice, or the slab, that `plane` shows at `point_mm`."""
        axis = plane.order[0]
        reach = max(grid.spacing_mm[axis], slab_mm) / 2
        low, high = sorted((self.start_mm[2 - axis], self.end_mm[2 - axis]))
        return low - reach <= point_mm[2 - axis] <= high + reach

    def laid_into(self, plane: Plane, point_mm: Point) -> Ruler:
        """It as the slice at `point_mm` shows it: seen along the axis that is cut."""
        axis = 2 - plane.order[0]
        start, end = list(self.start_mm), list(self.end_mm)
        start[axis] = end[axis] = point_mm[axis]
        return Ruler(_point(start), _point(end))


def rulers_of(events: Iterable[Event]) -> tuple[Ruler, ...]:
    """The rulers that stand after all events, oldest first."""
    events = tuple(events)
    undone = {event.values["event"] for event in events if event.action == "undo"}
    standing = [event for event in events if event.action == "ruler" and event.event not in undone]
    return tuple(ruler_of(event) for event in standing)


def ruler_of(event: Event) -> Ruler:
    """The ruler that an event recorded."""
    return Ruler(_point(event.values["start_mm"]), _point(event.values["end_mm"]))


def _point(values: Iterable[float]) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


class Rulers:
    """The base of `Session` that measures; what is drawn anew is told as ``rulers``."""

    point_mm: Point
    rulers: tuple[Ruler, ...] = ()
    _begun: Point | None = None
    _stretched_to: Point | None = None
    _tell: Callable[..., None]

    def _record_ruler(self, start_mm: Point, end_mm: Point) -> None:
        raise AttributeError("_record_ruler")

    @property
    def unfinished(self) -> Ruler | None:
        """The ruler that is being drawn: to the crosshair, or to where the mouse is."""
        return None if self._begun is None else Ruler(self._begun, self._stretched_to or self.point_mm)

    @property
    def drawn_rulers(self) -> tuple[Ruler, ...]:
        """All of them, the unfinished one last."""
        return self.rulers if self.unfinished is None else (*self.rulers, self.unfinished)

    def step_ruler(self) -> None:
        """Begin a ruler at the crosshair, or end there the one that was begun; at the same place it is given up."""
        if self._begun is None:
            self.stretch_ruler(self.point_mm, None)
        else:
            self.end_ruler()

    def stretch_ruler(self, start_mm: Point, end_mm: Point | None) -> None:
        """Show an unfinished ruler; with no end it follows the crosshair."""
        self._begun, self._stretched_to = start_mm, end_mm
        self._tell("rulers")

    def end_ruler(self) -> None:
        """Keep the unfinished ruler, or give it up if it is no distance.

        Raises:
            OutputError: ``review.unwritten``; the ruler stays in memory.
        """
        ruler, self._begun, self._stretched_to = self.unfinished, None, None
        if ruler is not None and ruler.length_mm >= SHORTEST_MM:
            self._record_ruler(ruler.start_mm, ruler.end_mm)
        else:
            self._tell("rulers")
