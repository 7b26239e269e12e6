"""Maps of a small trained net: they point at the ball, follow the weights, and deleting them deletes the score."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imaging.explanation.faithfulness import deletion_test, randomization_test, randomized, rank_correlations
from imaging.explanation.perturbation import delete_tokens, lung_like, occlusion_map, window_logits
from imaging.models.cams import CamSettings, all_cams, plain_cams, token_means

BEST = CamSettings(block=-1, method="hires-cam")


def test_map_and_occlusion_point_at_the_ball(net, make_windows):
    x, places = make_windows(24, np.random.default_rng(2))
    (maps,), _ = plain_cams(net, x, [BEST])
    occluded = occlusion_map(net, x, tokens=(6, 6), rng=np.random.default_rng(0))
    for found in (maps, occluded):
        peaks = np.array([np.unravel_index(int(m.argmax()), m.shape) for m in found]) * 4 + 1.5
        assert (np.linalg.norm(peaks - places, axis=1) < 5).mean() >= 0.8
    assert np.nanmean(rank_correlations(maps, occluded)) > 0.3


def test_deletion_takes_the_score_away(net, make_windows):
    x, _ = make_windows(24, np.random.default_rng(3))
    steps = []
    result = deletion_test(
        net, x, rng=np.random.default_rng(0), settings=BEST, on_progress=lambda *step: steps.append(step)
    )
    assert result.passed
    assert result.p_value < 0.01
    assert result.fall_map > 3 * result.fall_random
    assert result.windows == 24
    assert steps[-1][0] == steps[-1][1]
    assert json.loads(json.dumps(result.to_json()))["passed"] is True
    again = deletion_test(net, x, rng=np.random.default_rng(0), settings=BEST)
    assert again == result


def test_deletion_sees_through_a_random_map_and_a_small_sample(net, make_windows):
    x, _ = make_windows(24, np.random.default_rng(4))
    noise = np.random.default_rng(5).random((24, 6, 6)).astype(np.float32)
    assert not deletion_test(net, x, rng=np.random.default_rng(0), maps=noise).passed
    assert not deletion_test(net, x[:8], rng=np.random.default_rng(0), settings=BEST).passed


def test_randomised_weights_change_the_map_and_leave_the_net_alone(net, make_windows):
    x, _ = make_windows(24, np.random.default_rng(6))
    before = [p.clone() for p in net.parameters()]
    result = randomization_test(net, x, rng=np.random.default_rng(1), settings=BEST)
    assert result.stages == ("text", "projection", "block 2", "block 1", "stem")
    assert len(result.correlations) == len(result.absolute) == 5
    assert len(result.draws) == 5
    assert (result.windows, result.stage_windows) == (24, 20)
    assert result.draws[0] == result.correlations[-1]
    assert result.correlation == pytest.approx(np.mean(np.abs(result.draws)))
    assert result.passed == (result.correlation <= 0.3)
    assert min(result.draws) < 0.3
    assert min(result.correlations[1:]) < result.correlations[0], "deeper random weights change the map more"
    assert all((a == b).all() for a, b in zip(before, net.parameters(), strict=True))
    assert json.loads(json.dumps(result.to_json()))["settings"]["method"] == "hires-cam"


def test_maps_that_are_known_are_not_made_again_and_progress_grows_to_the_end(net, make_windows, monkeypatch):
    from imaging.explanation import faithfulness

    x, _ = make_windows(24, np.random.default_rng(6))
    own = faithfulness.window_maps(net, x, BEST)
    whole = [
        randomization_test(net, x, rng=np.random.default_rng(1), settings=BEST),
        deletion_test(net, x, rng=np.random.default_rng(1), settings=BEST),
    ]
    seen = []

    def counted(other, windows, settings):
        seen.append(other is net)
        return token_means(all_cams(other, windows, [settings])[0][0])

    monkeypatch.setattr(faithfulness, "window_maps", counted)
    steps = []
    hear = lambda *step: steps.append(step)  # noqa: E731
    again = randomization_test(net, x, rng=np.random.default_rng(1), settings=BEST, maps=own, on_progress=hear)
    assert again == whole[0]
    assert deletion_test(net, x, rng=np.random.default_rng(1), settings=BEST, maps=own) == whole[1]
    assert seen == [False] * (5 + 4), "five stages, four further draws, never the net itself"
    assert steps == sorted(steps)
    assert steps[-1] == (4 * 20 + 5 * 24,) * 2


def test_a_random_copy_shares_no_weight_and_no_map(net, make_windows):
    x, _ = make_windows(24, np.random.default_rng(6))
    other = randomized(net, np.random.default_rng(1))
    for (name, mine), theirs in zip(net.named_parameters(), other.parameters(), strict=True):
        assert not (mine == theirs).all() or mine.numel() == 1, name
    ranks = rank_correlations(plain_cams(net, x, [BEST])[0][0], plain_cams(other, x, [BEST])[0][0])
    assert abs(np.nan_to_num(ranks).mean()) < 0.7


def test_rank_correlation_counts_constant_maps_as_unknown():
    ramp = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    both = np.concatenate([ramp, ramp, ramp])
    other = np.concatenate([ramp**3, -ramp, np.zeros_like(ramp)])
    got = rank_correlations(both, other)
    assert got[0] == pytest.approx(1)
    assert got[1] == pytest.approx(-1)
    assert np.isnan(got[2])


def test_lung_like_is_lung_and_not_a_hole(net, make_windows):
    import torch

    from imaging.models.intensity import MISSING, normalize_hu

    x, _ = make_windows(3, np.random.default_rng(7))
    x[0, 0] = MISSING
    x[2] = 1.0
    filled = lung_like(x, np.random.default_rng(0))
    assert (filled[0, 0] == MISSING).all()
    mean = normalize_hu(torch.tensor(-860.0))
    for window in (filled[0, 1:], filled[1], filled[2]):
        assert float(window.mean()) == pytest.approx(float(mean), abs=0.03)
        assert 0.02 < float(window.std()) < 0.1
    tokens = np.zeros((3, 6, 6), dtype=bool)
    tokens[1, 2, 3] = True
    cut = delete_tokens(x, tokens, filled)
    assert (cut[1, :, 8:12, 12:16] == filled[1, :, 8:12, 12:16]).all()
    assert int((cut != x).any(dim=1).sum()) == 16
    assert window_logits(net, x).shape == (3,)
