"""Which findings of two studies are the same nodule, and how it changed between them.

Doubling time assumes exponential growth between the two dates and two volumes that were both measured; it is never
worked out from diameters. Below 25 % the change of a volume is within what two CTs of an unchanged nodule differ by.

Source: Callister et al. 2015 (BTS guidelines), doi:10.1136/thoraxjnl-2015-207168: 25 % and doubling time;
Schwartz 1961, doi:10.1002/1097-0142(196111/12)14:6<1272::AID-CNCR2820140618>3.0.CO;2-H: the exponential model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import isfinite, log
from typing import Final, Literal

import numpy as np

from imaging.findings import Finding
from imaging.registration.alignment import Alignment

#: Findings farther apart after alignment are two nodules, mm between centres; breath moves lungs about so much.
REACH_MM: Final = 15.0
#: A volume that changes by less has not changed measurably.
SIGNIFICANT: Final = 0.25

Change = Literal["new", "gone", "grown", "shrunk", "unchanged", "not measured"]


@dataclass(frozen=True)
class Growth:
    """One nodule in two studies.

    Args:
        earlier, later: the finding in each study; None where that study has none within reach.
        apart_mm: between the centres after alignment; None without a partner.
        days: from the earlier study to the later; None where a date is missing or both are the same.
    """

    earlier: Finding | None
    later: Finding | None
    apart_mm: float | None = None
    days: int | None = None

    @property
    def volume_change(self) -> float | None:
        """Later volume over earlier volume, less 1; None unless both were measured."""
        before, after = self._volumes()
        return None if before is None or after is None else after / before - 1

    @property
    def diameter_change_mm(self) -> float | None:
        """Later diameter less earlier diameter, mm; None unless both were measured."""
        if self.earlier is None or self.later is None:
            return None
        before, after = self.earlier.diameter_mm, self.later.diameter_mm
        return None if before is None or after is None else after - before

    @property
    def doubling_days(self) -> float | None:
        """Volume doubling time in days, by exponential growth; negative where it shrinks (a halving time).

        None unless both volumes were measured, both dates are known and the change is 25 % or more.
        """
        change = self.volume_change
        if change is None or self.days is None or abs(change) < SIGNIFICANT:
            return None
        days = self.days * log(2) / log(1 + change)
        return days if isfinite(days) else None

    @property
    def change(self) -> Change:
        """In one word."""
        if self.earlier is None or self.later is None:
            return "new" if self.earlier is None else "gone"
        change = self.volume_change
        if change is None:
            return "not measured"
        if abs(change) < SIGNIFICANT:
            return "unchanged"
        return "grown" if change > 0 else "shrunk"

    @property
    def doubts(self) -> tuple[str, ...]:
        """Codes of doubts about either measurement (``measurement.leaked`` ...), each once."""
        notes = [note for finding in (self.earlier, self.later) if finding for note in finding.notes]
        return tuple(dict.fromkeys(notes))

    def _volumes(self) -> tuple[float | None, float | None]:
        volumes = [None if f is None or not f.volume_mm3 else f.volume_mm3 for f in (self.earlier, self.later)]
        return volumes[0], volumes[1]


def match_findings(
    earlier: Sequence[Finding],
    later: Sequence[Finding],
    alignment: Alignment,
    *,
    days: int | None = None,
    reach_mm: float = REACH_MM,
) -> tuple[Growth, ...]:
    """Pair the findings of two studies, each with at most one partner, so that as many as possible have one and the
    distances are least; findings on different sides are never paired.

    Args:
        alignment: takes points of the **later** study to the earlier one.
        days: between the studies.
        reach_mm: how far apart the centres of one nodule may lie after alignment.

    Returns:
        in the order of `later`, then what is gone.
    """
    distance = _distances(earlier, later, alignment)
    partner = _pairs(distance, reach_mm)
    rows = [
        Growth(None, finding)
        if at not in partner
        else Growth(earlier[partner[at]], finding, float(distance[at, partner[at]]), days)
        for at, finding in enumerate(later)
    ]
    taken = set(partner.values())
    return tuple(rows + [Growth(finding, None) for at, finding in enumerate(earlier) if at not in taken])


def _distances(
    earlier: Sequence[Finding], later: Sequence[Finding], alignment: Alignment
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(later, earlier) mm between centres in the earlier study; infinite across sides."""
    there = alignment.there(np.array([f.centre_mm for f in later]).reshape(-1, 3))
    before = np.array([f.centre_mm for f in earlier]).reshape(-1, 3)
    distance = np.linalg.norm(there[:, None] - before[None], axis=-1)
    for row, after in enumerate(later):
        for column, old in enumerate(earlier):
            if after.side and old.side and after.side != old.side:
                distance[row, column] = np.inf
    return distance


def _pairs(distance: np.ndarray[tuple[int, int], np.dtype[np.float64]], reach_mm: float) -> dict[int, int]:
    from scipy.optimize import linear_sum_assignment

    # A pair that is too far apart costs more than all near ones together, so it never displaces one.
    far = reach_mm * (1 + min(distance.shape)) if distance.size else 0.0
    rows, columns = linear_sum_assignment(np.where(distance <= reach_mm, distance, far))
    return {int(r): int(c) for r, c in zip(rows, columns, strict=True) if distance[r, c] <= reach_mm}


def days_between(earlier: str | None, later: str | None) -> int | None:
    """Days from one DICOM date (YYYYMMDD) to another; None where one is missing or unreadable, or both are the same.

    >>> days_between("20260101", "20260331"), days_between("20260101", None)
    (89, None)
    """
    try:
        days = (_date(later) - _date(earlier)).days
    except (TypeError, ValueError):
        return None
    return days or None


def _date(text: str | None) -> date:
    if text is None:
        raise TypeError("no date")
    digits = text.replace("-", "").replace(".", "")
    return date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
