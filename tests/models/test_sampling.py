"""Where the tower's pixels lie: against HU known at every millimetre, on grids of every kind.

The phantom's HU is a plane in space with a different slope along x, y and z: any flip, swap or half-pixel slip shows,
and interpolation makes no error that could hide one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from imaging.geometry import Grid, Volume
from imaging.models.intensity import HU_HIGH, HU_LOW, MISSING
from imaging.models.sampling import sample_windows, scan_planes
from imaging.models.vision import VisionConfig
from imaging.preprocessing.lungs import Lungs

CONFIG = VisionConfig(window_pixels=24, width=16, depth=1, heads=2, embedding=16, stem_channels=4)
#: Tower input to HU, and the most that single and half precision may cost, HU.
UNIT_HU, OFF_HU = (HU_HIGH - HU_LOW) / 2, 0.6


def ball_lungs(volume: Volume, radius_mm: float = 9.0) -> Lungs:
    """Lungs that are a ball around the origin."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in volume.grid.shape], indexing="ij"), axis=-1)
    inside = np.linalg.norm(volume.grid.to_mm(index), axis=-1) <= radius_mm
    return Lungs(inside.astype(np.uint8), volume.grid, float(inside.sum()) * volume.grid.voxel_volume_mm3 / 1000)


def offsets(config: VisionConfig) -> np.ndarray:
    """LPS distance of a window's voxels from its centre, one by one: (slices, h, w, 3)."""
    out = np.empty((config.slices, config.window_pixels, config.window_pixels, 3))
    for k in range(config.slices):
        for r in range(config.window_pixels):
            for c in range(config.window_pixels):
                out[k, r, c] = (
                    (c - (config.window_pixels - 1) / 2) * config.pixel_mm,
                    (r - (config.window_pixels - 1) / 2) * config.pixel_mm,
                    (k - config.slices // 2) * config.slice_step_mm,
                )
    return out


def test_windows_are_where_they_say(grid, phantom, truth):
    centres = [(0.0, 0.0, 0.0), (3.3, -4.1, 6.2)]
    windows = sample_windows(CONFIG, phantom(grid), centres).numpy()
    for window, centre in zip(windows, centres, strict=True):
        assert np.abs(window - truth(offsets(CONFIG) + centre)).max() < 0.02


def test_windows_of_any_ct_are_those_of_a_slow_twin(grid):
    rng = np.random.default_rng(3)
    volume = Volume(rng.normal(-500, 300, grid.shape).astype(np.float32), grid)
    (window,) = sample_windows(CONFIG, volume, [(1.0, 2.0, -3.0)]).numpy()
    points = offsets(CONFIG) + np.array([1.0, 2.0, -3.0])
    for k, r, c in rng.integers(0, (CONFIG.slices, 24, 24), (40, 3)):
        at = np.linalg.solve(grid.affine, [*points[k, r, c], 1.0])[:3]
        low = np.floor(at).astype(int)
        value = 0.0
        for corner in np.ndindex(2, 2, 2):
            weight = np.prod([1 - abs(a - (f + s)) for a, f, s in zip(at, low, corner, strict=True)])
            value += weight * volume.array[tuple(low + corner)]
        assert window[k, r, c] == pytest.approx(value, abs=0.01)


def test_slices_beyond_the_ct_are_missing_and_the_border_is_continued(grids, phantom, truth):
    grid = grids["axial"]  # z from -29 to 29 mm
    (window,) = sample_windows(CONFIG, phantom(grid), [(0.0, 0.0, 28.0)]).numpy()
    assert np.isnan(window).all(axis=(1, 2)).tolist() == [False, False, False, False, True]  # 30 is the edge, 32 is not
    (outside,) = sample_windows(CONFIG, phantom(grid), [(0.0, 0.0, 60.0)]).numpy()
    assert np.isnan(outside).all(axis=(1, 2)).tolist() == [True, True, False, True, True]
    (beside,) = sample_windows(CONFIG, phantom(grid), [(27.6, 0.0, 0.0)]).numpy()
    on_the_edge = offsets(CONFIG)[2, :, 0]
    on_the_edge[:, 0] = 27.6  # the last column's centre
    assert np.allclose(beside[2, :, -1], truth(on_the_edge), atol=0.02)


def test_planes_are_where_they_say(grid, phantom, truth):
    volume = phantom(grid)
    scan = scan_planes(CONFIG, volume, ball_lungs(volume))
    rows, columns = (slice(0, n * 4) for n in scan.near_lung.shape[1:])
    for plane in range(len(scan.planes)):
        x = scan.input_of(plane, rows, columns).numpy()
        for k in range(CONFIG.slices):
            z = scan.first_mm[2] + scan.planes[plane] * scan.spacing_mm + (k - 2) * CONFIG.slice_step_mm
            y = scan.first_mm[1] + np.arange(x.shape[1]) * CONFIG.pixel_mm
            along = scan.first_mm[0] + np.arange(x.shape[2]) * CONFIG.pixel_mm
            points = np.stack(np.broadcast_arrays(along[None, :], y[:, None], z), axis=-1)
            inside = np.abs(points[..., :2]).max(axis=-1) < 14  # well inside every grid
            there = x[k] > MISSING + 1e-3
            assert there.all() or not there.any()
            if there.all() and abs(z) < 20:
                hu = (x[k] + 1) * UNIT_HU + HU_LOW
                assert np.abs(hu - truth(points))[inside].max() < OFF_HU


def test_the_lattice_of_tokens_lies_over_the_planes(grid, phantom):
    volume = phantom(grid)
    scan = scan_planes(CONFIG, volume, ball_lungs(volume))
    lattice = scan.token_grid
    assert lattice.shape == scan.near_lung.shape
    middle = np.array(CONFIG.token_shift_mm)
    for token in [(0, 0, 0), (1, 2, 3), (len(scan.planes) - 1, 4, 1)]:
        plane, row, column = token
        first = np.array([column * 4, row * 4]) * CONFIG.pixel_mm + scan.first_mm[:2]
        z = scan.first_mm[2] + scan.planes[plane] * scan.spacing_mm
        expected = [*(first + 1.5 * CONFIG.pixel_mm + middle), z]
        assert np.allclose(lattice.to_mm(token), expected, atol=1e-6)


def test_tokens_near_the_lungs_are_scored_and_no_others(grid, phantom):
    volume = phantom(grid)
    scan = scan_planes(CONFIG, volume, ball_lungs(volume), margin_mm=4.0)
    index = np.argwhere(np.ones(scan.near_lung.shape, bool))
    points = scan.token_grid.to_mm(index) - (CONFIG.token_shift_mm, CONFIG.token_shift_mm, 0)
    distance = np.linalg.norm(points, axis=1)
    near = scan.near_lung.ravel()
    assert near[distance < 7.0].all()
    # Grown by a square of 4 mm, one voxel and one slice of slack.
    assert not near[distance > 9.0 + 4.0 * np.sqrt(2) + 2.5].any()


def test_the_same_ct_stored_otherwise_gives_the_same_planes(grids):
    rng = np.random.default_rng(5)
    axial = grids["axial"]
    array = rng.normal(-500, 200, axial.shape).astype(np.float32)
    one = Volume(array, axial)
    affine = axial.affine.copy()
    affine[:3, 3] = axial.to_mm((axial.shape[0] - 1, axial.shape[1] - 1, 0))
    affine[:3, 0], affine[:3, 1] = -affine[:3, 0], -affine[:3, 1]
    other = Volume(array[::-1, ::-1], Grid(axial.shape, affine))
    a, b = (scan_planes(CONFIG, v, ball_lungs(v)) for v in (one, other))
    assert np.allclose(a.first_mm, b.first_mm)
    assert np.array_equal(a.near_lung, b.near_lung)
    assert np.allclose(a.hu.numpy(), b.hu.numpy(), atol=0.5)


def test_missing_slices_at_the_ends_of_a_scan(grids, phantom):
    volume = phantom(grids["axial"])
    everywhere = Lungs(np.ones(volume.grid.shape, np.uint8), volume.grid, 1.0)
    scan = scan_planes(CONFIG, volume, everywhere)
    first, last = (scan.input_of(p, slice(0, 8), slice(0, 8)).numpy() for p in (0, len(scan.planes) - 1))
    assert (first <= MISSING).all(axis=(1, 2)).tolist() == [True, True, False, False, False]
    assert (last <= MISSING).all(axis=(1, 2)).tolist() == [False, False, False, True, True]


def test_thin_slices_are_averaged_and_stay_in_place(truth, phantom):
    affine = np.array([[0, 0, 0.8, -27.6], [0, 0.9, 0, -26.55], [0.4, 0, 0, -20.0], [0, 0, 0, 1]])
    volume = phantom(Grid((100, 60, 70), affine))
    ripple = np.where(np.arange(100) % 2, 40.0, -40.0).astype(np.float32)[:, None, None]
    scan = scan_planes(CONFIG, Volume(volume.array + ripple, volume.grid), ball_lungs(volume))
    assert scan.spacing_mm == pytest.approx(0.8)
    values = (scan.input_of(3, slice(20, 40), slice(20, 40)).numpy()[2] + 1) * UNIT_HU + HU_LOW
    z = scan.first_mm[2] + scan.planes[3] * scan.spacing_mm
    y, x = (scan.first_mm[a] + np.arange(20, 40) * CONFIG.pixel_mm for a in (1, 0))
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], z), axis=-1)
    assert np.abs(values - truth(points)).max() < OFF_HU


def test_a_slow_twin_of_the_planes_on_any_ct(grids):
    """scipy at the same millimetres, on a CT without any regularity."""
    grid = grids["axial"]
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).normal(0, 900, grid.shape), 1.0) - 500
    volume = Volume(smooth.astype(np.float32), grid)
    config = replace(CONFIG, slice_step_mm=2.5)
    scan = scan_planes(config, volume, ball_lungs(volume))
    x = scan.input_of(4, slice(12, 36), slice(12, 36)).numpy()
    for k in range(config.slices):
        z = scan.first_mm[2] + scan.planes[4] * scan.spacing_mm + (k - 2) * 2.5
        y, along = (scan.first_mm[a] + np.arange(12, 36) * config.pixel_mm for a in (1, 0))
        points = np.stack(np.broadcast_arrays(along[None, :], y[:, None], z), axis=-1)
        twin = ndimage.map_coordinates(volume.array, np.moveaxis(grid.to_index(points), -1, 0), order=1)
        assert np.abs((x[k] + 1) * UNIT_HU + HU_LOW - twin).max() < OFF_HU
