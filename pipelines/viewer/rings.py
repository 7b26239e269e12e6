"""The rings around findings: their look, and how a slice or a slab shows them, in every picture the same. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.viewer.axes import on_slices, to_world
from pipelines.viewer.planes import Plane, Point
from pipelines.viewer.review import Reviewed
from pipelines.viewer.session import Session

STATE_COLOURS: Final = {"undecided": "#ffb000", "accepted": "#2fd08a", "rejected": "#9aa0a6"}
STATE_SIGNS: Final = {"undecided": "?", "accepted": "✓", "rejected": "✗"}

#: A ring is this much wider than its nodule, so that it never covers the edge.
RING_MARGIN_MM: Final = 6.0

#: Pixels. napari draws a point of no size at (0, 0) mm where none is in view, but by itself none of less than 2 pixels.
NO_LEAST_SIZE: Final = (0, 10_000)


@dataclass(frozen=True)
class Ring:
    """A ring as a plane shows it: of which finding, around which LPS point of the slice, with which radius."""

    row: Reviewed
    centre_mm: Point
    radius_mm: float


def rings(rows: tuple[Reviewed, ...]) -> tuple[npt.NDArray[np.float64], dict[str, list[Any]], dict[str, Any]]:
    """World points, the feature table (one row a finding), and the look of the rings."""
    points = to_world([row.finding.centre_mm for row in rows]).reshape(-1, 3)
    features: dict[str, list[Any]] = {
        "number": [row.finding.number for row in rows],
        "score": [round(row.finding.score, 3) for row in rows],
        "diameter_mm": [row.finding.diameter_mm for row in rows],
        "state": [row.state for row in rows],
        "label": [f"{row.finding.number} {STATE_SIGNS[row.state]}" for row in rows],
        "tracking_uid": [row.finding.tracking_uid for row in rows],
    }
    look = {
        "size": [(row.finding.diameter_mm or 6.0) + RING_MARGIN_MM for row in rows] or 10.0,
        "face_color": "transparent",
        "border_color": [STATE_COLOURS[row.state] for row in rows] or "white",
        "border_width": 0.8,
        "border_width_is_relative": False,
        "symbol": "disc",
    }
    return points, features, look


def laid_into(
    session: Session, plane: Plane, points: npt.NDArray[np.float64], size: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Rings as a slice or a slab shows them: in its middle slice, those whose ball it meets, as wide as it is there.

    Without a slab napari does the same (``rescale_spherical``); in one it shows a point only where its ball meets the
    middle, so it would lose rings of what is seen.

    Args:
        points: world points.
        size: diameters, mm.

    Returns:
        points, which are shown, diameters in mm.
    """
    axis = plane.order[0]
    middle = on_slices(session.grid, session.point_mm)[axis]
    away = np.maximum(0.0, np.abs(points[:, axis] - middle) - session.slab_mm / 2)
    shown = away < size / 2
    laid = points.copy()
    laid[:, axis] = middle
    return laid, shown, np.where(shown, 2 * np.sqrt(np.maximum(0.0, (size / 2) ** 2 - away**2)), size)


def rings_in_plane(session: Session, plane: Plane) -> tuple[Ring, ...]:
    """The rings that a plane through the session's point shows, in the order of the list."""
    if not session.findings:
        return ()
    points, _, look = rings(session.findings)
    laid, shown, size = laid_into(session, plane, points, np.asarray(look["size"], dtype=np.float64))
    rows = zip(session.findings, laid.tolist(), shown, size.tolist(), strict=True)
    return tuple(Ring(row, (x, y, z), diameter / 2) for row, (z, y, x), seen, diameter in rows if seen)


def ring_at(session: Session, plane: Plane, point_mm: Point) -> Reviewed | None:
    """The finding whose ring a plane shows around a point of its slice; of several the one whose middle is nearest."""
    drawn = rings_in_plane(session, plane)
    away = [_in_plane(plane, ring.centre_mm, point_mm) for ring in drawn]
    inside = [(distance, at) for at, distance in enumerate(away) if distance <= drawn[at].radius_mm]
    return drawn[min(inside)[1]].row if inside else None


def _in_plane(plane: Plane, one_mm: Point, other_mm: Point) -> float:
    """How far two LPS points lie from one another as the plane shows them."""
    return float(np.linalg.norm(np.delete(np.subtract(one_mm, other_mm), 2 - plane.order[0])))
