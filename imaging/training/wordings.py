"""Many ways to say the same: sentences for the text tower, drawn from frames and the words of each concept.

`prompts.json` holds the few sentences that scores are made of; a tower that only ever read those does not understand
the next way to say it. A frame of `wordings.json` has slots: ``{is}`` what a nodule is, ``{has}`` what it has,
``{bare}`` the same without an article, ``{opposite}`` what it is instead, and nouns, places and sizes that change
nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Final, Literal

import torch

from imaging.models.prompts import NODULE, concepts

#: What a sentence says of a concept: a nodule has it, a nodule lacks it, or it is not there, with or without a nodule.
Side = Literal["present", "absent", "denied"]
SIDES: Final[tuple[Side, ...]] = ("present", "absent", "denied")
#: Concepts of size: a size said beside them would say it too.
SIZES: Final = ("small", "large")
#: So many drawn sentences out of a hundred are from `prompts.json`, which scores are made of.
TABLE_PERCENT: Final = 25

_SLOT: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, eq=False)
class Wordings:
    """Frames and the words that fill them.

    Args:
        frames: concept -> side -> frames.
        words: concept -> slot -> what may stand there; a word that stands twice is drawn twice as often.
    """

    frames: Mapping[str, Mapping[Side, tuple[str, ...]]]
    words: Mapping[str, Mapping[str, tuple[str, ...]]]

    def draw(self, concept: str, side: Side, generator: torch.Generator) -> str:
        """One sentence, with a CPU generator."""
        frame = _one(self.frames[concept][side], generator)
        words = self.words[concept]
        text = _SLOT.sub(lambda slot: _one(words[slot.group(1)], generator), frame)
        return with_articles(text)

    def says(self, concept: str, side: Side, sentence: str) -> bool:
        """Whether `draw` can give `sentence`, whatever its case and articles."""
        return _pattern(self, concept, side).fullmatch(_plain(sentence)) is not None

    def texts(self) -> tuple[str, ...]:
        """Texts with every word that a sentence can hold, for a vocabulary."""
        filled = {word for slots in self.words.values() for words in slots.values() for word in words}
        between = {_SLOT.sub(" ", frame) for sides in self.frames.values() for f in sides.values() for frame in f}
        # "non-solid" is not tokenised as "non-" and "solid" apart from each other.
        whole = {frame.replace("{is}", word) for word in filled for frame in ("non-{is}", "{is}:", "{is},")}
        return tuple(sorted(filled | between | whole | {"an"}))


@lru_cache(maxsize=64)
def _pattern(table: Wordings, concept: str, side: Side) -> re.Pattern[str]:
    """Matches all that a concept's frames can say on one side."""
    frames = []
    for frame in dict.fromkeys(table.frames[concept][side]):
        parts = _SLOT.split(_plain(frame))
        slots = ["|".join(re.escape(_plain(w)) for w in {*table.words[concept][slot]}) for slot in parts[1::2]]
        text = "".join(f"{re.escape(a)}(?:{b})" for a, b in zip(parts[::2], slots, strict=False))
        frames.append(text + re.escape(parts[-1]))
    return re.compile("|".join(frames))


@lru_cache(maxsize=1)
def wordings() -> Wordings:
    """The shipped frames and words, for every concept of `prompts.json`."""
    table = json.loads(resources.files("imaging.training").joinpath("wordings.json").read_text(encoding="utf-8"))
    frames: dict[str, dict[Side, tuple[str, ...]]] = {}
    words = {}
    for name in concepts():
        rows = table["whole"].get(name)
        own = table["concepts"].get(name, {})
        words[name] = {slot: tuple(row) for slot, row in (table["slots"] | own).items()}
        words[name]["bare"] = tuple(word.removeprefix("a ") for word in own.get("has", ()))
        frames[name] = _frames_of_nodule(rows) if rows else _frames_of_attribute(name, table["frames"], own["prefix"])
    return Wordings(frames, words)


def _frames_of_nodule(rows: Mapping[str, Sequence[str]]) -> dict[Side, tuple[str, ...]]:
    return {"present": tuple(rows["present"]), "absent": tuple(rows["absent"]), "denied": tuple(rows["absent"])}


def _frames_of_attribute(
    name: str, rows: Mapping[str, Sequence[str]], prefix: Sequence[str]
) -> dict[Side, tuple[str, ...]]:
    """The frames for one attribute: none with a size for a concept of size, "non-" only before what can bear it."""
    prefixed = [frame.replace("{is}", word) for frame in rows["prefixed"] for word in prefix]
    sides: dict[Side, tuple[str, ...]] = {}
    for side in SIDES:
        frames = [*rows[side], *(prefixed if side == "absent" else ())]
        sides[side] = tuple(frame for frame in frames if "{size}" not in frame or name not in SIZES)
    return sides


def draw_sentence(concept: str, side: Side, generator: torch.Generator) -> str:
    """A sentence from `prompts.json` now and then, else from the frames; with a CPU generator."""
    table = concepts()[concept]
    from_table = int(torch.randint(0, 100, (1,), generator=generator)) < TABLE_PERCENT
    if from_table and (side != "denied" or concept == NODULE):
        return _one(table.present if side == "present" else table.absent, generator)
    return wordings().draw(concept, side, generator)


def with_articles(text: str) -> str:
    """`text` with "an" where a word begins with a vowel's sound: "an irregular nodule", "an 8 mm nodule"."""
    return re.sub(r"\ba(?= (?:[aeio]|u(?!ni)|8|11|18))", "an", text)


def _plain(text: str) -> str:
    return re.sub(r"\ban\b", "a", text.lower()).strip().rstrip(".")


def _one(options: Sequence[str], generator: torch.Generator) -> str:
    return options[int(torch.randint(0, len(options), (1,), generator=generator))]
