"""What a reader had decided, as a report that nodulus wrote after a review states it.

The codes are nodulus's own, so only its own reports hold them; another product's report states nothing here.

Source: `imaging.outputs.reviewed_sr`, which writes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from imaging.errors import Notice

Verdict = Literal["accepted", "corrected", "added", "rejected"]

#: Scheme and value of the name under which a decision stands; code value of a comment and of a person's name.
SCHEME, DECISION = "99NODULUS", "reader-decision"
_COMMENT: Final = "121106"
_PERSON: Final = "121008"


@dataclass(frozen=True)
class Stated:
    """A decision that stands in a report.

    Args:
        verdict: what was decided.
        comment: the reader's words.
        sized_by_hand: whether the diameter is the reader's: it names no method of an algorithm.
    """

    verdict: Verdict
    comment: str = ""
    sized_by_hand: bool = False


def stated_in(items: list[Any]) -> Stated | None:
    """The decision among all content items of a measurement group; None where none stands."""
    said = next((_value(item) for item in items if _name(item) == (SCHEME, DECISION)), "")
    if said not in get_args(Verdict):
        return None
    comment = next((str(item.get("TextValue", "")) for item in items if _name(item)[1] == _COMMENT), "")
    diameters = [item for item in items if item.ValueType == "NUM" and "iameter" in _meaning(item)]
    by_hand = any(not _has_method(item) for item in diameters)
    return Stated(cast(Verdict, said), comment, by_hand)


def persons_of(dataset: Any) -> tuple[str, ...]:
    """The people who observed, each once, as they are written in DICOM but for carets at the end."""
    people = [str(i.get("PersonName", "")).rstrip("^ ") for i in dataset.ContentSequence if _name(i)[1] == _PERSON]
    return tuple(dict.fromkeys(name for name in people if name))


def doubts(dataset: Any, stated: list[Stated]) -> tuple[Notice, ...]:
    """What a reviewed report leaves out or open: rejected findings, undecided ones, that nobody answers for it."""
    if not stated:
        return ()
    found = []
    rejected = sum(one.verdict == "rejected" for one in stated)
    if rejected:
        message = f"findings that the reader rejected stand in it without a place and are not listed: {rejected}"
        found.append(Notice("result.rejected", message))
    if dataset.get("CompletionFlag") == "PARTIAL":
        message = "it was written before every finding was decided on; the undecided ones are not in it"
        found.append(Notice("result.partial", message))
    if dataset.get("VerificationFlag") != "VERIFIED":
        found.append(Notice("result.unverified", "no reader has verified the report"))
    return tuple(found)


def _name(item: Any) -> tuple[str, str]:
    names = item.get("ConceptNameCodeSequence")
    return (str(names[0].get("CodingSchemeDesignator", "")), str(names[0].get("CodeValue", ""))) if names else ("", "")


def _meaning(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].get("CodeMeaning", "")) if names else ""


def _value(item: Any) -> str:
    values = item.get("ConceptCodeSequence")
    return str(values[0].get("CodeValue", "")) if values else ""


def _has_method(item: Any) -> bool:
    """Measurement Method (SCT 370129005) beside a measure."""
    return any(_name(child)[1] == "370129005" for child in item.get("ContentSequence", []))
