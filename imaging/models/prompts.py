"""The prompts the text tower is trained on, from `prompts.json`.

A concept is present or absent in an image, and each of both can be said in several ways. ``nodule`` is the concept that
detects; the others are attributes of a nodule.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

#: The concept whose prompts detect.
NODULE = "nodule"


@dataclass(frozen=True)
class Concept:
    """One concept and the sentences that say it is there (`present`) or not (`absent`)."""

    name: str
    present: tuple[str, ...]
    absent: tuple[str, ...]


@lru_cache(maxsize=1)
def concepts() -> dict[str, Concept]:
    """All concepts by name; ``nodule`` comes first."""
    text = resources.files("imaging.models").joinpath("prompts.json").read_text(encoding="utf-8")
    table = json.loads(text)["concepts"]
    return {name: Concept(name, tuple(row["present"]), tuple(row["absent"])) for name, row in table.items()}


def attribute_names() -> tuple[str, ...]:
    """The concepts that are attributes of a nodule, in the order of `prompts.json`."""
    return tuple(name for name in concepts() if name != NODULE)


def all_sentences() -> tuple[str, ...]:
    """Every sentence of every concept, in order."""
    return tuple(s for c in concepts().values() for s in (*c.present, *c.absent))
