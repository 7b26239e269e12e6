"""JSON that every parser takes, also where a file's name cannot be decoded."""

from __future__ import annotations

import json
import re
from typing import Any

# An escaped backslash, a whole pair of surrogates (any character beyond 16 bits), or half of one.
_ESCAPES = re.compile(r"\\\\|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\ud[89a-f][0-9a-f]{2}")


def strict_json(value: Any, *, indent: int | None = None) -> str:
    r"""The value as ASCII JSON; half a surrogate pair, which stands for an undecodable byte, is spelled out.

    >>> print(strict_json("a\udcff.zip"), strict_json("\U0001f642"))
    "a\\udcff.zip" "\ud83d\ude42"
    """
    text = json.dumps(value, indent=indent)
    return _ESCAPES.sub(lambda match: "\\" + match[0] if len(match[0]) == 6 else match[0], text)


def encodable(text: str) -> str:
    """Text that can be written as UTF-8: the same spelling of what cannot."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
