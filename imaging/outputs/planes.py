"""Pictures of a volume along the patient's own planes, whatever way its voxels lie.

A plane is laid out in LPS mm and every pixel asks the grid for its value, so an oblique, tilted or turned CT comes out
upright, at true proportions, and with the right letters on its edges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.findings import Point
from imaging.geometry.grid import Floats, Grid


@dataclass(frozen=True)
class View:
    """A way to look at a patient.

    Args:
        right, down: unit vectors in LPS along which pixels run.
        letters: what the left, right, upper and lower edge of the picture are (R L A P S I of the patient).
    """

    name: str
    right: Point
    down: Point
    letters: tuple[str, str, str, str]


#: Seen from the feet, the patient on the back.
AXIAL: Final = View("axial", (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), ("R", "L", "A", "P"))
#: Seen from the front, head up.
CORONAL: Final = View("coronal", (1.0, 0.0, 0.0), (0.0, 0.0, -1.0), ("R", "L", "S", "I"))
#: Seen from the patient's left, head up.
SAGITTAL: Final = View("sagittal", (0.0, 1.0, 0.0), (0.0, 0.0, -1.0), ("A", "P", "S", "I"))


@dataclass(frozen=True)
class Plane:
    """A picture to be taken: a view, the point at its centre (LPS mm), its size in pixels and their size in mm.

    >>> plane = Plane(CORONAL, centre_mm=(10.0, 0.0, -50.0), width=11, height=5, mm_per_pixel=2.0)
    >>> plane.to_pixel((14.0, 7.0, -48.0))
    (7.0, 1.0)
    """

    view: View
    centre_mm: Point
    width: int
    height: int
    mm_per_pixel: float

    @property
    def first_mm(self) -> Floats:
        """LPS mm of the centre of the upper left pixel."""
        across, down = np.asarray(self.view.right), np.asarray(self.view.down)
        half = across * (self.width - 1) / 2 + down * (self.height - 1) / 2
        first: Floats = np.asarray(self.centre_mm) - half * self.mm_per_pixel
        return first

    def to_pixel(self, point_mm: Point) -> tuple[float, float]:
        """(x, y) of the pixel below a point, which is projected onto the plane; not rounded."""
        away = (np.asarray(point_mm) - self.first_mm) / self.mm_per_pixel
        return float(away @ self.view.right), float(away @ self.view.down)


def sample(
    array: npt.NDArray[Any], grid: Grid, plane: Plane, *, order: int = 1, fill: float = np.nan
) -> npt.NDArray[np.float32]:
    """Values of `array` in a plane; shape (height, width).

    Args:
        array: (slice, row, column) on `grid`.
        order: 1 linear, 0 nearest.
        fill: the value of pixels outside the voxels of the grid.
    """
    from scipy.ndimage import map_coordinates

    step = grid.inverse[:3, :3] * plane.mm_per_pixel
    across = np.outer(step @ plane.view.right, np.arange(plane.width))
    down = np.outer(step @ plane.view.down, np.arange(plane.height))
    index = grid.to_index(plane.first_mm)[:, None, None] + down[:, :, None] + across[:, None, :]
    last = np.asarray(grid.shape)[:, None, None] - 1
    outside = ((index < -0.5) | (index > last + 0.5)).any(axis=0)
    values = map_coordinates(array, index, output=np.float32, order=order, mode="nearest", prefilter=False)
    values[outside] = fill
    return values


@dataclass(frozen=True)
class Field:
    """A box in LPS mm, from `low` to `high`."""

    low: Point
    high: Point

    @property
    def size_mm(self) -> Floats:
        """Extent along x, y and z."""
        return np.asarray(self.high) - np.asarray(self.low)

    def around(self, point_mm: Point, *, most_mm: float) -> Field:
        """The part of the box that is at most `most_mm` long along each axis and holds the point."""
        half = np.minimum(self.size_mm, most_mm) / 2
        centre = np.clip(point_mm, np.asarray(self.low) + half, np.asarray(self.high) - half)
        return Field(_point(centre - half), _point(centre + half))

    @property
    def centre_mm(self) -> Point:
        """The middle of the box."""
        return _point((np.asarray(self.low) + np.asarray(self.high)) / 2)


def _point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])


def field_of(grid: Grid, mask: npt.NDArray[Any] | None = None, *, margin_mm: float = 0.0) -> Field:
    """The box around all voxels of a grid, or around those of a mask with a margin, but never beyond the grid's."""
    whole = _box_mm(grid, np.zeros(3), np.asarray(grid.shape) - 1.0)
    if mask is None or not mask.any():
        return whole
    found = [np.flatnonzero(mask.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    inner = _box_mm(grid, np.array([float(f[0]) for f in found]), np.array([float(f[-1]) for f in found]))
    low = np.maximum(np.asarray(inner.low) - margin_mm, whole.low)
    high = np.minimum(np.asarray(inner.high) + margin_mm, whole.high)
    return Field(_point(low), _point(high))


def _box_mm(grid: Grid, first: Floats, last: Floats) -> Field:
    ends = np.stack([first - 0.5, last + 0.5])
    corners = grid.to_mm([[ends[i, 0], ends[j, 1], ends[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return Field(_point(corners.min(axis=0)), _point(corners.max(axis=0)))
