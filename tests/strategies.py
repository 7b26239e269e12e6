"""Volumes with known truth, and the judge that says whether a reader put every voxel where it belongs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from imaging.geometry import Grid, Volume

SHAPE = (12, 24, 20)


def make_volume(
    shape: tuple[int, int, int] = SHAPE,
    *,
    spacing_mm: tuple[float, float, float] = (1.25, 0.7, 0.85),
    origin_mm: tuple[float, float, float] = (-61.5, -180.25, -250.5),
    axes: np.ndarray | None = None,
    lean_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> Volume:
    """Whole HU, different nearly everywhere, so that any shift or flip shows.

    Args:
        axes: 3 x 3 with the unit vectors (LPS) of slice, row and column axis as columns; by default axial.
        lean_mm: added to the step from slice to slice.
    """
    axes = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) if axes is None else axes
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(axes) * np.asarray(spacing_mm)
    affine[:3, 0] += lean_mm
    affine[:3, 3] = origin_mm
    array = np.random.default_rng(seed).integers(-1000, 2000, shape).astype(np.float32)
    return Volume(array, Grid(shape, affine))


def rotation(degrees: float, axis: int) -> np.ndarray:
    """A rotation about an LPS axis, 3 x 3."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    i, j = [k for k in range(3) if k != axis]
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def errors(read: Volume, truth: Volume) -> tuple[float, float]:
    """Furthest that a voxel of the truth lies from where `read` has it, in mm, and the largest difference there in HU.

    Every voxel of the truth is taken to LPS mm by its own grid and looked up in `read` through the grid of `read`.
    """
    index = np.stack(np.meshgrid(*[np.arange(n) for n in truth.grid.shape], indexing="ij"), axis=-1).reshape(-1, 3)
    points = truth.grid.to_mm(index)
    found = np.rint(read.grid.to_index(points)).astype(int)
    if (found < 0).any() or (found >= read.grid.shape).any() or read.array.size != truth.array.size:
        return float("inf"), float("inf")
    away_mm = np.linalg.norm(read.grid.to_mm(found) - points, axis=1).max()
    return float(away_mm), float(np.abs(read.array[tuple(found.T)] - truth.array[tuple(index.T)]).max())


def assert_right(read: Volume, truth: Volume) -> None:
    """Every voxel within 0.1 mm and 1 HU of the truth, and no voxel more or less."""
    away_mm, difference_hu = errors(read, truth)
    assert away_mm <= 0.1
    assert difference_hu <= 1.0


def drift_mm(grid: Grid) -> float:
    """How far the last slice has slid sideways against the first, in mm."""
    last = grid.to_mm((grid.shape[0] - 1, 0, 0)) - grid.to_mm((0, 0, 0))
    normal = np.cross(grid.direction[:, 1], grid.direction[:, 2])
    return float(np.linalg.norm(last - normal * (last @ normal)))


@st.composite
def volumes(draw: st.DrawFn, *, min_slices: int = 3) -> Volume:
    """A small volume in any orientation, with any spacing and, at times, a shear."""
    angles = [draw(st.floats(-80, 80)) for _ in range(3)]
    turn = np.linalg.multi_dot([rotation(angle, axis) for axis, angle in enumerate(angles)])
    flip = np.diag([draw(st.sampled_from([-1.0, 1.0])), 1.0, 1.0])
    shape = (draw(st.integers(min_slices, min_slices + 4)), draw(st.integers(6, 9)), draw(st.integers(6, 9)))
    spacing = tuple(draw(st.floats(0.4, 5.0)) for _ in range(3))
    lean = spacing[0] * np.array(draw(st.sampled_from([(0.0, 0.0, 0.0), (0.3, 0.0, 0.1), (0.0, -0.4, 0.0)])))
    origin = tuple(draw(st.floats(-400, 400)) for _ in range(3))
    axes = turn @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) @ flip
    return make_volume(
        shape, spacing_mm=spacing, origin_mm=origin, axes=axes, lean_mm=tuple(lean), seed=draw(st.integers(0, 9))
    )
