"""Numbers as headers may write them: Python's `float` takes more, and would read ``0_7`` as seven."""

from __future__ import annotations

import re

_DECIMAL = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*", re.ASCII)


def decimal(text: str) -> float:
    """A decimal number in ASCII digits; it may be infinite if its exponent is absurd.

    Raises:
        ValueError: for anything else, words for what is no number included.

    >>> decimal(" -1.25E2")
    -125.0
    """
    if _DECIMAL.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not a decimal number")
    return float(text)
