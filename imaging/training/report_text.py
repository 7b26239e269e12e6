"""A report's text made ready for the rules: one spelling of each denial, and only the sections that tell of the image.

Which headings there are and how the short forms are written out stands in `report_rules.json`, beside the rules
themselves (`imaging.training.report_labels`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

HAN = re.compile(r"[\u4e00-\u9fff]")
#: Full-width and typographic forms that the rules know in their plain form.
_PLAIN = str.maketrans({"（": "(", "）": ")", "’": "'", "‘": "'", "ʼ": "'", "＋": "+", "\u00a0": " ", "\u3000": " "})
_LIST_NUMBER = re.compile(r"^\s*(?:\(?\d{1,2}[.)、](?!\d)|[-*•])\s*")


@cache
def rules() -> Mapping[str, Any]:
    """What `report_rules.json` holds; nobody may change it."""
    return MappingProxyType(json.loads(Path(__file__).with_name("report_rules.json").read_text(encoding="utf-8")))


def described_lines(text: str) -> Iterator[str]:
    """Lines of a report that tell of the image: lower case, short forms written out, no list numbers.

    Sections that do not (history, technique, advice) are left out, whether each heading begins a line or all of them
    stand in one. Text before the first heading counts. A line that ends with a colon goes on in the next.

    >>> list(described_lines("Indication: nodule? Findings: There isn't any nodule. Technique: 1 mm."))
    ['findings: there is not any nodule. ']
    """
    skipping, begun = False, ""
    for line in _simplified(text).translate(_PLAIN).replace("\r", "\n").split("\n"):
        for heading, rest in _sections(line):
            if heading:
                skipping, begun = heading in rules()["skipped_sections"], ""
            if skipping or not rest.strip():
                continue
            begun += _LIST_NUMBER.sub("", _written_out(rest.lower()))
            if not begun.rstrip().endswith((":", "：")):
                yield begun
                begun = ""
    if begun:
        yield begun


def _simplified(text: str) -> str:
    """Traditional characters as simplified ones, which the rules are written in."""
    if not HAN.search(text):
        return text
    from opencc import OpenCC  # a native library, and most reports need none

    return str(OpenCC("t2s").convert(text))


def _written_out(line: str) -> str:
    for pattern, plain in _short_forms():
        line = pattern.sub(plain, line)
    return line


@cache
def _short_forms() -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(short), plain) for short, plain in rules()["short_forms"].items())


def _sections(line: str) -> Iterator[tuple[str, str]]:
    """Pieces of a line, each with the heading that it stands under: "" for what comes before the first.

    The heading of a section that is read stays in the text: "Nodules: none" says something.
    """
    starts = [(0, 0, "")]
    for m in _headings().finditer(line):
        group = m.lastgroup or 0
        starts.append((m.start(group), m.end(), " ".join(m[group].lower().split())))
    for (start, end, heading), (stop, _, _) in zip(starts, [*starts[1:], (len(line), 0, "")], strict=True):
        skipped = heading in rules()["skipped_sections"]
        yield heading, line[end if skipped else start : stop]


@cache
def _headings() -> re.Pattern[str]:
    """A heading at the start of a line, or within one where it begins as a heading does.

    "He has a history: none" in a sentence is no heading; "... cough. history: none" and "cough History: none" are.
    Parts of the body need their colon: "Chest" on a line of its own may be what was examined.
    """
    sections = (*rules()["skipped_sections"], *rules()["kept_sections"])
    lead = r"^[\s*•#_>-]*(?:\d{1,2}[.)、]\s*)?"
    within = r"(?<=[.;!?。；！？])\s*|(?<=\s)(?=[A-Z])|(?<![A-Za-z0-9\u4e00-\u9fff])(?=[\u4e00-\u9fff])"
    with_colon = rf"(?:{lead}|{within})(?P<name>{_any_of((*sections, *rules()['kept_parts']))})[*_]*\s*[:：][*_]*"
    bare = rf"{lead}(?P<bare>{_any_of(sections)})[*_]*(?:\s*$|\s+[-–—]\s)"
    return re.compile(f"{with_colon}|{bare}")


def _any_of(names: Iterable[str]) -> str:
    """A pattern for any of the names in upper or lower case, the longest first."""
    patterns = (re.escape(name).replace(r"\ ", r"\s+") for name in sorted(names, key=len, reverse=True))
    return f"(?i:{'|'.join(patterns)})"
