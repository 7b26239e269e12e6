"""The pointing game in plane, on shapes whose middle and border are known."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.evaluation.pointing import agreed_region, centroid, in_plane_error_mm, points_at, shared_votes


@pytest.fixture
def outlines():
    drawn = np.zeros((4, 20, 20), dtype=bool)
    drawn[0, 5:10, 5:10] = True
    drawn[1, 7:12, 5:10] = True
    drawn[2, 0, 0] = True
    return drawn


def test_two_readers_must_agree(outlines):
    region = agreed_region(outlines)
    assert region.sum() == 3 * 5
    assert points_at(region, (7, 5))
    assert not points_at(region, (6, 5))
    assert not points_at(region, (0, 0))


@pytest.mark.parametrize(
    ("point", "inside"), [((6.51, 5), True), ((6.49, 5), False), ((9.49, 9.49), True), ((9.5, 9), False)]
)
def test_a_pixel_reaches_half_a_pixel_around_its_centre(outlines, point, inside):
    assert points_at(agreed_region(outlines), point) is inside


@pytest.mark.parametrize("point", [(-3, 5), (25, 5), (8, -15), (8, 40)])
def test_a_point_off_the_image_points_at_nothing(outlines, point):
    assert not points_at(agreed_region(outlines), point)


def test_the_error_is_in_millimetres_from_the_middle(outlines):
    region = agreed_region(outlines)
    assert centroid(region).tolist() == [8.0, 7.0]
    assert in_plane_error_mm((8 + 3, 7 + 4), region, pixel_spacing_mm=0.5) == pytest.approx(2.5)


def test_an_empty_region_has_no_middle():
    assert np.isnan(in_plane_error_mm((1, 1), np.zeros((4, 4), dtype=bool), pixel_spacing_mm=1.0))


def test_windows_of_one_nodule_share_one_vote():
    assert shared_votes(["a", "b", "a", "a"]).tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1 / 3])
