"""Boxes of voxels: bounding boxes, margins in millimetres, crops that keep their place in space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A box of voxels, half open like a slice: `start` is inside, `stop` is not; in (slice, row, column) indices.

    A box may reach over a grid's edge: `clipped` cuts it, `crop_volume` fills what lies outside.

    >>> Box((0, 2, 2), (1, 6, 5)).shape
    (1, 4, 3)
    """

    start: Triple
    stop: Triple

    def __post_init__(self) -> None:
        if any(b < a for a, b in zip(self.start, self.stop, strict=True)):
            raise ValueError(f"a box cannot end at {self.stop} before it starts at {self.start}")

    @property
    def shape(self) -> Triple:
        """Number of voxels along each axis."""
        return _triple(np.subtract(self.stop, self.start))

    @property
    def is_empty(self) -> bool:
        """Whether the box holds no voxel."""
        return min(self.shape) == 0

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """For indexing an array; the box must lie inside the array (see `clipped`)."""
        if min(self.start) < 0:
            raise ValueError(f"the box starts at {self.start}, outside the array; clip it first")
        return (
            slice(self.start[0], self.stop[0]),
            slice(self.start[1], self.stop[1]),
            slice(self.start[2], self.stop[2]),
        )

    def clipped(self, shape: Triple) -> Box:
        """The part of the box inside an array of `shape`; empty if there is none."""
        start = np.clip(self.start, 0, shape)
        return Box(_triple(start), _triple(np.maximum(np.clip(self.stop, 0, shape), start)))

    def expanded(self, margin_mm: float, grid: Grid) -> Box:
        """The box grown on all sides by at least `margin_mm`, measured at right angles to its faces."""
        voxels = np.ceil(margin_mm / _face_distances_mm(grid) - 1e-9).astype(int)
        return Box(_triple(np.subtract(self.start, voxels)), _triple(np.add(self.stop, voxels)))

    def moved(self, by: Triple) -> Box:
        """The box shifted by whole voxels."""
        return Box(_triple(np.add(self.start, by)), _triple(np.add(self.stop, by)))


def _triple(values: npt.ArrayLike) -> Triple:
    a, b, c = (int(v) for v in np.asarray(values))
    return a, b, c


def _face_distances_mm(grid: Grid) -> npt.NDArray[np.float64]:
    """Distance between opposite faces of a voxel along each index axis; less than the spacing where there is shear."""
    distances: npt.NDArray[np.float64] = 1.0 / np.linalg.norm(grid.inverse[:3, :3], axis=1)
    return distances


def whole_box(grid: Grid) -> Box:
    """The box of all voxels of a grid."""
    return Box((0, 0, 0), grid.shape)


def mask_box(mask: npt.NDArray[Any]) -> Box | None:
    """The smallest box around the non-zero voxels, or None if there are none."""
    start, stop = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(mask.any(axis=others))
        if filled.size == 0:
            return None
        start.append(int(filled[0]))
        stop.append(int(filled[-1]) + 1)
    return Box(_triple(start), _triple(stop))


def box_around(grid: Grid, centre_mm: tuple[float, float, float], radius_mm: float) -> Box:
    """The smallest box whose voxels hold every point within `radius_mm` of an LPS point; may reach over the edge."""
    index = grid.to_index(centre_mm)
    reach = radius_mm / _face_distances_mm(grid)
    return Box(_triple(np.floor(index - reach + 0.5)), _triple(np.floor(index + reach + 0.5) + 1))


def crop_grid(grid: Grid, box: Box) -> Grid:
    """The part of a grid that a box covers; its voxels stay where they are in space."""
    if box.is_empty:
        raise ValueError(f"the box {box} holds no voxel")
    affine = np.array(grid.affine)
    affine[:3, 3] = grid.to_mm(box.start)
    return Grid(box.shape, affine, grid.frame_of_reference_uid)


def crop_array(array: npt.NDArray[Any], box: Box, *, fill: float = 0) -> npt.NDArray[Any]:
    """A copy of the voxels in a box; where the box leaves the array, `fill`."""
    shape = _triple(array.shape)
    inside = box.clipped(shape)
    result = np.full(box.shape, fill, dtype=array.dtype)
    if not inside.is_empty:
        back = _triple(np.negative(box.start))
        result[inside.moved(back).slices] = array[inside.slices]
    return result


def crop_volume(volume: Volume, box: Box, *, fill_hu: float = -1024.0) -> Volume:
    """The volume inside a box, in the same place; outside the source it is air. Instances are not carried over."""
    origin = None if volume.origin is None else replace(volume.origin, instances=())
    array = crop_array(volume.array, box, fill=fill_hu)
    return Volume(array, crop_grid(volume.grid, box), warnings=volume.warnings, origin=origin, is_hu=volume.is_hu)
