"""The generator of wordings: what it can say, what it never says, and that the tower knows every word of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from imaging.models.prompts import NODULE, all_sentences, attribute_names, concepts
from imaging.models.text import TextConfig, Vocabulary, byte_pair_tokenizer
from imaging.training import wordings as wordings_module
from imaging.training.wordings import SIDES, SIZES, Side, draw_sentence, with_articles, wordings

HELD_OUT = Path(__file__).resolve().parents[2] / "benchmarks" / "held_out_prompts.json"


def drawn(concept: str, side: Side, count: int = 200) -> set[str]:
    generator = torch.Generator().manual_seed(3)
    return {wordings().draw(concept, side, generator) for _ in range(count)}


def held_out_sentences() -> list[tuple[str, str]]:
    lists = json.loads(HELD_OUT.read_text(encoding="utf-8"))
    return [
        (name, sentence)
        for which in ("for_choices", "for_judging")
        for name, pairs in lists[which].items()
        for pair in pairs
        for sentence in pair
    ]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("concept", concepts())
def test_sentences_are_many_fit_the_tower_and_hold_no_empty_slot(concept, side):
    sentences = drawn(concept, side)
    assert len(sentences) > (10 if concept == NODULE else 60)
    assert not any("{" in sentence or "  " in sentence for sentence in sentences)
    longest = max(len(byte_pair_tokenizer().encode(sentence)) for sentence in sentences)
    assert longest <= TextConfig().context - 2


def test_the_vocabulary_of_the_generator_covers_every_sentence():
    vocabulary = Vocabulary.of_texts([*all_sentences(), *wordings().texts()])
    unknown = {
        sentence: vocabulary.unknown_words(sentence)
        for concept in concepts()
        for side in SIDES
        for sentence in drawn(concept, side, 400)
    }
    assert {s: words for s, words in unknown.items() if words} == {}


def test_no_frame_can_say_a_held_out_sentence():
    """For whatever concept and side; nor does the table of prompts hold it."""
    sides = [(concept, side) for concept in concepts() for side in SIDES]
    said = [s for _, s in held_out_sentences() if any(wordings().says(c, side, s) for c, side in sides)]
    assert said == []
    assert not {s.lower() for _, s in held_out_sentences()} & {s.lower() for s in all_sentences()}


def test_what_can_be_said_is_what_is_drawn():
    for concept in concepts():
        for side in SIDES:
            assert all(wordings().says(concept, side, sentence) for sentence in drawn(concept, side, 100))
    assert wordings().says("calcified", "present", "CT shows a densely calcified lung nodule.")
    assert not wordings().says("calcified", "absent", "CT shows a densely calcified lung nodule")
    assert not wordings().says("calcified", "present", "CT shows a densely calcified zebra")


def test_a_denial_is_never_an_affirmation():
    """No sentence of one attribute's present side is also on its absent or denied side."""
    for concept in attribute_names():
        for sentence in drawn(concept, "present", 400):
            assert not wordings().says(concept, "absent", sentence), sentence
            assert not wordings().says(concept, "denied", sentence), sentence


def test_a_concept_of_size_is_never_said_beside_another_size():
    for concept in SIZES:
        frames = [frame for side in SIDES for frame in wordings().frames[concept][side]]
        assert frames
        assert not any("{size}" in frame for frame in frames)


def test_draws_follow_the_generator_and_mix_in_the_table():
    def some(seed: int) -> list[str]:
        chance = torch.Generator().manual_seed(seed)
        return [draw_sentence("solid", "present", chance) for _ in range(300)]

    assert some(1) == some(1)
    assert some(1) != some(2)
    share = sum(sentence in concepts()["solid"].present for sentence in some(1)) / 300
    assert 0.15 < share < 0.45


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("a irregular nodule", "an irregular nodule"),
        ("a 8 mm nodule", "an 8 mm nodule"),
        ("a 18 mm nodule", "an 18 mm nodule"),
        ("a uniform nodule", "a uniform nodule"),
        ("a nodule", "a nodule"),
        ("a uncalcified nodule", "an uncalcified nodule"),
    ],
)
def test_articles(raw, said):
    assert with_articles(raw) == said


#: Words that deny by themselves.
NEGATORS = {
    *("not", "no", "non", "without", "lacks", "lacking", "lack", "devoid", "cannot", "isn't", "doesn't", "never"),
    *("hardly", "far", "fails", "free", "absence", "absent", "neither", "nor", "negative", "inconsistent", "none"),
    *("missing", "excluded", "ruled", "nothing", "least"),
}


def test_a_word_that_stands_in_denials_stands_in_affirmations_too():
    """Else the tower takes it for a denial: "is seen", in denials alone, turned a solid nodule into ground glass."""
    frames = json.loads((Path(wordings_module.__file__).with_name("wordings.json")).read_text(encoding="utf-8"))[
        "frames"
    ]

    def words(*sides: str) -> set[str]:
        texts = (re.sub(r"\{\w+\}", " ", frame.lower()) for side in sides for frame in frames[side])
        return {word for text in texts for word in re.findall(r"[a-z']+", text)}

    assert words("absent", "denied", "prefixed") - NEGATORS - words("present") == set()
