"""The vocabulary, the text tower and the prompts it is trained on."""

from __future__ import annotations

import pytest
import torch

from imaging.models.prompts import NODULE, all_sentences, attribute_names, concepts
from imaging.models.text import FIRST_WORD, PAD, START, UNKNOWN, TextConfig, TextTower, Vocabulary, byte_pair_tokenizer


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary.of_texts(all_sentences())


def test_every_sentence_goes_there_and_back(vocabulary):
    """Ids of the pruned vocabulary, decoded by open_clip's own tokenizer, give the sentence again."""
    ids = vocabulary.tokenize(all_sentences(), context=24)
    for row, sentence in zip(ids.tolist(), all_sentences(), strict=True):
        assert row[0] == START
        words = row[1 : row.index(vocabulary.size - 1)]
        assert row[len(words) + 2 :] == [PAD] * (24 - len(words) - 2)
        pairs = [vocabulary.ids[word - FIRST_WORD] for word in words]
        assert pairs == byte_pair_tokenizer().encode(sentence)


def test_words_the_tower_never_met_are_named_and_marked(vocabulary):
    prompt = "a spiculated zebra nodule"
    assert vocabulary.unknown_words(prompt) == ("zebra",)
    assert UNKNOWN in vocabulary.tokenize([prompt], context=24)
    assert vocabulary.unknown_words("A Solid NODULE") == ()
    assert all(vocabulary.unknown_words(sentence) == () for sentence in all_sentences())


def test_a_long_text_is_cut_and_still_ends(vocabulary):
    (row,) = vocabulary.tokenize(["nodule " * 100], context=8).tolist()
    assert len(row) == 8
    assert row[-1] == vocabulary.size - 1


def test_embeddings_are_unit_vectors_and_ignore_the_company(vocabulary):
    torch.manual_seed(0)
    tower = TextTower(TextConfig(width=16, heads=2, layers=1), vocabulary, embedding=12).eval()
    with torch.no_grad():
        both = tower.embed(["a solid nodule", "normal lung parenchyma and blood vessels"])
        alone = tower.embed(["a solid nodule"])
    assert both.shape == (2, 12)
    assert torch.allclose(both.norm(dim=1), torch.ones(2), atol=1e-5)
    assert torch.allclose(both[:1], alone, atol=1e-6)


def test_the_table_of_prompts_is_sane():
    assert next(iter(concepts())) == NODULE
    wanted = {"solid", "part-solid", "ground-glass", "calcified", "spiculated", "lobulated", "smooth", "small", "large"}
    assert wanted <= set(attribute_names())
    assert NODULE not in attribute_names()
    for concept in concepts().values():
        assert concept.present
        assert concept.absent
        sentences = (*concept.present, *concept.absent)
        assert len(set(sentences)) == len(sentences), f"{concept.name} says the same for there and not there"


def test_no_sentence_is_cut_by_the_context():
    longest = max(len(byte_pair_tokenizer().encode(sentence)) for sentence in all_sentences())
    assert longest <= TextConfig().context - 2
