"""Sizes of balls whose size is known: volume within 10 % from 6 mm up, diameter within 0.7 mm."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.localization.measurement import measure, occupancy
from imaging.localization.segmentation import segment_lesion

CENTRE = (20.4, -29.7, 70.6)


def measured(scan, seed=CENTRE):
    lesion = segment_lesion(*scan, seed)
    assert lesion is not None
    assert not lesion.leaked
    return measure(lesion, occupancy(lesion))


@pytest.mark.parametrize("diameter", [4, 6, 8, 12, 20, 30])
@pytest.mark.parametrize("slice_mm", [0.7, 1.25, 2.5, 5.0])
def test_solid_ball(tools, diameter, slice_mm):
    grid = tools.grid_of((slice_mm, 0.7, 0.7), size_mm=max(40, diameter + 26))
    rng = np.random.default_rng(diameter)
    volumes, diameters, axes = [], [], []
    for seed in range(3):
        centre = np.array(CENTRE) + rng.uniform(-1.2, 1.2, 3)
        got = measured(tools.Phantom(grid).ball(centre, diameter).scan(seed=seed), centre)
        volumes.append(got.volume_mm3 / (np.pi / 6 * diameter**3) - 1)
        diameters.append(got.diameter_mm - diameter)
        axes += [got.long_axis_mm - diameter, got.short_axis_mm - diameter]
        assert got.long_axis_mm >= got.short_axis_mm - 1e-6
    assert np.abs(diameters).max() <= 0.7
    if diameter >= 6:
        assert abs(np.median(volumes)) <= 0.10
        assert np.abs(axes).max() <= 1.5


@pytest.mark.parametrize("slice_mm", [1.25, 2.5])
def test_ground_glass_and_part_solid_are_measured_to_their_rim(tools, slice_mm):
    grid = tools.grid_of((slice_mm, 0.7, 0.7), size_mm=44)
    pure = measured(tools.Phantom(grid).ball(CENTRE, 12, -600).scan(noise_hu=40))
    assert pure.diameter_mm == pytest.approx(12, abs=0.7)
    assert pure.mean_hu == pytest.approx(-600, abs=25)
    mixed = measured(tools.Phantom(grid).ball(CENTRE, 14, -560).ball(CENTRE, 6, 20).scan(noise_hu=40))
    assert mixed.diameter_mm == pytest.approx(14, abs=0.9)


@pytest.mark.parametrize(("diameter", "radius"), [(6, 1.0), (8, 1.5), (12, 2.0), (20, 3.0)])
def test_a_vessel_is_not_part_of_the_nodule_on_it(tools, diameter, radius):
    grid = tools.grid_of((1.25, 0.7, 0.7), size_mm=diameter + 32)
    got = measured(tools.Phantom(grid).ball(CENTRE, diameter).vessel(CENTRE, radius).scan())
    assert got.volume_mm3 == pytest.approx(np.pi / 6 * diameter**3, rel=0.15)
    assert got.diameter_mm == pytest.approx(diameter, abs=0.7)


@pytest.mark.parametrize(("diameter", "wall_mm"), [(6, 1.5), (8, 2.0), (8, 4.0), (20, 5.0)])
def test_the_chest_wall_is_not_part_of_the_nodule_on_it(tools, diameter, wall_mm):
    grid = tools.grid_of((1.25, 0.7, 0.7), size_mm=diameter + 32)
    got = measured(tools.Phantom(grid).wall(CENTRE[0] + wall_mm).ball(CENTRE, diameter).scan())
    assert got.volume_mm3 == pytest.approx(np.pi / 6 * diameter**3, rel=0.15)


def test_a_cavity_belongs_to_its_nodule(tools):
    grid = tools.grid_of((1.25, 0.7, 0.7), size_mm=50)
    scan = tools.Phantom(grid).ball(CENTRE, 18).ball(np.add(CENTRE, (2, 0, 0)), 6, -950).scan()
    assert measured(scan, tuple(np.add(CENTRE, (-5, 0, 0)))).diameter_mm == pytest.approx(18, abs=0.7)


def test_the_long_axis_runs_along_the_long_side(tools):
    grid = tools.grid_of((1.0, 0.6, 0.6), size_mm=46)
    unit = np.array([0.8, 0.6, 0.0])
    phantom = tools.Phantom(grid)
    for step in np.linspace(-6, 6, 13):
        phantom.ball(np.add(CENTRE, step * unit), 8)
    got = measured(phantom.scan(noise_hu=10))
    ends = np.array(got.long_axis_ends_mm)
    assert got.long_axis_mm == pytest.approx(20, abs=0.8)
    assert got.short_axis_mm == pytest.approx(8, abs=0.8)
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(got.long_axis_mm)
    assert abs(ends[1] - ends[0]) @ unit / got.long_axis_mm == pytest.approx(1, abs=0.01)
    assert np.allclose(ends.mean(axis=0), CENTRE, atol=0.6)


def test_growing_into_the_mediastinum_is_noticed(tools):
    # A knob on a slab as thick as a lung is wide, all of it inside the (wrong) lung mask.
    phantom = tools.Phantom(tools.grid_of((2.5, 1.2, 1.2), size_mm=160)).wall(CENTRE[0] + 3).ball(CENTRE, 8)
    phantom.lung[:] = 1
    lesion = segment_lesion(*phantom.scan(), CENTRE)
    assert lesion is None or lesion.leaked or lesion.equivalent_radius_mm < 6
