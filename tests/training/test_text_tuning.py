"""The text tower learns alone: the image tower and the directions that detect stay where they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from imaging.errors import ModelError
from imaging.models.network import NoduleNet, attention_of, attribute_pool
from imaging.models.prompts import NODULE, attribute_names, concepts
from imaging.models.text import PAD, START, UNKNOWN
from imaging.training import text_tuning
from imaging.training.seen_windows import Seen, see
from imaging.training.text_anchors import (
    DIRECTION_TOLERANCE,
    blended,
    check_direction,
    put_back,
    said_before,
    with_vocabulary,
)
from imaging.training.text_tuning import TuningRecipe, tune_text, with_strange_words
from imaging.training.wordings import wordings

#: Fewer features than the nodule's 21 sentences could not keep all of them.
RECIPE = TuningRecipe(steps=12, ways=1, windows=8, rate=3e-3)


@pytest.fixture(scope="module")
def net(vision, text) -> NoduleNet:
    from dataclasses import replace

    torch.manual_seed(0)
    return NoduleNet.fresh(vision, replace(text, width=48)).eval()


@pytest.fixture(scope="module")
def seen(net, some_cases) -> Seen:
    return see(net, some_cases(48, seed=1))


@pytest.fixture(scope="module")
def tuned(net, seen) -> NoduleNet:
    return tune_text(net, seen, RECIPE)[0]


def test_what_was_seen_is_what_the_net_sees(net, seen, some_cases):
    from imaging.models.intensity import normalize_bytes

    cases = some_cases(48, seed=1)
    with torch.no_grad():
        tokens = net.tokens(normalize_bytes(torch.from_numpy(cases.images[:5])))
        pooled = attribute_pool(tokens, attention_of(net.logits_of(tokens, net.nodule_direction())[:, 0]))
    assert torch.allclose(seen.pooled[:5], pooled, atol=1e-6)
    assert torch.allclose(seen.tokens[:5].float(), tokens, atol=1e-3)
    assert torch.equal(seen.labels.isnan(), torch.from_numpy(cases.labels).isnan())


def test_not_a_byte_outside_the_text_tower_changes(net, tuned):
    before, after = net.state_dict(), tuned.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        if not name.startswith("text."):
            assert before[name].numpy().tobytes() == after[name].numpy().tobytes(), name
    moved = "text.transformer.transformer.resblocks.0.mlp.c_fc.weight"
    assert not torch.equal(before[moved], after[moved])


def test_the_nodule_direction_and_every_logit_stay(net, tuned, some_cases):
    from imaging.models.intensity import normalize_bytes

    whole = concepts()[NODULE]
    sentences = (*whole.present, *whole.absent)
    assert torch.allclose(net.embed_prompts(sentences), tuned.embed_prompts(sentences), atol=1e-5)
    assert check_direction(net, tuned) <= DIRECTION_TOLERANCE
    x = normalize_bytes(torch.from_numpy(some_cases(16, seed=9).images))
    with torch.no_grad():
        assert torch.allclose(net(x), tuned(x), atol=1e-4)


def test_a_moved_direction_is_refused(net, tuned):
    from copy import deepcopy

    other = deepcopy(tuned)
    with torch.no_grad():
        other.text.transformer.text_projection += 0.05 * torch.randn_like(other.text.transformer.text_projection)
    other.eval()
    with pytest.raises(ModelError) as refusal:
        check_direction(net, other)
    assert refusal.value.code == "text.moved"


def test_putting_back_changes_nothing_that_is_already_there(net):
    from copy import deepcopy

    tower = deepcopy(net.text)
    before = tower.transformer.text_projection.detach().clone()
    put_back(tower, net.text, concepts()[NODULE].present)
    after = tower.embed(concepts()[NODULE].present)
    assert torch.allclose(after, net.text.embed(concepts()[NODULE].present), atol=1e-6)
    # Only lengths differ, and in the space of those few sentences.
    rank = torch.linalg.matrix_rank((tower.transformer.text_projection.detach() - before).double(), atol=1e-6)
    assert int(rank) <= len(concepts()[NODULE].present)


def test_the_tower_learns_what_its_labels_say(net, some_cases):
    """Windows whose features say "solid" or not: after tuning, words that no prompt holds tell them apart."""
    torch.manual_seed(1)
    dimension = net.vision.config.embedding
    way = torch.nn.functional.normalize(torch.randn(dimension), dim=0)
    labels = torch.full((64, len(concepts())), torch.nan)
    labels[:, 0] = 1.0
    labels[:, 1 + attribute_names().index("solid")] = (torch.arange(64) % 2).float()
    sign = 2 * (torch.arange(64) % 2).float() - 1
    pooled = sign[:, None] * way + 0.1 * torch.randn(64, dimension)
    tokens = pooled[:, None, None].expand(-1, 2, 2, -1).half()
    learned, history = tune_text(
        net, Seen(tokens, pooled, labels), TuningRecipe(steps=240, ways=2, windows=8, rate=3e-3, kept=0.0)
    )
    assert np.mean([row["pair"] for row in history[-3:]]) < 0.5 * np.log(2), "a coin says log 2"
    yes, no = learned.embed_prompts(["the lesion looks completely solid", "the lesion does not look completely solid"])
    scores = pooled @ (yes - no)
    assert scores[1::2].min() > scores[::2].max()


def test_what_was_said_before_is_kept_and_speaks_where_no_reader_did(net, seen):
    attribute = 1 + attribute_names().index("solid")
    with torch.no_grad():
        tokens, there = seen.pooled[:, None, None], torch.ones(len(seen.pooled), 1, 1)
        expected = net.attribute_logit(tokens, there, concepts()["solid"]).sigmoid()
    before = said_before(net, seen.pooled)
    assert torch.allclose(before[:, attribute - 1], expected, atol=1e-6)
    labels = torch.full_like(before, torch.nan)
    labels[0, 0] = 1.0
    mixed = blended(labels, before, 0.75)
    assert mixed[0, 0] == pytest.approx(0.25 + 0.75 * float(before[0, 0]))
    assert torch.equal(mixed[1:], before[1:])
    assert torch.equal(blended(labels, before, 0.0).isnan(), labels.isnan())


def test_the_same_seed_gives_the_same_bytes_and_cancelling_is_heard(net, seen, tuned):
    again = tune_text(net, seen, RECIPE)[0]
    assert all(torch.equal(a, b) for a, b in zip(tuned.state_dict().values(), again.state_dict().values(), strict=True))
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune_text(net, seen, RECIPE, on_progress=stop)
    assert told == [(0, 12), (1, 12), (2, 12), (3, 12)]


def test_a_wider_vocabulary_says_the_old_sentences_as_before(net):
    wide = with_vocabulary(net, ("a zebra in the lung",))
    assert wide.text.vocabulary.unknown_words("zebra") == ()
    assert net.text.vocabulary.unknown_words("zebra") == ("zebra",)
    sentences = [s for concept in concepts().values() for s in concept.present]
    assert torch.equal(wide.embed_prompts(sentences), net.embed_prompts(sentences))


def test_after_tuning_every_word_of_the_generator_is_known(tuned):
    assert all(tuned.text.vocabulary.unknown_words(text) == () for text in wordings().texts())


def test_strange_words_are_put_between_and_nothing_is_lost():
    ids = torch.full((200, 12), PAD)
    sentence = torch.tensor([START, 7, 8, 9, 10, 50])
    ids[:, :6] = sentence
    full = torch.tensor([[START, *range(3, 13), 50]])
    mixed = with_strange_words(ids, torch.Generator().manual_seed(0))
    changed = 0
    for row in mixed:
        words = row[row != PAD].tolist()
        assert [w for w in words if w != UNKNOWN] == sentence.tolist()
        assert words[0] == START
        assert words[-1] == 50
        changed += UNKNOWN in words
    assert 0.5 * text_tuning.STRANGE < changed / 200 < 2 * text_tuning.STRANGE
    assert torch.equal(with_strange_words(full.repeat(50, 1), torch.Generator().manual_seed(0)), full.repeat(50, 1))


def test_without_the_padding_a_tower_says_the_same(net):
    sentences = ["a nodule without a smooth margin", "a nodule", "nodule", "a solid nodule", "the nodule is not solid"]
    ids = net.text.vocabulary.tokenize(sentences, context=24)
    with torch.no_grad():
        assert torch.allclose(text_tuning.embed_sorted(net.text, ids), net.text(ids), atol=1e-6)
