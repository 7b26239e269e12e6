"""Implicit shapes: functions of (x, y, z) in mm that are positive inside, near the surface about the depth in mm.

Open coordinate arrays come in, fields go out: `x` has shape (1, 1, nx), `y` (1, ny, 1), `z` (nz, 1, 1).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]


class Axes(NamedTuple):
    """Open coordinates in mm of a (slice, row, column) grid."""

    x: Field
    y: Field
    z: Field


def ellipsoid(at: Axes, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Field:
    """An ellipsoid with its axes along x, y and z."""
    squares = [((a - c) / r) ** 2 for a, c, r in zip(at, centre, radii, strict=True)]
    root = np.sqrt(squares[0] + squares[1] + squares[2])
    field: Field = ((1.0 - root) * np.float32(min(radii))).astype(np.float32)
    return field


def superellipse(
    at: Axes, centre: tuple[float | Field, float | Field], radii: tuple[float | Field, float | Field], power: float
) -> Field:
    """An upright column whose section is a superellipse; centre and radii may change with height."""
    across = np.abs((at.x - centre[0]) / radii[0]) ** power
    deep = np.abs((at.y - centre[1]) / radii[1]) ** power
    root = (across + deep) ** (1.0 / power)
    least = np.minimum(radii[0], radii[1])
    field: Field = ((1.0 - root) * least).astype(np.float32)
    return field


def smooth_union(a: Field, b: Field, blend_mm: float = 6.0) -> Field:
    """Both shapes, with the groove between them filled."""
    field: Field = (0.5 * (a + b + np.sqrt((a - b) ** 2 + np.float32(blend_mm**2)))).astype(np.float32)
    return field


def tubes(at: Axes, lines: list[npt.NDArray[np.float64]], radius_mm: float, reach_mm: float = 12.0) -> Field:
    """Round tubes along polylines of shape (n, 3) in (x, y, z) mm; further than about `reach_mm` from them, -1000."""
    shape = (at.z.shape[0], at.y.shape[1], at.x.shape[2])
    depth = np.full(shape, -1000.0, dtype=np.float32)
    for line in lines:
        for start, end in pairwise(line):
            found = box_around(at, start, end, radius_mm + reach_mm)
            if found is not None:
                part, box = found[0], depth[found[1]]
                np.maximum(box, radius_mm - segment_distance(part, start, end)[0], out=box)
    return depth


def box_around(
    at: Axes, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64], margin_mm: float
) -> tuple[Axes, tuple[slice, slice, slice]] | None:
    """The part of a grid within a margin of a segment's box, and its (slice, row, column); None if there is none."""
    low, high = np.minimum(start, end) - margin_mm, np.maximum(start, end) + margin_mm
    x, y, z = (slice(*np.searchsorted(a.ravel(), (lo, hi))) for a, lo, hi in zip(at, low, high, strict=True))
    if any(span.start >= span.stop for span in (x, y, z)):
        return None
    return Axes(at.x[:, :, x], at.y[:, y], at.z[z]), (z, y, x)


def segment_distance(at: Axes, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> tuple[Field, Field]:
    """Distance in mm to a straight segment, and where along it (0 to 1) the nearest point lies."""
    step = (end - start).astype(np.float32)
    length2 = max(float(step @ step), 1e-6)
    x, y, z = (a - np.float32(s) for a, s in zip(at, start, strict=True))
    along = np.clip((x * step[0] + y * step[1] + z * step[2]) / np.float32(length2), 0.0, 1.0)
    distance: Field = np.sqrt((x - along * step[0]) ** 2 + (y - along * step[1]) ** 2 + (z - along * step[2]) ** 2)
    return distance, along
