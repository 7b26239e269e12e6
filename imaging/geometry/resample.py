"""One array of values, another grid: exact voxel-centre geometry for any pair of affines, sheared ones too.

A target voxel takes the value at its centre. Where the centre lies inside the source's voxels but outside their outer
centres (the last half voxel), the edge value counts; further out it is `fill`. Nothing is smoothed: to go to a much
coarser grid, average blocks first (`block_mean`, `block_grid`), or fine structures alias.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Floats, Grid

Factors = tuple[int, int, int]
Order = Literal[0, 1]

#: In source voxels: how far rounding may carry a centre over the outer face before it counts as outside.
EDGE_TOLERANCE = 1e-4


def orthogonal_grid(grid: Grid, *, spacing_mm: tuple[float, float, float] | None = None) -> Grid:
    """The upright grid that holds all of `grid`: its column axis, its row axis made perpendicular, and their normal.

    Args:
        grid: any grid.
        spacing_mm: along (slice, row, column) of the new grid; by default that of `grid`, measured at right angles.

    Returns:
        a grid of the same handedness and centre whose voxels cover all voxel centres of `grid`; `grid` itself where
        nothing would change.
    """
    if spacing_mm is None and grid.is_orthogonal:
        return grid
    axes = _upright_axes(grid)
    steps = axes.T @ grid.affine[:3, :3]
    own = np.abs(np.diag(steps))
    spacing = own if spacing_mm is None else np.asarray(spacing_mm, dtype=np.float64)
    extent = np.abs(steps) @ (np.asarray(grid.shape) - 1) + own
    shape = np.maximum(1, np.ceil(extent / spacing - 1e-3)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = np.asarray(grid.centre_mm) - affine[:3, :3] @ ((shape - 1) / 2.0)
    return Grid((int(shape[0]), int(shape[1]), int(shape[2])), affine, grid.frame_of_reference_uid)


def _upright_axes(grid: Grid) -> Floats:
    """3 x 3 orthonormal: slice, row and column axes as columns, each on the side where the grid's own axis points."""
    column = grid.direction[:, 2]
    row = grid.direction[:, 1] - column * (column @ grid.direction[:, 1])
    row = row / np.linalg.norm(row)
    normal = np.cross(column, row)
    normal = normal * np.sign(normal @ grid.direction[:, 0])
    return np.stack([normal, row, column], axis=1)


def resample_array(
    array: npt.NDArray[Any],
    source: Grid,
    target: Grid,
    *,
    order: Order = 1,
    fill: float = 0.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[Any]:
    """The values of `array`, which lies on `source`, at the voxel centres of `target`.

    Args:
        array: (slice, row, column) on `source`; bool and integers keep their type with order 0.
        source, target: grids in the same frame of reference.
        order: 1 linear (float32 out), 0 nearest (the array's own type out).
        fill: the value where `target` leaves `source`.
        on_progress: called as (slices done, slices) of the target, where the grids' axes are not parallel.

    Returns:
        the shape of `target`. Memory beyond it is bounded by a few slices (oblique) or one partial result (parallel).
    """
    if tuple(array.shape) != source.shape:
        raise ValueError(f"array {array.shape} does not lie on a grid of shape {source.shape}")
    matrix = source.inverse[:3, :3] @ target.affine[:3, :3]
    offset = source.to_index(target.affine[:3, 3])
    axes = _parallel_axes(matrix, target.shape)
    values = array if order == 0 else array.astype(np.float32, copy=False)
    if axes is None:
        return _oblique(values, matrix, offset, target.shape, order, fill, on_progress)
    scales = [float(matrix[source_axis, axis]) for axis, source_axis in enumerate(axes)]
    starts = [float(offset[source_axis]) for source_axis in axes]
    return _separable(values.transpose(axes), scales, starts, target.shape, order, fill)


def _parallel_axes(matrix: Floats, shape: tuple[int, int, int]) -> tuple[int, int, int] | None:
    """For each target axis the source axis it runs along, or None where one runs across several.

    Off-axis terms count as zero where, over the whole target, they move a voxel less than `EDGE_TOLERANCE`.
    """
    axes = tuple(int(i) for i in np.abs(matrix).argmax(axis=0))
    if sorted(axes) != [0, 1, 2]:
        return None
    off = np.abs(matrix)
    off[list(axes), [0, 1, 2]] = 0.0
    drift = off * np.asarray(shape)
    return (axes[0], axes[1], axes[2]) if drift.max() <= EDGE_TOLERANCE else None


def _separable(
    values: npt.NDArray[Any],
    scales: list[float],
    starts: list[float],
    shape: tuple[int, int, int],
    order: Order,
    fill: float,
) -> npt.NDArray[Any]:
    """Interpolate one axis after the other, those that shrink most first; `values` has its axes in target order."""
    positions: list[Floats] = [
        start + scale * np.arange(n, dtype=np.float64) for start, scale, n in zip(starts, scales, shape, strict=True)
    ]
    inside = [
        (p >= -0.5 - EDGE_TOLERANCE) & (p <= n - 0.5 + EDGE_TOLERANCE)
        for p, n in zip(positions, values.shape, strict=True)
    ]
    result = values
    for axis in sorted(range(3), key=lambda a: shape[a] / values.shape[a]):
        result = _along(result, axis, positions[axis], order)
    result = np.array(result, order="C") if np.shares_memory(result, values) else np.ascontiguousarray(result)
    for axis in range(3):
        if not inside[axis].all():
            result[(slice(None),) * axis + (~inside[axis],)] = fill
    return result


def _along(values: npt.NDArray[Any], axis: int, positions: Floats, order: Order) -> npt.NDArray[Any]:
    """Values at fractional `positions` along one axis, clamped to its ends; `values` itself where they are its own."""
    last = values.shape[axis] - 1
    if len(positions) == last + 1 and np.abs(positions - np.arange(last + 1)).max() < 1e-7:
        return values
    if order == 0:
        nearest = np.floor(positions + 0.5).astype(int)
        return np.take(values, np.clip(nearest, 0, last), axis=axis)
    clamped = np.clip(positions, 0, last)
    lower = np.minimum(np.floor(clamped + 1e-9).astype(int), last)
    weight = np.clip(clamped - lower, 0.0, 1.0).astype(np.float32)
    below = np.take(values, lower, axis=axis)
    if not (weight > 1e-7).any():
        return below
    step = np.take(values, np.minimum(lower + 1, last), axis=axis)
    step -= below
    step *= weight.reshape([-1 if a == axis else 1 for a in range(3)])
    step += below
    return step


def _oblique(
    values: npt.NDArray[Any],
    matrix: Floats,
    offset: Floats,
    shape: tuple[int, int, int],
    order: Order,
    fill: float,
    on_progress: Callable[[int, int], None] | None,
) -> npt.NDArray[Any]:
    """Slice by slice through scipy's affine transform; what lies outside is decided here, half a voxel exact."""
    from scipy.ndimage import affine_transform

    result = np.empty(shape, dtype=values.dtype)
    stored = values.astype(np.uint8) if values.dtype == np.bool_ else values
    rows, columns = np.arange(shape[1])[:, None], np.arange(shape[2])[None, :]
    limits = np.asarray(values.shape) - 0.5 + EDGE_TOLERANCE
    for index in range(shape[0]):
        start = offset + matrix[:, 0] * index
        plane = affine_transform(
            stored, matrix, offset=start, output_shape=(1, *shape[1:]), order=order, mode="nearest", prefilter=False
        )
        outside = np.zeros(shape[1:], dtype=bool)
        for axis in range(3):
            position = start[axis] + matrix[axis, 1] * rows + matrix[axis, 2] * columns
            outside |= (position < -0.5 - EDGE_TOLERANCE) | (position > limits[axis])
        result[index] = plane[0]
        result[index][outside] = fill
        if on_progress is not None:
            on_progress(index + 1, shape[0])
    return result


def block_grid(grid: Grid, factors: Factors) -> Grid:
    """The grid of blocks of `factors` voxels along (slice, row, column): each new centre is the middle of its block.

    Works in index space, so shear and handedness stay. The last block may reach over the source's edge.

    >>> block_grid(Grid.from_spacing((4, 8, 8), spacing_mm=(2, 1, 1)), (1, 4, 4)).to_mm([0, 0, 0]).tolist()
    [1.5, 1.5, 0.0]
    """
    scale = np.asarray(factors, dtype=np.float64)
    affine = np.array(grid.affine)
    affine[:3, :3] = grid.affine[:3, :3] * scale
    affine[:3, 3] = grid.to_mm((scale - 1) / 2)
    shape = tuple(-(-n // f) for n, f in zip(grid.shape, factors, strict=True))
    return Grid((shape[0], shape[1], shape[2]), affine, grid.frame_of_reference_uid)


def block_mean(array: npt.NDArray[Any], factors: Factors) -> npt.NDArray[np.float32]:
    """Mean over blocks of `factors` voxels, float32, on `block_grid`; cut blocks continue with their edge values."""
    depth, height, width = factors
    pad = [(0, -n % f) for n, f in zip(array.shape, factors, strict=True)]
    shape = [(n + p[1]) // f for n, p, f in zip(array.shape, pad, factors, strict=True)]
    result = np.empty(shape, dtype=np.float32)
    for index in range(shape[0]):
        part = array[index * depth : (index + 1) * depth]
        slab = part[0].astype(np.float32) if len(part) == 1 else part.mean(axis=0, dtype=np.float32)
        slab = np.pad(slab, pad[1:], mode="edge") if any(p[1] for p in pad[1:]) else slab
        # Whole strided planes are added: numpy's mean over a short last axis takes ten times as long.
        by_columns = np.add.reduce([slab[:, n::width] for n in range(width)]) / np.float32(width)
        result[index] = np.add.reduce([by_columns[n::height] for n in range(height)]) / np.float32(height)
    return result
