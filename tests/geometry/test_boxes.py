"""Boxes: brute-force bounding boxes, margins that really reach, crops that stay in place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import Grid, Volume
from imaging.geometry.boxes import Box, box_around, crop_array, crop_grid, crop_volume, mask_box, whole_box


def sheared_grid(shape=(6, 8, 7)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = [[0.2, 0.0, 0.8], [0.5, 0.9, 0.1], [-2.0, 0.3, 0.0]]
    affine[:3, 3] = (-12.0, 40.0, 7.0)
    return Grid(shape, affine)


def test_a_box_cannot_end_before_it_starts():
    with pytest.raises(ValueError, match="before it starts"):
        Box((0, 2, 0), (1, 1, 1))


def test_an_unclipped_box_does_not_wrap_around_the_array():
    with pytest.raises(ValueError, match="clip it first"):
        _ = Box((-1, 0, 0), (1, 1, 1)).slices


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_mask_box_equals_brute_force(seed):
    mask = np.random.default_rng(seed).random((5, 6, 7)) > 0.97
    box, voxels = mask_box(mask), np.argwhere(mask)
    if len(voxels) == 0:
        assert box is None
    else:
        assert box == Box(tuple(voxels.min(axis=0)), tuple(voxels.max(axis=0) + 1))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), radius=st.floats(0.1, 5.0))
def test_the_box_around_a_ball_holds_the_ball_and_no_more(seed, radius):
    grid, rng = sheared_grid(), np.random.default_rng(seed)
    centre = grid.to_mm(rng.uniform(0, 6, size=3))
    box = box_around(grid, tuple(centre), radius)
    directions = rng.normal(size=(4000, 3))
    surface = centre + radius * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    voxels = np.floor(grid.to_index(surface) + 0.5)
    assert (voxels >= box.start).all()
    assert (voxels < box.stop).all()
    assert (np.subtract(box.shape, voxels.max(axis=0) - voxels.min(axis=0) + 1) <= 1).all()


def test_a_margin_reaches_at_least_that_far_across_each_face():
    grid, box = sheared_grid(), Box((2, 2, 2), (3, 3, 3))
    grown = box.expanded(2.0, grid)
    normals = np.linalg.inv(grid.affine[:3, :3])
    gap_mm = np.subtract(box.start, grown.start) / np.linalg.norm(normals, axis=1)
    assert (gap_mm >= 2.0 - 1e-9).all()
    assert (gap_mm < 2.0 + 1 / np.linalg.norm(normals, axis=1)).all()


def test_a_crop_stays_in_place_and_is_air_outside():
    grid = sheared_grid()
    rng = np.random.default_rng(0)
    volume = Volume(rng.normal(size=grid.shape).astype(np.float32), grid)
    box = Box((-2, 3, 5), (3, 11, 9))
    crop = crop_volume(volume, box)
    assert crop.array.shape == box.shape
    for index in np.ndindex(*box.shape):
        source = np.add(index, box.start)
        inside = ((source >= 0) & (source < grid.shape)).all()
        assert crop.array[index] == (volume.array[tuple(source)] if inside else -1024)
    np.testing.assert_allclose(crop.grid.to_mm((2, 0, 0)), grid.to_mm((0, 3, 5)))


def test_boxes_that_miss_the_array():
    grid = sheared_grid()
    assert Box((9, 0, 0), (12, 2, 2)).clipped(grid.shape).is_empty
    assert (crop_array(np.ones(grid.shape), Box((9, 0, 0), (12, 2, 2)), fill=5) == 5).all()
    assert whole_box(grid).shape == grid.shape
    with pytest.raises(ValueError, match="no voxel"):
        crop_grid(grid, Box((1, 1, 1), (1, 2, 2)))
