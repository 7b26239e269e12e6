"""Which of several series is analysed: a stated rule within one study of one patient, with a reason for every loser.

The rule looks at headers only; `pipelines.chosen_series` then confirms it on the images (a series without lungs loses).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from imaging.errors import CODES, InputError, UsageError
from imaging.findings import RejectedSeries
from imaging.preprocessing.scan_quality import SHARP_NAMES

if TYPE_CHECKING:
    from imaging.io import SeriesInfo


#: The rule in words; `report.json` and docs/cli.md carry it.
RULE: Final = (
    "within the newest study of one patient: series that can hold whole lungs before shorter ones, thin before thick, "
    "standard kernels before sharp ones, then more slices; a series without lungs loses to one with them"
)

#: An adult's lungs are about 200 to 300 mm high; series at least this long are alike in coverage.
WHOLE_LUNGS_MM: Final = 200.0


@dataclass(frozen=True)
class Choice:
    """What may be analysed, best first, and what may not.

    Args:
        ranked: usable series of one study of one patient, best first; never empty.
        rejected: every other series, with its reason.
        sentence: how the first one was chosen, for the report.
    """

    ranked: tuple[SeriesInfo, ...]
    rejected: tuple[RejectedSeries, ...]
    sentence: str


@dataclass(frozen=True)
class _Criterion:
    """One comparison of the rule: the smaller value wins; `reason` says why the other lost."""

    code: str
    value: Callable[[SeriesInfo], float]
    reason: Callable[[SeriesInfo, SeriesInfo], str]


def slab_mm(info: SeriesInfo) -> float:
    """How thick a slab of body one image stands for: the larger of slice thickness and slice spacing."""
    known = [v for v in (info.slice_thickness_mm, info.slice_spacing_mm) if v]
    return round(max(known), 1) if known else float("inf")


def is_sharp(kernel: str | None) -> bool:
    """Whether a convolution kernel's name is one that enhances edges; an unknown name is not."""
    return any(SHARP_NAMES.match(part) for part in re.split(r"[\\,\[\]'\s]+", kernel or ""))


def _missing_mm(info: SeriesInfo) -> float:
    return round(max(0.0, WHOLE_LUNGS_MM - (info.extent_mm or 0.0)), -1)


_CRITERIA: Final = (
    _Criterion(
        "choice.shorter",
        _missing_mm,
        lambda lost, won: f"covers {_mm(lost.extent_mm)} along its slices, the chosen series {_mm(won.extent_mm)}",
    ),
    _Criterion(
        "choice.thicker", slab_mm, lambda lost, won: f"slices of {_mm(slab_mm(lost))} against {_mm(slab_mm(won))}"
    ),
    _Criterion(
        "choice.sharper",
        lambda info: float(is_sharp(info.convolution_kernel)),
        lambda lost, won: f"edge-enhancing kernel {lost.convolution_kernel!r} against {won.convolution_kernel!r}",
    ),
    _Criterion(
        "choice.fewer",
        lambda info: -info.instances,
        lambda lost, won: f"{lost.instances} slices against {won.instances}",
    ),
)


def choose_series(
    infos: Sequence[SeriesInfo], *, series: str | None = None, study: str | None = None, where: str | Path | None = None
) -> Choice:
    """Rank the usable series by `RULE`, or take the one that is named.

    Args:
        infos: what `imaging.list_series` found.
        series: a series UID, or ``uid#group`` where one UID holds several volumes; then nothing is chosen.
        study: look only at this study.

    Raises:
        InputError: ``series.none_usable`` where nothing can be analysed; ``series.several_patients`` where the usable
            series belong to more than one patient, who are never chosen among.
        UsageError: ``series.unknown`` if `series` or `study` names nothing usable.
    """
    pool = [info for info in infos if study is None or info.study_instance_uid == study]
    if study is not None and not pool:
        raise UsageError("series.unknown", f"no series of study {study}", where=where)
    if series is not None:
        return _named(pool, series, where)
    usable = [info for info in pool if info.usable]
    if not usable:
        raise _none_usable(pool, where)
    people = {_person(info) for info in usable}
    if len(people) > 1:
        unnamed = sum(not info.patient_key for info in usable)
        doubt = f"; {unnamed} of them do not say whose they are" if unnamed else ""
        raise InputError(
            "series.several_patients", f"{len(usable)} series of {len(people)} patients{doubt}", where=where
        )
    return _ranked(pool, usable)


def rejected(info: SeriesInfo, code: str, reason: str) -> RejectedSeries:
    """The row of the report for a series that was not analysed."""
    return RejectedSeries(info.name, info.description or "", code, reason)


def _ranked(pool: Sequence[SeriesInfo], usable: Sequence[SeriesInfo]) -> Choice:
    newest = max(info.study_date or "" for info in usable)
    current = [info for info in usable if (info.study_date or "") == newest]
    ranked = sorted(current, key=lambda info: ([c.value(info) for c in _CRITERIA], info.seriesuid, info.group))
    winner = ranked[0]
    losers = [rejected(info, *_why_lost(info, winner)) for info in ranked[1:]]
    losers += [
        rejected(info, "choice.older_study", f"of {info.study_date or 'no date'}; the chosen study is of {newest}")
        for info in usable
        if info not in current
    ]
    losers += [_unusable(info) for info in pool if not info.usable]
    if len(usable) == 1:
        sentence = "the only usable series" if len(pool) > 1 else "the only series"
    else:
        sentence = f"chosen among {len(usable)} usable series by the rule: {RULE}"
    return Choice(tuple(ranked), tuple(losers), sentence)


def _person(info: SeriesInfo) -> str:
    """Whose series it is; one study is one person's, and a file that says nothing is nobody's but its own."""
    return info.patient_key or info.study_instance_uid or info.name


def _named(pool: Sequence[SeriesInfo], series: str, where: str | Path | None) -> Choice:
    uid, _, group = series.partition("#")
    named = [info for info in pool if info.seriesuid == uid and group in ("", info.group)]
    if not named:
        raise UsageError("series.unknown", f"no series {series}", where=where)
    if not any(info.usable for info in named):
        first = named[0]
        raise InputError("series.none_usable", f"series {first.name} is not usable: {first.reason}", where=where)
    usable = [info for info in named if info.usable]
    if len(usable) > 1:
        names = ", ".join(info.name for info in usable)
        raise UsageError("series.unknown", f"{series} holds several volumes: {names}", where=where)
    others = [info for info in pool if info is not usable[0]]
    reason = "another series was asked for"
    losers = [rejected(i, "choice.not_asked", reason) if i.usable else _unusable(i) for i in others]
    return Choice((usable[0],), tuple(losers), "asked for by name")


def _unusable(info: SeriesInfo) -> RejectedSeries:
    return rejected(info, info.code or "", info.reason or "")


def _why_lost(lost: SeriesInfo, won: SeriesInfo) -> tuple[str, str]:
    for criterion in _CRITERIA:
        if criterion.value(lost) != criterion.value(won):
            return criterion.code, criterion.reason(lost, won)
    return "choice.tie", "alike in everything the rule looks at; the first by UID was taken"


def _none_usable(pool: Sequence[SeriesInfo], where: str | Path | None) -> InputError:
    """The refusal: that of the only CT if there is one, else the reasons of all."""
    scans = [info for info in pool if info.modality == "CT"] or list(pool)
    if len(scans) == 1 and (code := scans[0].code) is not None and code in CODES:
        return InputError(code, scans[0].reason or "", where=where)
    reasons = [f"{info.modality or info.format} {info.name}: {info.code}, {info.reason}" for info in pool]
    more = f"; and {len(reasons) - 5} more" if len(reasons) > 5 else ""
    return InputError(
        "series.none_usable", "; ".join(reasons[:5]) + more if reasons else "no series in it", where=where
    )


def _mm(value: float | None) -> str:
    return "an unknown length" if value is None or value == float("inf") else f"{value:g} mm"
