"""Shapes of the towers, and that one number pools from tokens to the label."""

from __future__ import annotations

import math

import pytest
import torch

from imaging.models.intensity import HU_HIGH, HU_LOW, MISSING, normalize_bytes, normalize_hu, to_bytes
from imaging.models.network import NoduleNet, attention_of, attribute_pool, pool_tokens
from imaging.models.prompts import concepts


@pytest.fixture
def windows(net) -> torch.Tensor:
    return torch.rand(3, 5, 24, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_shapes(net, windows):
    tokens = net.tokens(windows)
    assert tokens.shape == (3, 6, 8, 16)
    assert torch.allclose(tokens.norm(dim=-1), torch.ones(3, 6, 8), atol=1e-5)
    assert net.token_logits(windows).shape == (3, 6, 8)
    assert net.prompt_logits(windows, ["a solid nodule", "a cyst"]).shape == (3, 2, 6, 8)
    assert net.window_logit(windows).shape == (3,)
    assert net.vision.gate_logits(net.vision.stem(windows)).shape == (3, 6, 8)
    attention = attention_of(net.token_logits(windows))
    assert torch.allclose(attention.sum(dim=(1, 2)), torch.ones(3))
    assert attribute_pool(tokens, attention).shape == (3, 16)
    assert net.attribute_logit(tokens, attention, concepts()["solid"]).shape == (3,)


@torch.no_grad()
def test_a_window_is_the_log_sum_exp_of_its_tokens(net, windows):
    for logit, tokens in zip(net.window_logit(windows).tolist(), net.token_logits(windows), strict=True):
        by_hand = math.log(math.fsum(math.exp(v) for v in tokens.double().flatten().tolist()))
        assert logit == pytest.approx(by_hand, abs=1e-4)
    assert torch.equal(net(windows), net.window_logit(windows))


def test_pooling_is_at_least_the_strongest_token_and_stable():
    logits = torch.tensor([[[1000.0, 1000.0]], [[-1000.0, -1000.0]]])
    assert pool_tokens(logits).tolist() == pytest.approx([1000 + math.log(2), -1000 + math.log(2)])


@torch.no_grad()
def test_a_token_logit_is_its_similarity_to_the_prompt_against_no_nodule(net, windows):
    prompt = "a ground-glass nodule"
    direction = net.text.embed([prompt])[0] - net.text.embed(concepts()["nodule"].absent).mean(dim=0)
    by_hand = torch.tensor(
        [
            [[float(net.log_scale.exp() * (t @ direction) + net.bias) for t in row] for row in w]
            for w in net.tokens(windows)
        ]
    )
    assert torch.allclose(net.prompt_logits(windows, [prompt])[:, 0], by_hand, atol=1e-4)


@torch.no_grad()
def test_the_description_builds_the_same_net(net, windows):
    twin = NoduleNet.from_json(net.to_json())
    twin.load_state_dict(net.state_dict())
    assert torch.equal(twin.eval().window_logit(windows), net.window_logit(windows))


def test_training_never_uses_embeddings_of_older_weights(net):
    twin = NoduleNet.from_json(net.to_json()).eval()
    before = twin.embed_prompts(["a nodule"])
    assert twin.embed_prompts(["a nodule"]) is before
    with torch.no_grad():
        twin.train().text.transformer.token_embedding.weight.add_(1.0)
    assert not torch.allclose(twin.eval().embed_prompts(["a nodule"]), before)


def test_bytes_keep_hu_to_half_a_step_and_say_what_is_missing():
    hu = torch.tensor([HU_LOW, -600.3, 0.0, 35.0, HU_HIGH, torch.nan, -3000.0, 3000.0])
    stored = to_bytes(hu)
    assert stored.tolist()[-3:] == [0, 1, 255]
    step = (HU_HIGH - HU_LOW) / 254
    back = (normalize_bytes(stored)[:5] + 1) / 2 * (HU_HIGH - HU_LOW) + HU_LOW
    assert (back - hu[:5]).abs().max() <= step / 2 + 1e-3
    assert normalize_bytes(stored)[5] == normalize_hu(hu)[5] == MISSING
