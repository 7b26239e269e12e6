"""Maps of a small trained net: they point at the ball, follow the weights, and deleting them deletes the score."""

from __future__ import annotations

import json

import numpy as np
import pytest

from imaging.errors import UsageError
from imaging.explanation.faithfulness import deletion_test, randomization_test, rank_correlations
from imaging.explanation.gradcam import METHODS, CamSettings, window_cams
from imaging.explanation.perturbation import delete_tokens, lung_like, occlusion_map, window_logits

BEST = CamSettings(block=-1, method="hires-cam")


def slow_cam(net, x, settings):
    """The definition with an explicit split of the forward pass, one window at a time."""
    import torch

    maps = []
    for window in x:
        with torch.enable_grad():
            tokens = net.vision.stem(window[None]).flatten(2).transpose(1, 2)
            blocks = list(net.vision.blocks)
            cut = settings.block % len(blocks) + 1
            for block in blocks[:cut]:
                tokens = block(tokens)
            here = tokens.detach().clone().requires_grad_(True)
            rest = here
            for block in blocks[cut:]:
                rest = block(rest)
            logit = torch.logsumexp(net.text(net.vision.norm(rest)).flatten(), dim=0)
            logit.backward()
        weight = here.grad.mean(dim=1, keepdim=True) if settings.method == "grad-cam" else here.grad
        maps.append((here.detach() * weight).sum(-1).clamp_min(0).reshape(6, 6).numpy())
    return np.stack(maps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [-1, 0])
def test_maps_equal_the_definition(net, make_windows, method, block):
    import torch

    x, _ = make_windows(5, np.random.default_rng(1))
    settings = CamSettings(block=block, method=method)
    with torch.inference_mode():
        maps, logits = window_cams(net, x, settings=settings)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, slow_cam(net, x, settings), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(logits, net.window_logit(x).numpy(), rtol=1e-5)
    again, _ = window_cams(net, x, settings=settings)
    np.testing.assert_array_equal(maps, again)


def test_nothing_is_left_behind(net, make_windows):
    import torch

    x, _ = make_windows(2, np.random.default_rng(1))
    hooks = [len(block._forward_hooks) for block in net.vision.blocks]
    with torch.no_grad():
        window_cams(net, x)
        assert not torch.is_grad_enabled()
    assert [len(block._forward_hooks) for block in net.vision.blocks] == hooks
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    with pytest.raises(UsageError) as raised:
        window_cams(net, x, settings=CamSettings(block=7))
    assert raised.value.code == "usage.option"
    assert [len(block._forward_hooks) for block in net.vision.blocks] == hooks
    with pytest.raises(UsageError):
        CamSettings(method="guess")


def test_map_and_occlusion_point_at_the_ball(net, make_windows):
    x, places = make_windows(24, np.random.default_rng(2))
    maps, _ = window_cams(net, x, settings=BEST)
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
    assert result.passed == (abs(result.correlations[-1]) <= 0.3)
    assert abs(result.correlations[-1]) < 0.5
    assert all((a == b).all() for a, b in zip(before, net.parameters(), strict=True))
    assert json.loads(json.dumps(result.to_json()))["settings"]["method"] == "hires-cam"


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
