"""Masks grown and shrunk, against scipy's filters and distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from imaging.preprocessing.morphology import (
    closed_ball,
    closed_cube,
    grown,
    grown_ball,
    grown_cube,
    highest_near,
    inside_ball,
    of_pieces,
    shrunk,
)

CUBE = np.ones((3, 3, 3))
masks = st.builds(
    lambda seed, shape, share: np.random.default_rng(seed).random(shape) < share,
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 14)] * 3),
    st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]),
)
spacings = st.tuples(*[st.sampled_from([0.7, 1.0, 2.5, 2.8125, 3.0])] * 3)


@given(masks)
@settings(max_examples=60, deadline=None)
def test_a_voxel_more_or_less_is_what_scipy_says(mask):
    before = mask.copy()
    assert np.array_equal(grown(mask), ndimage.binary_dilation(mask))
    assert np.array_equal(grown(mask, 3), ndimage.binary_dilation(mask, iterations=3))
    assert np.array_equal(shrunk(mask), ndimage.binary_erosion(mask))
    assert np.array_equal(grown_cube(mask), ndimage.binary_dilation(mask, structure=CUBE))
    assert np.array_equal(mask, before)


@given(masks, st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_fields_are_closed_as_scipy_closes_them(mask, seed):
    field = np.where(mask, 1, np.random.default_rng(seed).normal(size=mask.shape)).astype(np.float32)
    assert np.array_equal(closed_cube(field), ndimage.grey_closing(field, size=(3, 3, 3)))
    labels = (field * 3).astype(np.int16).astype(np.uint8)
    assert np.array_equal(highest_near(labels), ndimage.grey_dilation(labels, size=(3, 3, 3)))


@given(masks, spacings, st.sampled_from([0.5, 3.0, 8.0, 9.0, 22.0]))
@settings(max_examples=80, deadline=None)
def test_balls_are_those_of_the_distance_transform(mask, spacing_mm, radius_mm):
    def within(target):
        if not target.any():
            return np.zeros_like(target)
        return ndimage.distance_transform_edt(~target, sampling=spacing_mm) <= radius_mm + 1e-6

    assert np.array_equal(grown_ball(mask, radius_mm, spacing_mm), within(mask))
    assert np.array_equal(inside_ball(mask, radius_mm, spacing_mm), ~within(~mask))
    assert np.array_equal(closed_ball(mask, radius_mm, spacing_mm), ~within(~within(mask)) | mask)


def test_a_ball_in_voxels_of_unequal_sides_has_its_volume():
    mask = np.zeros((41, 41, 41), bool)
    mask[20, 20, 20] = True
    spacing_mm = (1.0, 0.8, 0.5)
    ball = grown_ball(mask, 9.0, spacing_mm)
    assert ball.sum() * np.prod(spacing_mm) == pytest.approx(4 / 3 * np.pi * 9.0**3, rel=0.02)
    assert np.array_equal(ball, ball[::-1, ::-1, ::-1])


def test_chosen_pieces_never_hold_the_background():
    pieces = np.array([[0, 1, 2], [2, 3, 0]])
    assert of_pieces(pieces, np.array([0, 2])).tolist() == [[False, False, True], [True, False, False]]
    assert not of_pieces(pieces, np.array([], dtype=int)).any()
