"""From a CT to token logits: the strongest token lies at a planted nodule, and storage changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imaging.geometry import Volume
from imaging.models.scoring import score_attributes, score_volume, window_inputs
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
