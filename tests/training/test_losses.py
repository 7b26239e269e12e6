"""How a window's label meets its tokens."""

from __future__ import annotations

import math

import pytest
import torch

from imaging.models.network import NoduleNet, pool_tokens
from imaging.models.prompts import concepts
from imaging.training.losses import LossWeights, Sentences, _masked, opinions, prompt_targets, weak_loss
from imaging.training.wordings import wordings

NAN = math.nan


def test_what_a_prompt_should_say():
    labels = torch.tensor([[0.0, NAN, NAN], [0.05, 1.0, NAN], [1.0, 1.0, 0.0], [0.95, NAN, 1.0], [0.35, NAN, 0.0]])
    expected = torch.tensor([[0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [1.0, 1.0, 0.0], [0.95, NAN, 1.0], [0.35, NAN, 0.0]])
    assert torch.equal(prompt_targets(labels).nan_to_num(nan=-1), expected.nan_to_num(nan=-1))


def test_unknown_labels_cost_nothing_and_columns_weigh_the_same():
    logits = torch.tensor([[0.3, -2.0], [1.0, 0.5], [9.0, 9.0]])
    targets = torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, NAN]])

    def cost(logit: float, target: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -math.log(p if target == 1.0 else 1 - p)

    by_hand = ((cost(0.3, 1) + cost(1.0, 0)) / 2 + cost(0.5, 1)) / 2
    assert float(_masked(logits, targets)) == pytest.approx(by_hand, abs=1e-6)


def test_sentences_follow_the_generator():
    one, same, other = (Sentences.draw(torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert one.present == same.present
    assert one.present != other.present
    for concept, present, absent in zip(concepts().values(), one.present, one.absent, strict=True):
        assert present in concept.present or wordings().says(concept.name, "present", present)
        assert absent in concept.absent or wordings().says(concept.name, "absent", absent)


def test_every_part_of_the_net_learns_from_the_label(vision, text):
    torch.manual_seed(0)
    net = NoduleNet.fresh(vision, text).train()
    labels = torch.full((4, len(concepts())), NAN)
    labels[:, 0] = torch.tensor([0.0, 1.0, 1.0, 0.0])
    labels[1, 1:] = 1.0
    x = torch.rand(4, 3, 24, 24) * 2 - 1
    said = opinions(net, x, Sentences.draw(torch.Generator().manual_seed(0)))
    loss, parts = weak_loss(said, labels, LossWeights())
    loss.backward()
    assert torch.isfinite(loss)
    assert set(parts) == {"nodule", "attributes"}
    silent = [n for n, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert silent == []


def test_the_pooled_logit_does_not_say_where():
    """Tokens in another order, the same logit: the label speaks of the window as a whole."""
    logits = torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1))
    mixed = logits.flatten(1)[:, torch.randperm(36)].unflatten(1, (6, 6))
    assert torch.allclose(pool_tokens(logits), pool_tokens(mixed), atol=1e-6)
