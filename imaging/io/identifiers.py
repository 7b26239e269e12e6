"""The patient's name and numbers taken out of free text: descriptions and names of files often repeat them.

What may hold them at all (`Origin.header`) is decided elsewhere; this is for texts that are shown and stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

#: Attributes whose words no text output may hold.
IDENTIFYING: Final = ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "ReferringPhysicianName")
#: What stands in the place of such a word.
LEFT_OUT: Final = "…"
#: Shorter words are taken for names only where they stand alone, and the shortest not at all.
_LONG, _SHORT = 4, 2


def identifying_words(header: Mapping[str, Any] | Any) -> frozenset[str]:
    """The words of a header's identifiers, in lower case.

    Args:
        header: attribute keyword -> value, such as a pydicom data set; None holds none.

    >>> sorted(identifying_words({"PatientName": "Doe^Jane=", "PatientID": "A-17"}))
    ['a-17', 'doe', 'jane']
    """
    if header is None:
        return frozenset()
    words: set[str] = set()
    for keyword in IDENTIFYING:
        text = str(header.get(keyword, "") or "").casefold().strip()
        words.update(re.split(r"[\s^=,]+", text) if keyword.endswith("Name") else [text])
    return frozenset(word for word in words if len(word) >= _SHORT and any(c.isalnum() for c in word))


def without(text: str, words: Iterable[str]) -> str:
    """The text with each of the words left out, whatever its case; numbers only where they stand alone.

    >>> without("Chest DOE^JANE 2.5 mm, IM_doe_003", ["doe", "jane", "2.5"])
    'Chest …^… … mm, IM_…_003'
    """
    for word in sorted(words, key=len, reverse=True):
        alone = len(word) < _LONG or not any(c.isalpha() for c in word)
        pattern = rf"(?<![^\W_])(?<!\d\.){re.escape(word)}(?![^\W_])(?!\.\d)" if alone else re.escape(word)
        text = re.sub(pattern, LEFT_OUT, text, flags=re.IGNORECASE)
    return text
