"""Upright volumes: every voxel keeps its place, whatever the order and direction of the axes it was stored with."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from imaging.geometry import Grid, Volume
from imaging.geometry.upright import STRAIGHT_MM, upright_array, upright_grid, upright_volume

SHAPE = (4, 5, 6)
SPACING = (2.5, 0.7, 0.9)


def stored(axes, flips) -> Grid:
    """A grid whose index axes run along world axes `axes` (0 = x), backwards where `flips` says so."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for index_axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, index_axis] = SPACING[index_axis] * (-1 if flip else 1)
    affine[:3, 3] = (-31.0, 12.5, 900.25)
    return Grid(SHAPE, affine)


@pytest.mark.parametrize("axes", list(permutations((0, 1, 2))))
@pytest.mark.parametrize("flips", list(product((False, True), repeat=3)))
def test_turning_keeps_every_voxel_at_its_millimetre(axes, flips):
    grid = stored(axes, flips)
    array = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    turned, upright = upright_array(array, grid)
    assert np.shares_memory(turned, array)
    np.testing.assert_allclose(upright.affine[:3, :3] > 0, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    for index in np.ndindex(*SHAPE):
        there = tuple(np.rint(upright.to_index(grid.to_mm(index))).astype(int))
        assert turned[there] == array[index]
        np.testing.assert_allclose(upright.to_mm(there), grid.to_mm(index), atol=1e-9)


def test_a_tilted_gantry_is_resampled_and_says_so():
    affine = np.array(Grid.from_spacing((20, 30, 30), spacing_mm=(2, 1, 1), origin_mm=(0, 0, 0)).affine)
    affine[1, 0] = 2 * np.tan(np.deg2rad(15))
    grid = Grid((20, 30, 30), affine)
    k, r, c = np.indices(grid.shape)
    y = grid.to_mm(np.stack([k, r, c], axis=-1))[..., 1]
    upright = upright_volume(Volume(y.astype(np.float32), grid))
    assert upright.grid.is_orthogonal
    assert [notice.code for notice in upright.warnings] == ["geometry.resampled"]
    inside = upright.array > -1000
    points = upright.grid.to_mm(np.argwhere(inside))
    edge = (grid.to_index(points) < 0).any(axis=1) | (grid.to_index(points) > np.asarray(grid.shape) - 1).any(axis=1)
    np.testing.assert_allclose(upright.array[inside][~edge], points[~edge][:, 1], atol=1e-3)
    assert upright_grid(grid).contains(grid.to_mm([[0, 0, 0], [19, 29, 29]])).all()


def test_an_oblique_grid_is_boxed_whole():
    angle = np.deg2rad(30)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 1.0], [0, 1.0, 0], [2.0, 0, 0]])
    grid = Grid((6, 20, 10), affine)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1).T
    assert upright_grid(grid).contains(grid.to_mm(corners)).all()
    labels, target = upright_array(np.ones(grid.shape, np.uint8), grid, order=0)
    assert labels.dtype == np.uint8
    assert labels.shape == target.shape
    assert labels.sum() * target.voxel_volume_mm3 == pytest.approx(grid.voxel_volume_mm3 * 1200, rel=0.1)


@pytest.mark.parametrize(("degrees", "turned"), [(0.005, True), (0.5, False)])
def test_hardly_turned_axes_are_called_straight(degrees, turned):
    grid = Grid.from_spacing((10, 512, 512), spacing_mm=(2.5, 0.7, 0.7))
    angle = np.deg2rad(degrees)
    affine = np.array(grid.affine)
    affine[:3, :3] = (
        np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]) @ affine[:3, :3]
    )
    slightly = Grid(grid.shape, affine)
    upright = upright_grid(slightly)
    assert (upright.shape == grid.shape) == turned
    if turned:
        corners = [[0, 0, 0], [9, 511, 511], [0, 511, 0]]
        assert np.abs(upright.to_mm(corners) - slightly.to_mm(corners)).max() <= STRAIGHT_MM


def test_axes_at_45_degrees_still_find_a_box():
    root = np.sqrt(0.5)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[root, -root, 0], [root, root, 0], [0, 0, 1]])
    grid = Grid((8, 8, 3), affine)
    upright = upright_grid(grid)
    assert upright.contains(grid.to_mm([[0, 0, 0], [7, 7, 2]])).all()
