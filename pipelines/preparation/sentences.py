"""Ratings in words that `imaging.training.report_labels` reads back: one sentence a nodule, and no place in it."""

from __future__ import annotations

from typing import Literal

Kind = Literal["solid", "part-solid", "ground-glass", ""]
Margin = Literal["spiculated", "smooth", ""]


def nodule_sentence(*, size_mm: float | None = None, kind: Kind = "", margin: Margin = "", calcified: bool) -> str:
    """One nodule as a report would put it.

    >>> nodule_sentence(size_mm=12.34, kind="solid", margin="spiculated", calcified=False)
    '12.3 mm spiculated solid nodule.'
    >>> nodule_sentence(calcified=True)
    'Calcified nodule.'
    """
    size = "" if size_mm is None else f"{size_mm:.1f}".removesuffix(".0") + " mm"
    words = [size, margin, "calcified" if calcified else "", kind, "nodule."]
    sentence = " ".join(word for word in words if word)
    return sentence[0].upper() + sentence[1:]
