"""Class activation maps of windows: each method by its definition, mirrored without a shift, nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.errors import UsageError
from imaging.models import cams
from imaging.models.cams import (
    FINE,
    METHODS,
    CamSettings,
    all_cams,
    mirrored_cams,
    peak_offsets_mm,
    plain_cams,
    token_means,
)


def slow_map(output, gradient, method):
    """One window's map, feature by feature and token by token, as the papers write it; (tokens, features) in."""
    tokens, features = output.shape
    total = np.zeros(tokens)
    for k in range(features):
        a, g = output[:, k].astype(np.float64), gradient[:, k].astype(np.float64)
        if method == "grad-cam":
            total += a * g.sum() / tokens
        elif method == "grad-cam++":
            weight = 0.0
            for each in g:
                below = 2 * each**2 + (a * g**3).sum()
                weight += (each**2 / below if below else 0.0) * max(each, 0.0)
            total += a * weight
        elif method == "hires-cam":
            total += a * g
        elif method == "layer-cam":
            total += a * np.maximum(g, 0)
        else:
            total += np.maximum(a * g, 0)
    return np.maximum(total, 0)


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
            torch.logsumexp(net.text(net.vision.norm(rest)).flatten(), dim=0).backward()
        maps.append(slow_map(here.detach().numpy()[0], here.grad.numpy()[0], settings.method).reshape(6, 6))
    return np.stack(maps)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("block", [-1, 0])
def test_maps_equal_the_definition(net, make_windows, method, block):
    import torch

    x, _ = make_windows(5, np.random.default_rng(1))
    settings = CamSettings(block=block, method=method)
    with torch.inference_mode():
        (maps,), logits = plain_cams(net, x, [settings])
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, slow_cam(net, x, settings), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(logits, net.window_logit(x).numpy(), rtol=1e-5)
    (again,), _ = plain_cams(net, x, [settings])
    np.testing.assert_array_equal(maps, again)


def test_many_settings_in_one_pass_are_the_same_maps(net, make_windows):
    x, _ = make_windows(3, np.random.default_rng(2))
    many = [CamSettings(block, method) for method in METHODS for block in (0, 1, -1)]
    together, logits = plain_cams(net, x, many)
    for settings, maps in zip(many, together, strict=True):
        (alone,), logit = plain_cams(net, x, [settings])
        np.testing.assert_allclose(maps, alone, rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(logits, logit)


@pytest.mark.parametrize("shift_tokens", [0.0, -0.375])
def test_mirrored_maps_are_the_mean_of_maps_laid_where_their_tokens_speak_of(
    net, make_windows, monkeypatch, shift_tokens
):
    from scipy import ndimage

    monkeypatch.setattr(net.vision.config, "token_shift_mm", shift_tokens * net.vision.config.token_mm)
    monkeypatch.setattr(cams, "BLUR_TOKENS", 1e-3)
    x, _ = make_windows(2, np.random.default_rng(3))
    maps, logits = mirrored_cams(net, x)
    parts = (np.arange(6 * FINE) + 0.5) / FINE - 0.5
    expected, scores = np.zeros((2, 6 * FINE, 6 * FINE)), np.zeros(2)
    for rows in (1, -1):
        for columns in (1, -1):
            turned = x[:, :, ::1].numpy()[:, :, ::rows, ::columns].copy()
            (here,), logit = plain_cams(net, x.new_tensor(turned), [CamSettings()])
            scores += logit / 4
            at = np.meshgrid(parts - rows * shift_tokens, parts - columns * shift_tokens, indexing="ij")
            for n, one in enumerate(here):
                upright = one[::rows, ::columns]
                expected[n] += ndimage.map_coordinates(upright, np.array(at), order=1, mode="nearest") / 4
    np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())
    np.testing.assert_allclose(logits, scores, rtol=1e-4)


@pytest.mark.parametrize("assumed_tokens", [0.0, -0.375, -0.7])
def test_mirrors_cancel_the_shift_of_the_stem_whatever_is_known_of_it(net, make_windows, monkeypatch, assumed_tokens):
    monkeypatch.setattr(net.vision.config, "token_shift_mm", assumed_tokens * net.vision.config.token_mm)
    x, places = make_windows(96, np.random.default_rng(4))
    truth_mm = (places[:, ::-1] - (x.shape[-1] - 1) / 2) * net.vision.config.pixel_mm
    settings = CamSettings(block=-1, method="hires-cam")
    plain = peak_offsets_mm(plain_cams(net, x, [settings])[0][0], part_mm=2.8) - truth_mm
    fine = peak_offsets_mm(all_cams(net, x, [settings])[0][0], part_mm=2.8 / FINE) - truth_mm
    # One window's tokens are pulled to one side by the padding of two strided convolutions.
    assert np.abs(np.median(plain, axis=0)).max() > 0.5
    assert np.abs(np.median(fine, axis=0)).max() < 0.3
    assert np.median(np.hypot(*fine.T)) < 0.75 * np.median(np.hypot(*plain.T))


def test_token_means_and_peaks_know_rows_from_columns():
    fine = np.zeros((1, 6 * FINE, 4 * FINE), np.float32)
    fine[0, 5 * FINE + 1, FINE + 2] = 1
    tokens = token_means(fine)
    assert tokens.shape == (1, 6, 4)
    assert tokens[0, 5, 1] == pytest.approx(1 / FINE**2)
    assert tokens.sum() == tokens[0, 5, 1]
    ((x, y),) = peak_offsets_mm(fine, part_mm=0.5)
    assert x == pytest.approx((FINE + 2 - (4 * FINE - 1) / 2) * 0.5)
    assert y == pytest.approx((5 * FINE + 1 - (6 * FINE - 1) / 2) * 0.5)


def test_nothing_is_left_behind(net, make_windows):
    import torch

    x, _ = make_windows(2, np.random.default_rng(1))
    hooks = [len(block._forward_hooks) for block in net.vision.blocks]
    with torch.no_grad():
        mirrored_cams(net, x)
        assert not torch.is_grad_enabled()
    assert [len(block._forward_hooks) for block in net.vision.blocks] == hooks
    assert all(p.grad is None and not p.requires_grad for p in net.parameters())
    with pytest.raises(UsageError) as raised:
        plain_cams(net, x, [CamSettings(block=7)])
    assert raised.value.code == "usage.option"
    assert [len(block._forward_hooks) for block in net.vision.blocks] == hooks
    with pytest.raises(UsageError) as refused:
        CamSettings(method="guess")
    assert refused.value.code == "usage.option"
