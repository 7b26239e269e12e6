"""From the words of a report to an image-level label for "lung nodule", in English and Chinese.

Rules, not a model: `report_rules.json` holds every word that decides. A report is read sentence by sentence and clause
by clause; each mention of a nodule is asked whether it is of another organ, advice, a mere
condition, denied, something else after all, history or doubt. The
report's label is the strongest of its mentions: positive, else uncertain, else negative, else none.

What the label means, where words leave a choice: "no suspicious nodule" is negative; "no new nodule" and "no nodule
over 6 mm" leave old or small ones open and are uncertain; a stable calcified granuloma is a nodule that one can see, so
it is positive and calcified; a nodule that was resected or has resolved is not in the image.

Source: Chapman et al. 2001, doi:10.1006/jbin.2001.1029 (negation by triggers and their scope).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from imaging.training.report_text import HAN, described_lines, rules

Label = Literal["positive", "negative", "uncertain", "none"]
#: Of several mentions the first of these that occurs is the report's.
STRENGTH: tuple[Label, ...] = ("positive", "uncertain", "negative")
ATTRIBUTES = ("solid", "part_solid", "ground_glass", "calcified", "spiculated")
#: How far from a mention words still bear on it, characters.
REACH = 300
#: Sizes beyond this are of something else (a field of view, a lung).
LARGEST_MM = 150.0


@dataclass(frozen=True)
class Mention:
    """One mention of a nodule (or of clear lungs): the clause it stands in, its label and the rule that decided."""

    clause: str
    label: Label
    rule: str


@dataclass(frozen=True)
class ReportLabel:
    """What a report says.

    Args:
        label: for "there is a nodule in the lung".
        attributes: name -> True where a nodule is said to have it, False where that is denied; absent where unsaid.
        size_mm: the largest size of a nodule that is named, mm.
        mentions: what the label rests on, in order.
    """

    label: Label
    attributes: Mapping[str, bool]
    size_mm: float | None
    mentions: tuple[Mention, ...]


@dataclass(frozen=True)
class _Clause:
    text: str
    organ: str  # "lung", "elsewhere" or "" as carried over from the clauses before
    sentence: str
    sentence_before: str


class _Language:
    """The compiled rules of one language."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        self._rules = {name: re.compile(text) for name, text in rules.items() if isinstance(text, str)}
        self.attributes = {
            name: tuple(re.compile(each[side]) if each[side] else None for side in ("present", "absent"))
            for name, each in rules["attributes"].items()
        }

    def __getitem__(self, name: str) -> re.Pattern[str]:
        return self._rules[name]


@cache
def _language(name: str) -> _Language:
    return _Language(rules()["languages"][name])


def label_report(text: str) -> ReportLabel:
    """Label a report's text; English and Chinese may stand side by side.

    >>> found = label_report("Stable 4 mm calcified granuloma in the right upper lobe.")
    >>> found.label, found.size_mm, dict(found.attributes)
    ('positive', 4.0, {'calcified': True})
    >>> label_report("No suspicious nodule.").label
    'negative'
    """
    mentions: list[Mention] = []
    attributes: dict[str, bool] = {}
    sizes: list[float] = []
    told = ""  # the last sentence that told of a nodule which is there
    for language, clause in _clauses(text):
        found = list(_mentions(language, clause))
        mentions.extend(found)
        if any(mention.label == "positive" for mention in found):
            for name, value in _attributes(language, clause.text).items():
                attributes[name] = attributes.get(name, False) or value
            sizes.extend(_sizes(language, clause.text))
            told = clause.sentence
        elif _goes_on(clause, told, mentions, language):
            for name, value in _attributes(language, clause.text).items():
                attributes.setdefault(name, value)
            sizes.extend(_sizes(language, clause.text))
            told = clause.sentence
    said = {mention.label for mention in mentions}
    label: Label = next((each for each in STRENGTH if each in said), "none")
    kept = attributes if label == "positive" else {}
    size = max(sizes) if sizes and label == "positive" else None
    return ReportLabel(label, MappingProxyType(kept), size, tuple(mentions))


# --- sections, sentences, clauses ------------------------------------------------------------------------------------


def _clauses(text: str) -> Iterator[tuple[_Language, _Clause]]:
    """Clauses of the sections that describe the image, each with its language and the organ spoken of before it."""
    sentence_before = ""
    for line in described_lines(text):
        language = _language("zh" if HAN.search(line) else "en")
        for sentence in _split(language["sentence_end"], line):
            organ = ""
            for clause in _split(language["clause_end"], sentence):
                yield language, _Clause(clause, organ, sentence, sentence_before)
                organ = _last_organ(language, clause) or organ
            sentence_before = sentence


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    """Pieces between matches, without blanks; the mark that ends a piece (a question mark tells much) stays with it."""
    pieces, start = [], 0
    for match in pattern.finditer(text):
        ends_with_mark = match.group().strip() in ("?", "？")
        pieces.append(text[start : match.end() if ends_with_mark else match.start()])
        start = match.end()
    return [piece.strip() for piece in (*pieces, text[start:]) if piece.strip(" ,.")]


def _last_organ(language: _Language, clause: str) -> str:
    places = [(m.start(), organ) for organ in ("lung", "elsewhere") for m in language[organ].finditer(clause)]
    return max(places)[1] if places else ""


# --- mentions --------------------------------------------------------------------------------------------------------


def _mentions(language: _Language, clause: _Clause) -> Iterator[Mention]:
    """Every mention of a nodule in a clause with its label; clear lungs where no nodule is mentioned."""
    places = list(language["mention"].finditer(clause.text))
    for n, place in enumerate(places):
        start = places[n - 1].end() if n else 0
        label, rule = _judge(language, clause, place, start)
        if label != "none":
            yield Mention(clause.text, label, rule)
    if not places and language["clear"].search(clause.text):
        yield Mention(clause.text, "negative", "clear")


def _judge(language: _Language, clause: _Clause, place: re.Match[str], start: int) -> tuple[Label, str]:
    """Label of one mention and the rule that decided; `start` is the end of the mention before it."""
    before = clause.text[max(0, place.start() - REACH) : place.start()]
    after = clause.text[place.end() : place.end() + REACH]
    around = before + place.group() + after
    if _organ_of(language, before, place.group(), after, clause.organ) == "elsewhere":
        return "none", "elsewhere"
    if language["advice"].search(around):
        return "none", "advice"
    if language["uncertain_after"].search(after):
        return "uncertain", "uncertain_after"
    if language["hypothetical"].search(before):
        return "none", "hypothetical"
    scope = _scope(language, before, place.group())
    if language["negation_before"].search(scope):
        return _denied(language, scope, after)
    if language["negation_after"].search(language["pseudo_negation"].sub(" ", after)):
        return "negative", "negation_after"
    if language["alternative_after"].search(after):
        return "uncertain", "alternative_after"
    if mimic := language["mimic"].search(after):
        return ("uncertain" if language["hedged"].search(mimic.group()) else "none"), "mimic"
    told = language["pseudo_negation"].sub(" ", around)
    if language["history"].search(told) and not language["present"].search(clause.sentence):
        return "none", "history"
    if language["uncertain_before"].search(clause.text[max(start, place.start() - REACH) : place.start()]):
        return "uncertain", "uncertain_before"
    return "positive", "mention"


def _denied(language: _Language, scope: str, after: str) -> tuple[Label, str]:
    if language["other_negation"].search(scope):
        return "none", "other_negation"
    if language["qualified_negation"].search(scope) or language["qualified_after"].search(after):
        return "uncertain", "qualified_negation"
    if language["negated_exclusion"].search(scope):  # "cannot exclude" leaves doubt
        return "uncertain", "negated_exclusion"
    return "negative", "negation_before"


def _scope(language: _Language, before: str, mention: str) -> str:
    """What stands before a mention, from the last word on that ends a denial, without sham denials."""
    # Whether a denial is a sham can depend on the mention itself: "no growth" of a nodule, but "no growing nodule".
    plain = language["pseudo_negation"].sub(" ", before + mention).removesuffix(mention)
    stops = list(language["negation_stop"].finditer(plain))
    return plain[stops[-1].end() :] if stops else plain


def _organ_of(language: _Language, before: str, mention: str, after: str, carried: str) -> str:
    """The organ named nearest to a mention, else the one spoken of before; the lung by default."""
    text, start, end = before + mention + after, len(before), len(before) + len(mention)
    nearest, organ = len(text) + 1, carried or "lung"
    for name in ("lung", "elsewhere"):
        for match in language[name].finditer(text):
            distance = max(match.start() - end, start - match.end(), 0)
            if distance < nearest:
                nearest, organ = distance, name
    return organ


# --- attributes ------------------------------------------------------------------------------------------------------


def _goes_on(clause: _Clause, told: str, mentions: list[Mention], language: _Language) -> bool:
    """Whether a clause without a mention goes on about the nodule of its sentence, or of the one before ("its ...")."""
    if language["mention"].search(clause.text) or not mentions or mentions[-1].label != "positive":
        return False
    if told != clause.sentence and not (told == clause.sentence_before and language["goes_on"].match(clause.text)):
        return False
    return not language["elsewhere"].search(clause.text)


def _attributes(language: _Language, clause: str) -> dict[str, bool]:
    """Attributes that a clause gives or denies."""
    found: dict[str, bool] = {}
    for name, (present, absent) in language.attributes.items():
        rest = clause
        if absent is not None:
            rest, denials = absent.subn(" ", clause)
            if denials:
                found[name] = False
        if present is not None and present.search(rest):
            found[name] = True
    return found


def _sizes(language: _Language, clause: str) -> Iterator[float]:
    """Sizes named in a clause, mm: the largest number of each."""
    for match in language["size"].finditer(clause):
        numbers = [float(match[name]) for name in ("a", "b", "c") if match[name]]
        scale = 10.0 if match["unit"].startswith(("c", "厘米", "公分")) else 1.0
        if max(numbers) * scale <= LARGEST_MM:
            yield max(numbers) * scale
