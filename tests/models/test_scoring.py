"""From a CT to token logits: the strongest token lies at a planted nodule, and storage changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imaging.geometry import Grid, Volume
from imaging.models.sampling import window_offsets
from imaging.models.scoring import (
    FILL_MM,
    FILL_PART,
    LUNG_HU,
    OWN_MM,
    fill_others,
    score_attributes,
    score_places,
    score_volume,
    window_inputs,
)
from imaging.models.weights import load_model
from imaging.preprocessing.lungs import Lungs
from imaging.simulation.lesions import NoduleWish
from imaging.simulation.thorax import simulate_thorax


@pytest.fixture(scope="module")
def shipped():
    return load_model()


@pytest.fixture(scope="module")
def chest():
    """A small chest with one nodule of 7 mm, and the lung within 40 mm of it."""
    thorax = simulate_thorax(
        rng=np.random.default_rng(11), shape=(60, 160, 160), spacing_mm=(2.5, 2.2, 2.2), nodules=[NoduleWish(7.0)]
    )
    grid = thorax.volume.grid
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    far = np.linalg.norm(grid.to_mm(index) - np.array(thorax.nodules[0].centre_mm), axis=-1) > 40
    labels = np.where(far, 0, thorax.lungs).astype(np.uint8)
    return (
        thorax.volume,
        Lungs(labels, grid, float((labels > 0).sum()) * grid.voxel_volume_mm3 / 1000),
        thorax.nodules[0],
    )


def test_the_strongest_token_lies_at_the_nodule(shipped, chest):
    volume, lungs, nodule = chest
    seen: list[tuple[int, int]] = []
    tokens = score_volume(
        shipped, volume, lungs, prompts=["a solid nodule", "a zebra"], on_progress=lambda d, n: seen.append((d, n))
    )
    best = np.unravel_index(np.nanargmax(tokens.logits), tokens.logits.shape)
    off = np.abs(tokens.grid.to_mm(best) - np.array(nodule.centre_mm))
    plane_mm, token_mm, _ = tokens.grid.spacing_mm
    assert np.hypot(*off[:2]) <= nodule.diameter_mm / 2 + token_mm
    assert off[2] <= nodule.diameter_mm / 2 + plane_mm
    assert tokens.similarity["a solid nodule"].shape == tokens.logits.shape
    assert np.array_equal(np.isnan(tokens.similarity["a zebra"]), np.isnan(tokens.logits))
    assert [(n.code, "zebra" in n.message) for n in tokens.notices] == [("prompt.untrained", True)]
    assert seen[-1][0] == seen[-1][1]
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)


def test_tokens_far_from_the_lungs_have_no_logit(model, chest):
    volume, lungs, nodule = chest
    tokens = score_volume(model, volume, lungs)
    index = np.argwhere(np.isfinite(tokens.logits))
    distance = np.linalg.norm(tokens.grid.to_mm(index) - np.array(nodule.centre_mm), axis=1)
    assert len(index) > 50
    assert distance.max() < 40 + 4 * np.sqrt(2) + 6


def test_a_caller_can_stop_it(model, chest):
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_volume(model, chest[0], chest[1], on_progress=stop)


# --- one place at a time ---------------------------------------------------------------------------------------------


def flipped(volume: Volume, axes: tuple[int, ...]) -> Volume:
    """The same CT, stored in another direction along some axes."""
    affine = volume.grid.affine.copy()
    last = [volume.grid.shape[a] - 1 if a in axes else 0 for a in range(3)]
    affine[:3, 3] = volume.grid.to_mm(last)
    for axis in axes:
        affine[:3, axis] *= -1
    return Volume(np.flip(volume.array, axes), Grid(volume.grid.shape, affine))


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)])
def test_places_score_alike_however_the_ct_is_stored(model, grids, axes):
    grid = grids["sheared"]
    volume = Volume(np.random.default_rng(2).normal(-600, 250, grid.shape).astype(np.float32), grid)
    centres = [(0.0, 1.0, 2.0), (5.0, -3.0, -6.0), (-4.0, 4.0, 25.0)]
    diameters = [6.0, None, 9.0]
    expected = score_places(model, volume, centres, diameters)
    assert score_places(model, flipped(volume, axes), centres, diameters) == pytest.approx(expected, abs=1e-4)
    assert len(set(np.round(expected, 4))) == 3


def test_a_mirrored_patient_scores_alike(model, grids):
    """The mean over mirrors makes left and right, front and back the same."""
    grid = grids["axial"]
    array = np.random.default_rng(3).normal(-600, 250, grid.shape).astype(np.float32)
    mirrored = Volume(array[:, :, ::-1], grid)
    (one,) = score_places(model, Volume(array, grid), [(4.0, 2.0, 1.0)], [8.0])
    (other,) = score_places(model, mirrored, [(-4.0, 2.0, 1.0)], [8.0])
    assert one == pytest.approx(other, abs=1e-3)


def test_the_others_are_filled_and_the_own_lesion_stays(model):
    config = model.net.vision.config
    z, y, x = np.broadcast_arrays(*window_offsets(config))
    window = np.full(z.shape, 100.0, np.float32)
    window[:, :4] = -850.0
    window[0] = np.nan
    centres, diameters = [(10.0, 20.0, 30.0), (14.0, 20.0, 30.0), (10.0, 26.0, 30.0)], [4.0, 6.0, None]
    fill_others(config, window, 0, centres, diameters)
    other = np.sqrt((x - 4.0) ** 2 + y**2 + z**2) <= FILL_PART * 3.0 + FILL_MM
    own = np.sqrt(x**2 + y**2 + z**2) <= 2.0 + OWN_MM
    lung = np.zeros(z.shape, bool)
    lung[:, :4] = True
    expected = np.where(lung | (other & ~own), -850.0, 100.0).astype(np.float32)
    expected[0] = np.nan
    assert np.array_equal(window, expected, equal_nan=True)


def test_without_lung_in_the_window_a_usual_value_is_filled_in(model):
    config = model.net.vision.config
    window = np.full((config.slices, config.window_pixels, config.window_pixels), 50.0, np.float32)
    fill_others(config, window, 0, [(0.0, 0.0, 0.0), (7.0, 0.0, 0.0)], [None, 4.0])
    assert set(np.unique(window)) == {50.0, LUNG_HU}
    alone = np.full_like(window, 50.0)
    fill_others(config, alone, 0, [(0.0, 0.0, 0.0), (60.0, 0.0, 0.0)], [5.0, 4.0])
    assert (alone == 50.0).all()


def test_attributes_have_a_score_each(model, grids):
    grid = grids["axial"]
    volume = Volume(np.random.default_rng(4).normal(-600, 250, grid.shape).astype(np.float32), grid)
    scores = score_attributes(model, volume, [(0.0, 0.0, 0.0), (5.0, 5.0, 5.0)])
    assert len(scores) == 2
    for each in scores:
        assert set(each) == set(model.prompts)
        assert all(0.0 <= value <= 1.0 for value in each.values())
    assert score_attributes(model, volume, []) == []
    assert window_inputs(model, volume, [(0.0, 0.0, 0.0)]).dtype == torch.float32
