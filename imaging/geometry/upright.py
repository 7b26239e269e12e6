"""A volume along the patient's own axes: slices from feet to head, rows from front to back, columns from right to left.

Viewers that slice along array axes need this. Where the axes of a grid already run along the patient's, whatever their
order and direction, the array is only turned (a view, no copy); a tilted or oblique grid is resampled once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.geometry.resample import Order, resample_array
from imaging.geometry.volume import Volume

#: How far a voxel may be moved by calling slightly turned axes straight.
STRAIGHT_MM = 0.1


def upright_grid(grid: Grid) -> Grid:
    """The grid along (superior, posterior, left) that holds all voxels of `grid`.

    It has the same voxels, turned, where that moves none by more than `STRAIGHT_MM`; else it is the box around them,
    with the spacing of the nearest axis, measured along the patient's axis.

    >>> from_head = Grid(shape=(3, 2, 2), affine=[[0, 0, 1, 5], [0, 1, 0, 6], [-2, 0, 0, 7], [0, 0, 0, 1]])
    >>> upright_grid(from_head).to_mm([0, 0, 0]).tolist()
    [5.0, 6.0, 3.0]
    """
    axes = _nearest_axes(grid)
    turned = None if axes is None else _turned(grid, axes)
    return _box(grid, axes) if turned is None else turned


def upright_array(
    array: npt.NDArray[Any], grid: Grid, *, order: Order = 1, fill: float = 0.0
) -> tuple[npt.NDArray[Any], Grid]:
    """An array of `grid` on `upright_grid(grid)`, and that grid.

    Args:
        array: (slice, row, column) on `grid`.
        order: 1 linear, 0 nearest; only matters where the grid is tilted or oblique.
        fill: the value outside `grid`.

    Returns:
        a view of `array` where turning it is enough; else a new array (see `resample_array`).
    """
    target = upright_grid(grid)
    axes = _nearest_axes(grid)
    if axes is None or _turned(grid, axes) is None:
        return resample_array(array, grid, target, order=order, fill=fill), target
    return _turn(array, grid, axes), target


def upright_volume(volume: Volume) -> Volume:
    """The volume on `upright_grid`; a tilted or oblique one is resampled and says so (``geometry.resampled``)."""
    axes = _nearest_axes(volume.grid)
    turned = None if axes is None else _turned(volume.grid, axes)
    if axes is None or turned is None:
        return volume.resampled_onto(upright_grid(volume.grid))
    array = _turn(volume.array, volume.grid, axes)
    return Volume(array, turned, warnings=volume.warnings, origin=volume.origin, is_hu=volume.is_hu)


def _nearest_axes(grid: Grid) -> tuple[int, int, int] | None:
    """For z, y and x in turn the grid axis that runs nearest to it, or None where two run near the same one."""
    nearest = np.abs(grid.direction).argmax(axis=1)[::-1]
    axes = (int(nearest[0]), int(nearest[1]), int(nearest[2]))
    return axes if sorted(axes) == [0, 1, 2] else None


def _turned(grid: Grid, axes: tuple[int, int, int]) -> Grid | None:
    """The same voxels with axes (z, y, x), or None where that would move a voxel by more than `STRAIGHT_MM`."""
    shape = np.asarray(grid.shape)[list(axes)]
    spacing = np.asarray(grid.spacing_mm)[list(axes)]
    straight = _around_centre(grid, shape, spacing)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1).T
    flips = _flips(grid, axes)
    turned = corners[:, list(axes)]
    turned = np.where(flips, shape - 1 - turned, turned)
    moved = np.linalg.norm(straight.to_mm(turned) - grid.to_mm(corners), axis=1).max()
    return straight if moved <= STRAIGHT_MM else None


def _flips(grid: Grid, axes: tuple[int, int, int]) -> list[bool]:
    return [bool(grid.affine[world, axis] < 0) for world, axis in zip((2, 1, 0), axes, strict=True)]


def _turn(array: npt.NDArray[Any], grid: Grid, axes: tuple[int, int, int]) -> npt.NDArray[Any]:
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in _flips(grid, axes))
    return array.transpose(axes)[steps]


def _box(grid: Grid, axes: tuple[int, int, int] | None) -> Grid:
    """The box along the patient's axes around all voxel centres of `grid`."""
    steps = np.abs(grid.affine[:3, :3])
    if axes is None:
        spacing = np.full(3, min(grid.spacing_mm))
    else:
        spacing = np.array([steps[world, axis] for world, axis in zip((2, 1, 0), axes, strict=True)])
    extent = (steps @ (np.asarray(grid.shape) - 1))[::-1]
    shape = np.ceil(extent / spacing - 1e-3).astype(int) + 1
    return _around_centre(grid, shape, spacing)


def _around_centre(grid: Grid, shape: npt.NDArray[Any], spacing: npt.NDArray[Any]) -> Grid:
    """A grid along (z, y, x) of `shape` and `spacing` in that order, with the centre of `grid`."""
    x, y, z = np.asarray(grid.centre_mm) - (spacing * (shape - 1) / 2)[::-1]
    return Grid.from_spacing(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        origin_mm=(float(x), float(y), float(z)),
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )
