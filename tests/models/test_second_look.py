"""One place at a time: storage and mirrors change nothing, others are filled, the evidence lies at the lesion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imaging.geometry import Grid, Volume
from imaging.localization.refinement import evidence_middle
from imaging.models.cams import MIRRORS, CamSettings, mirrored_cams
from imaging.models.intensity import normalize_hu
from imaging.models.sampling import sample_windows, window_offsets
from imaging.models.second_look import (
    FILL_MM,
    FILL_PART,
    FLOOR,
    LUNG_HU,
    OWN_MM,
    PLACE_MM,
    fill_others,
    log_evidence,
    look_at_places,
)
from imaging.models.weights import load_model


def scores(model, volume, centres, diameters):
    return [look.logit for look in look_at_places(model, volume, centres, diameters)]


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
    expected = scores(model, volume, centres, diameters)
    assert scores(model, flipped(volume, axes), centres, diameters) == pytest.approx(expected, abs=1e-4)
    assert len(set(np.round(expected, 4))) == 3


def test_a_mirrored_patient_scores_alike(model, grids):
    """The mean over mirrors makes left and right, front and back the same."""
    grid = grids["axial"]
    array = np.random.default_rng(3).normal(-600, 250, grid.shape).astype(np.float32)
    mirrored = Volume(array[:, :, ::-1], grid)
    (one,) = scores(model, Volume(array, grid), [(4.0, 2.0, 1.0)], [8.0])
    (other,) = scores(model, mirrored, [(-4.0, 2.0, 1.0)], [8.0])
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


# --- where the tokens point ------------------------------------------------------------------------------------------


def test_the_evidence_is_the_map_of_the_logit_that_counts(model, grids):
    """Tokens too far away to be the lesion neither raise the logit nor draw the evidence."""
    grid = grids["axial"]
    volume = Volume(np.random.default_rng(7).normal(-600, 250, grid.shape).astype(np.float32), grid)
    centre, config = (1.0, 2.0, 3.0), model.net.vision.config
    (look,) = look_at_places(model, volume, [centre], [None])
    x = normalize_hu(sample_windows(config, volume, [centre]))
    side = config.window_pixels // 4
    along = (np.arange(side) - (side - 1) / 2) * config.token_mm
    far = torch.from_numpy(np.hypot(along[:, None], along) > PLACE_MM)[None]
    logits = [
        torch.logsumexp(model.net.token_logits(x.flip(axes)).masked_fill(far, -torch.inf).flatten(), 0).item()
        for axes in MIRRORS
    ]
    assert look.logit == pytest.approx(np.mean(logits), abs=1e-4)
    cams, _ = mirrored_cams(
        model.net,
        x,
        settings=CamSettings.of_model(model),
        pool=lambda tokens: torch.logsumexp(tokens.masked_fill(far, -torch.inf).flatten(1), 1),
    )
    near = np.isfinite(look.evidence.logits[0])
    assert look.evidence.logits[0][near] == pytest.approx(log_evidence(cams)[0][near], abs=1e-4)


def test_evidence_has_a_logarithm_even_where_nothing_speaks_for_a_nodule():
    logs = log_evidence(np.array([[[0.0, 2.0], [1e-9, 0.5]], [[0.0, 0.0], [0.0, 0.0]]], np.float32))
    assert np.exp(logs[0]) == pytest.approx(np.array([[2 * FLOOR, 2.0], [2 * FLOOR, 0.5]]))
    assert np.isfinite(logs[1]).all()
    assert np.ptp(logs[1]) == 0


def test_the_shipped_net_points_at_a_ball_from_wherever_it_is_asked():
    shipped = load_model()
    grid = Grid.from_spacing((41, 81, 81), spacing_mm=(1.0, 0.7, 0.7), origin_mm=(-28.0, -28.0, -20.0))
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    ball = np.array((2.2, -1.4, 0.5))
    outside = np.linalg.norm(grid.to_mm(index) - ball, axis=-1) - 3.0
    hu = -860 + 900 * np.clip(0.5 - outside, 0, 1) + np.random.default_rng(0).normal(0, 25, grid.shape)
    volume = Volume(hu.astype(np.float32), grid)
    asked = [(2.2, -1.4, 0.5), (0.0, 0.0, 0.5), (5.0, 1.0, 0.5)]
    points = []
    for look in look_at_places(shipped, volume, asked, [6.0, 6.0, 6.0]):
        points.append(evidence_middle(look.evidence))
    errors = np.linalg.norm(np.array(points)[:, :2] - ball[:2], axis=1)
    assert errors.max() <= 1.0


def test_evidence_ends_where_a_token_cannot_be_the_lesion(model, grids):
    grid = grids["axial"]
    volume = Volume(np.random.default_rng(5).normal(-600, 250, grid.shape).astype(np.float32), grid)
    (look,) = look_at_places(model, volume, [(1.0, 2.0, 3.0)], [None])
    index = np.argwhere(np.isfinite(look.evidence.logits))
    distance = np.linalg.norm(look.evidence.grid.to_mm(index) - (1.0, 2.0, 3.0), axis=1)
    assert PLACE_MM - 1.0 < distance.max() <= PLACE_MM
    assert look_at_places(model, volume, [], []) == []
