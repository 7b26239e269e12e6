"""The scanner: an edge is blurred by the width it says, noise has the level and the colour it says."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.simulation.scanner import Scanner, correlated_noise, scan_slice


def test_a_point_is_spread_to_the_stated_width():
    plane = np.full((81, 81), -1000.0, np.float32)
    plane[40, 40] = 3000
    image = scan_slice(plane, (0.25, 0.25), Scanner(blur_mm=1.5, noise_hu=0.0), np.random.default_rng(0)) + 1000
    profile = image[40]
    above = np.flatnonzero(profile >= profile.max() / 2)
    assert (above[-1] - above[0] + 1) * 0.25 == pytest.approx(1.5, abs=0.25)


def test_noise_is_that_of_the_body_in_its_middle_and_less_in_air():
    plane = np.full((256, 256), -1000.0, np.float32)
    rows, columns = np.indices(plane.shape)
    plane[np.hypot(rows - 128, columns - 128) < 90] = 0
    image = scan_slice(plane, (1.0, 1.0), Scanner(noise_hu=20.0, air_share=0.4), np.random.default_rng(0))
    assert image[110:146, 110:146].std() == pytest.approx(20, rel=0.15)
    assert image[:20, :40].std() == pytest.approx(8, rel=0.4)
    assert np.array_equal(image, np.rint(image))


def test_soft_kernels_make_coarser_noise_and_none_has_a_mean():
    rng = np.random.default_rng(0)
    likeness = []
    for grain in (0.4, 0.9, 1.4):
        noise = correlated_noise((200, 210), (0.7, 0.7), grain, rng)
        assert noise.std() == pytest.approx(1.0, rel=1e-3)
        assert abs(noise.mean()) < 1e-3
        likeness.append(float((noise[:, 1:] * noise[:, :-1]).mean()))
    assert likeness == sorted(likeness)
    assert likeness[-1] > likeness[0] + 0.2
