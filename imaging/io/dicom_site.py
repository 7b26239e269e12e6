"""Where a structured report says that a finding lies: the side of the lung and the zone.

Products name a lung, a lobe or a zone, with the side in the site's own name or in a modifier, in SNOMED CT or in its
older spelling SRT. A lobe gives a side and no zone: zones are thirds of a lung's height, and lobes are not.

Source: DICOM PS3.16 TID 1410, 1411, 1501 (finding site with laterality), CID 244, 6170 (lobes), 6171 (zones).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from imaging.findings import Side, Zone

#: Concept names: finding site; laterality.
_SITE: Final = ("363698007", "G-C0E3")
_LATERALITY: Final = ("272741003", "G-C171")

#: SCT and SRT code -> what it says, in whatever language its meaning is written; for any other code its meaning counts.
_SAYS: Final = {
    code: words
    for several, words in (
        (("39607008", "T-28000"), "lung"),
        (("7771000", "G-A101"), "left"),
        (("24028007", "G-A100"), "right"),
        (("281392002", "T-D3208"), "upper zone of lung"),
        (("281393007", "T-D3209"), "middle zone of lung"),
        (("281394001", "T-D320A"), "lower zone of lung"),
        (("44714003", "T-28600"), "upper lobe of left lung"),
        (("72481006", "T-28300"), "middle lobe of right lung"),
    )
    for code in several
}
_SIDES: Final[tuple[Side, ...]] = ("left", "right")
_ZONES: Final[tuple[Zone, ...]] = ("upper", "middle", "lower")

Word = TypeVar("Word", bound=str)


def site_of(items: Iterable[Any]) -> tuple[Side | None, Zone | None]:
    """Side and zone by the finding sites among the content items; None for what they don't say, or say twice over."""
    said = [words for item in items if _named(item, _SITE) and _of_lung(words := _words(item))]
    together = frozenset[str]().union(*said)
    zones = frozenset[str]().union(*(words for words in said if words & {"zone", "zones"}))
    return _only(_SIDES, together), _only(_ZONES, zones)


def _named(item: Any, codes: tuple[str, ...]) -> bool:
    return any(str(name.get("CodeValue", "")) in codes for name in item.get("ConceptNameCodeSequence", []))


def _words(item: Any) -> frozenset[str]:
    """The words of a site with those of its laterality."""
    sides = [child for child in item.get("ContentSequence", []) if _named(child, _LATERALITY)]
    concepts = [concept for one in (item, *sides) for concept in one.get("ConceptCodeSequence", [])]
    texts = [_SAYS.get(str(one.get("CodeValue", "")), str(one.get("CodeMeaning", ""))) for one in concepts]
    return frozenset(re.findall(r"\w+", " ".join(texts).lower()))


def _of_lung(words: frozenset[str]) -> bool:
    """Whether it is a site of the lung: a left breast has a side too. An upper, middle or lower lobe is the lung's."""
    lobe = "lobe" in words and bool(words & set(_ZONES))
    return lobe or any(word.startswith(("lung", "pulmon")) for word in words)


def _only(known: tuple[Word, ...], words: frozenset[str]) -> Word | None:
    found = [word for word in known if word in words]
    return found[0] if len(found) == 1 else None
