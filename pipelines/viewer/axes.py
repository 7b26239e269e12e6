"""Where the session's three axes lie among those of the viewer, and the steps of its sliders. No Qt.

napari lines layers up by their last axes: beside somebody else's four-dimensional layer ours are the last three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from imaging.findings import Point
from imaging.geometry import Grid
from pipelines.viewer.planes import Plane

Range = tuple[float, float, float]

#: Steps that are whole but for the last digits of a float count as whole.
WHOLE: Final = 1e-6


def to_world(points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """LPS (x, y, z) points as world points (z, y, x); its own inverse."""
    return np.asarray(points_mm, dtype=np.float64)[..., ::-1]


def order_of(plane: Plane, ndim: int) -> tuple[int, ...]:
    """The order of a viewer's `ndim` axes that shows a plane.

    >>> from pipelines.viewer.planes import PLANES
    >>> order_of(PLANES["coronal"], 4)
    (0, 2, 1, 3)
    """
    others = ndim - 3
    return (*range(others), *(axis + others for axis in plane.order))


def slice_of(grid: Grid, world: npt.ArrayLike) -> npt.NDArray[np.intp]:
    """The voxel (z, y, x) of a world point (z, y, x) mm; it may lie outside."""
    index: npt.NDArray[np.intp] = np.rint(grid.to_index(np.asarray(world)[::-1])).astype(np.intp)
    return index


def on_slices(grid: Grid, point_mm: Point) -> tuple[float, float, float]:
    """The middle (z, y, x) mm of the voxel that holds an LPS point: where the viewer stands to show its slices."""
    x, y, z = grid.to_mm(slice_of(grid, point_mm[::-1]))
    return float(z), float(y), float(x)


def some_slices_on(grid: Grid, point_mm: Point, axis: int, by: int) -> Point:
    """An LPS point `by` slices further along a world axis (z, y, x), as far from the middle of its slice as before.

    One that lies half-way between two slices is taken a hair into its own: whole steps from there would fall now on
    this slice, now on the one beside it, since halves are rounded to even numbers.

    >>> grid = Grid.from_spacing((60, 4, 4), spacing_mm=(2.0, 1.0, 1.0))
    >>> [int(slice_of(grid, some_slices_on(grid, (0, 0, 59.0), 0, by)[::-1])[0]) for by in (0, 1, 2, -1)]
    [30, 31, 32, 29]
    """
    index, at = grid.to_index(point_mm).copy(), slice_of(grid, point_mm[::-1])
    index[axis] = at[axis] + by + np.clip(index[axis] - at[axis], -0.5 + WHOLE, 0.5 - WHOLE)
    x, y, z = grid.to_mm(index)
    return float(x), float(y), float(z)


def in_its_slice(grid: Grid, plane: Plane, point_mm: Point, *, was_mm: Point) -> Point:
    """A point of the slice that is shown, as far across the plane as a point of the same slice that was there before.

    The picture stands on the middle of a slice; what lay beside it must not move there because a hand moved in plane.
    """
    through = plane.order[0]
    world, was = np.array(point_mm, dtype=np.float64)[::-1].copy(), np.asarray(was_mm)[::-1]
    if slice_of(grid, world)[through] == slice_of(grid, was)[through]:
        world[through] = was[through]
    z, y, x = world
    return float(x), float(y), float(z)


def slider_ranges(grid: Grid, ranges: Sequence[Range]) -> tuple[Range, ...]:
    """The viewer's ranges (start, stop, step), those of our axes in whole slices of the CT.

    By itself napari takes the smallest step of any layer, 1 mm for rings and lines, so its sliders stand between
    slices.
    """
    first = grid.to_mm((0, 0, 0))[::-1]
    ours: list[Range] = []
    for start, (low, high, _), count, step in zip(first, ranges[-3:], grid.shape, grid.spacing_mm, strict=True):
        before = max(0, math.ceil((start - low) / step - WHOLE))
        after = max(0, math.ceil((high - start) / step - (count - 1) - WHOLE))
        begin = float(start - before * step)
        ours.append((begin, begin + (before + count - 1 + after + WHOLE) * step, float(step)))
    return (*((low, high, step) for low, high, step in ranges[:-3]), *ours)
