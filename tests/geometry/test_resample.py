"""Resampling against a slow twin, against SimpleITK, and against functions that linear interpolation keeps exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imaging.geometry import Grid, Volume
from imaging.geometry.resample import block_grid, block_mean, orthogonal_grid, resample_array
from imaging.geometry.volume import Instance, Origin


def random_grid(rng: np.random.Generator, shape, *, parallel=False, shear=0.3, spread=1.0) -> Grid:
    """A grid with a random rotation (or axis permutation), handedness, spacing, shear and place."""
    axes = np.eye(3)[rng.permutation(3)] if parallel else np.linalg.qr(rng.normal(size=(3, 3)))[0]
    axes = axes * rng.choice([-1.0, 1.0], size=3)
    if not parallel:
        axes = axes + shear * rng.uniform(-1, 1, size=(3, 3))
    affine = np.eye(4)
    affine[:3, :3] = axes * rng.uniform(0.5, 2.5, size=3)
    affine[:3, 3] = rng.uniform(-spread, spread, size=3) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, affine)


def twin(array: np.ndarray, source: Grid, target: Grid, order: int, fill: float) -> np.ndarray:
    """Voxel by voxel, in plain Python: LPS mm of each target centre, then the eight neighbours."""
    result = np.empty(target.shape)
    for index in np.ndindex(*target.shape):
        place = source.to_index(target.to_mm(index))
        if any(p < -0.5 - 1e-6 or p > n - 0.5 + 1e-6 for p, n in zip(place, source.shape, strict=True)):
            result[index] = fill
            continue
        if order == 0:
            near = [min(max(math.floor(p + 0.5), 0), n - 1) for p, n in zip(place, source.shape, strict=True)]
            result[index] = array[tuple(near)]
            continue
        place = [min(max(p, 0.0), n - 1.0) for p, n in zip(place, source.shape, strict=True)]
        value = 0.0
        for corner in np.ndindex(2, 2, 2):
            weight, voxel = 1.0, []
            for p, c, n in zip(place, corner, source.shape, strict=True):
                low = math.floor(p)
                weight *= (p - low) if c else 1 - (p - low)
                voxel.append(min(low + c, n - 1))
            value += weight * array[tuple(voxel)]
        result[index] = value
    return result


@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_slow_twin(seed, order, parallel):
    rng = np.random.default_rng(seed)
    source, target = (random_grid(rng, shape, parallel=parallel) for shape in [(5, 7, 6), (6, 4, 8)])
    array = rng.normal(size=source.shape).astype(np.float32)
    result = resample_array(array, source, target, order=order, fill=-9.0)
    expected = twin(array, source, target, order, -9.0)
    assert (expected != -9.0).any()
    np.testing.assert_allclose(result, expected, atol=1e-3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), parallel=st.booleans())
def test_a_ramp_in_millimetres_stays_the_same_ramp(seed, parallel):
    rng = np.random.default_rng(seed)
    source = random_grid(rng, (9, 11, 10), parallel=parallel)
    target = random_grid(rng, (7, 6, 8), parallel=bool(rng.integers(2)), spread=3.0)
    slope, level = rng.normal(size=3) * 20, rng.normal() * 100

    def ramp(grid: Grid) -> np.ndarray:
        return grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)) @ slope + level

    result = resample_array(ramp(source).astype(np.float32), source, target, fill=1e6)
    place = source.to_index(target.to_mm(np.moveaxis(np.indices(target.shape), 0, -1)))
    inner = ((place >= 0) & (place <= np.asarray(source.shape) - 1)).all(axis=-1)
    np.testing.assert_allclose(result[inner], ramp(target)[inner], atol=0.02)
    beyond = ((place < -0.51) | (place > np.asarray(source.shape) - 0.49)).any(axis=-1)
    assert (result[beyond] == 1e6).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), parallel=st.booleans(), order=st.sampled_from([0, 1]))
def test_onto_its_own_grid_changes_nothing(seed, parallel, order):
    rng = np.random.default_rng(seed)
    grid = random_grid(rng, (4, 6, 5), parallel=parallel)
    array = rng.integers(-1000, 1000, size=grid.shape).astype(np.float32)
    result = resample_array(array, grid, grid, order=order)
    np.testing.assert_allclose(result, array, atol=1e-3)
    assert not np.shares_memory(result, array)


@pytest.mark.parametrize("seed", range(5))
def test_equals_simpleitk_on_orthogonal_grids(seed):
    sitk = pytest.importorskip("SimpleITK")
    rng = np.random.default_rng(seed)
    source, target = (random_grid(rng, shape, shear=0.0, parallel=seed % 2 == 0) for shape in [(8, 10, 9), (7, 9, 6)])

    def image(array: np.ndarray, grid: Grid):
        out = sitk.GetImageFromArray(array)
        out.SetSpacing(tuple(reversed(grid.spacing_mm)))
        out.SetOrigin(tuple(grid.to_mm((0, 0, 0))))
        out.SetDirection(tuple(grid.direction[:, ::-1].ravel()))
        return out

    array = rng.normal(size=source.shape).astype(np.float32)
    frame = image(np.zeros(target.shape, np.float32), target)
    expected = sitk.Resample(image(array, source), frame, sitk.Transform(), sitk.sitkLinear, -9.0)
    result = resample_array(array, source, target, fill=-9.0)
    np.testing.assert_allclose(result, sitk.GetArrayFromImage(expected), atol=1e-3)


def test_labels_keep_their_type():
    grid = Grid.from_spacing((4, 4, 4), spacing_mm=(1, 1, 1))
    turned = np.eye(4)
    turned[:3, :3] = [[0, 0.1, 1], [0, 1, -0.1], [1, 0, 0]]
    for target in (grid, Grid((3, 3, 3), turned)):
        for kind in (np.uint8, np.bool_, np.int16):
            labels = np.ones(grid.shape, dtype=kind)
            result = resample_array(labels, grid, target, order=0)
            assert result.dtype == kind
            assert result.any()


def test_refuses_an_array_of_another_shape():
    grid = Grid.from_spacing((4, 4, 4), spacing_mm=(1, 1, 1))
    with pytest.raises(ValueError, match="does not lie"):
        resample_array(np.zeros((3, 4, 4)), grid, grid)


def test_progress_counts_slices_and_may_cancel():
    rng = np.random.default_rng(0)
    grid, calls = random_grid(rng, (3, 4, 4)), []
    resample_array(np.zeros((3, 4, 4)), grid, random_grid(rng, (5, 4, 4)), on_progress=lambda *c: calls.append(c))
    assert calls == [(n, 5) for n in range(1, 6)]


# --- upright grids ---------------------------------------------------------------------------------------------------
def tilted(degrees: float) -> Grid:
    """Slices 2.5 mm apart along z whose image planes lean back by `degrees`, as a tilted gantry makes them."""
    lean = np.deg2rad(degrees)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 0.7], [0, 0.7 * np.cos(lean), 0], [2.5, -0.7 * np.sin(lean), 0]])
    return Grid((20, 32, 30), affine)


def test_an_upright_grid_is_its_own_upright_grid():
    grid = random_grid(np.random.default_rng(1), (4, 5, 6), shear=0.0)
    assert orthogonal_grid(grid) is grid


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spacing=st.sampled_from([None, (1.0, 0.5, 2.0)]))
def test_the_upright_grid_is_orthogonal_keeps_handedness_and_holds_every_voxel(seed, spacing):
    grid = random_grid(np.random.default_rng(seed), (6, 5, 7))
    upright = orthogonal_grid(grid, spacing_mm=spacing)
    assert upright.is_orthogonal
    assert np.sign(np.linalg.det(upright.affine[:3, :3])) == np.sign(np.linalg.det(grid.affine[:3, :3]))
    centres = grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1))
    place = upright.to_index(centres)
    assert (place >= -0.501).all()
    assert (place <= np.asarray(upright.shape) - 0.499).all()
    if spacing:
        np.testing.assert_allclose(upright.spacing_mm, spacing)


def test_a_tilted_stack_keeps_its_perpendicular_slice_distance():
    upright = orthogonal_grid(tilted(20))
    np.testing.assert_allclose(upright.spacing_mm, (2.5 * np.cos(np.deg2rad(20)), 0.7, 0.7), rtol=1e-9)


def test_a_ball_in_a_tilted_stack_stays_a_ball_in_the_same_place():
    grid, centre = tilted(15), np.array([10.0, 9.0, 22.0])
    distance = np.linalg.norm(grid.to_mm(np.moveaxis(np.indices(grid.shape), 0, -1)) - centre, axis=-1)
    volume = Volume(np.clip(1000 - 150 * distance, -1024, 1000).astype(np.float32), grid)
    upright = volume.resampled((1.0, 0.7, 0.7))
    weight = np.maximum(upright.array, 0)
    places = upright.grid.to_mm(np.moveaxis(np.indices(upright.grid.shape), 0, -1))
    np.testing.assert_allclose((places * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum(), centre, atol=0.1)
    spread = np.sqrt(((places - centre) ** 2 * weight[..., None]).sum(axis=(0, 1, 2)) / weight.sum())
    np.testing.assert_allclose(spread, spread.mean(), rtol=0.05)
    assert [n.code for n in upright.warnings] == ["geometry.resampled"]


def test_resampling_keeps_the_origin_but_not_the_instances():
    grid = Grid.from_spacing((3, 4, 4), spacing_mm=(2, 1, 1))
    origin = Origin("1.2.3", "dicom", instances=(Instance("1", "2"),) * 3)
    volume = Volume(np.zeros(grid.shape, np.float32), grid, origin=origin)
    finer = volume.resampled_onto(orthogonal_grid(grid, spacing_mm=(1, 1, 1)))
    assert finer.origin is not None
    assert (finer.seriesuid, finer.origin.instances) == ("1.2.3", ())
    assert finer.grid.shape == (6, 4, 4)
    assert volume.resampled_onto(grid) is volume


# --- blocks ----------------------------------------------------------------------------------------------------------
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factors=st.tuples(*[st.integers(1, 4)] * 3))
def test_block_means_of_a_ramp_are_the_ramp_at_the_block_centres(seed, factors):
    rng = np.random.default_rng(seed)
    shape = tuple(int(f * rng.integers(1, 4)) for f in factors)
    grid, slope = random_grid(rng, shape), rng.normal(size=3)
    array = grid.to_mm(np.moveaxis(np.indices(shape), 0, -1)) @ slope
    coarse = block_grid(grid, factors)
    means = block_mean(array, factors)
    assert means.shape == coarse.shape
    np.testing.assert_allclose(means, coarse.to_mm(np.moveaxis(np.indices(coarse.shape), 0, -1)) @ slope, atol=1e-3)


def test_cut_blocks_continue_with_their_edge():
    array = np.arange(10, dtype=np.float32).reshape(1, 2, 5)
    assert block_mean(array, (2, 2, 2)).tolist() == [[[3.0, 5.0, 6.5]]]
