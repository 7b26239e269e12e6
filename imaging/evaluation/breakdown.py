"""Sensitivity by kind of nodule, and whether a scan's strongest mark tells scans with nodules from those without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from imaging.evaluation.auroc import RankedScores
from imaging.evaluation.bootstrap import Interval, bounds, resamples
from imaging.evaluation.froc import RATES, Bools, Floats
from imaging.evaluation.luna16 import DROPPED, FrocResult
from imaging.evaluation.tables import Annotations

#: Bounds of the size groups in mm, lower included, upper not.
SIZES_MM: tuple[float, ...] = (0.0, 4.0, 6.0, 8.0, 15.0, 30.0, np.inf)
#: The readers' rating of texture, 1 to 5: at most 2 is ground-glass, at least 4.5 solid.
GROUND_GLASS_AT_MOST, SOLID_AT_LEAST = 2.0, 4.5
#: Column names under which a table of annotations may hold texture and pleural contact.
TEXTURE_COLUMNS = ("texture",)
PLEURAL_COLUMNS = ("pleural_contact", "pleural", "juxtapleural")


@dataclass(frozen=True)
class GroupSensitivity:
    """One group of nodules: how many, and the sensitivity at each of `RATES` (false marks of all scans)."""

    group: str
    nodules: int
    found: int
    sensitivity: tuple[float, ...]
    cpm: float

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        at = {str(rate): s for rate, s in zip(RATES, self.sensitivity, strict=True)}
        return {
            "group": self.group,
            "nodules": self.nodules,
            "found": self.found,
            "cpm": self.cpm,
            "sensitivity_at": at,
        }


def by_group(result: FrocResult, groups: Mapping[str, Bools]) -> tuple[GroupSensitivity, ...]:
    """One row a group; `groups` maps a name to a mask over the nodules of `result`. Empty groups are left out."""
    rows = []
    for name, members in groups.items():
        if members.any():
            curve = result.pool.curve(nodule_subset=members)
            sensitivity = tuple(float(s) for s in curve.at(RATES))
            rows.append(
                GroupSensitivity(name, int(members.sum()), int(result.found[members].sum()), sensitivity, curve.cpm)
            )
    return tuple(rows)


def size_groups(diameters_mm: Floats) -> dict[str, Bools]:
    """Masks of the `SIZES_MM` groups, and of nodules without a diameter."""
    groups = {}
    for low, high in pairwise(SIZES_MM):
        name = f"< {high:g} mm" if low == 0 else f">= {low:g} mm" if np.isinf(high) else f"{low:g} to {high:g} mm"
        groups[name] = (diameters_mm >= low) & (diameters_mm < high)
    return groups | {"unknown size": diameters_mm < 0}


def texture_groups(values: tuple[str, ...]) -> dict[str, Bools]:
    """Masks by texture, from ratings (1 to 5) or from words that are taken as they are; blanks are left out."""
    ratings = np.array([_number(value) for value in values])
    if not np.isfinite(ratings).any():
        words = np.array([value.strip().lower() for value in values])
        return {str(word): words == word for word in sorted(set(words)) if word}
    return {
        "ground-glass": ratings <= GROUND_GLASS_AT_MOST,
        "part-solid": (ratings > GROUND_GLASS_AT_MOST) & (ratings < SOLID_AT_LEAST),
        "solid": ratings >= SOLID_AT_LEAST,
    }


def pleural_groups(values: tuple[str, ...]) -> dict[str, Bools]:
    """Masks by contact with the pleura, from 1/0, true/false or yes/no; anything else is left out."""
    words = np.array([value.strip().lower() for value in values])
    touching = np.isin(words, ("1", "1.0", "true", "yes"))
    free = np.isin(words, ("0", "0.0", "false", "no"))
    return {"on the pleura": touching, "away from the pleura": free}


def breakdowns(result: FrocResult, truth: Annotations) -> dict[str, tuple[GroupSensitivity, ...]]:
    """Sensitivity by size, and by texture and pleural contact where `truth` has such columns."""
    tables = {"size": by_group(result, size_groups(truth.diameters_mm[result.nodule_row]))}
    for title, names, grouping in (
        ("texture", TEXTURE_COLUMNS, texture_groups),
        ("pleural contact", PLEURAL_COLUMNS, pleural_groups),
    ):
        column = next((truth.columns[name] for name in names if name in truth.columns), None)
        if column is not None:
            rows = by_group(result, grouping(tuple(column[row] for row in result.nodule_row)))
            if rows:
                tables[title] = rows
    return tables


def scan_auroc(result: FrocResult, *, count: int = 1000, rng: np.random.Generator) -> Interval:
    """AUROC of each scan's highest kept score against "holds a nodule", with an interval over scans.

    A scan without a mark scores below all others. NaN where all scans hold nodules, or none does.
    """
    highest = np.full(len(result.seriesuids), -np.inf)
    kept = result.verdicts != DROPPED
    np.maximum.at(highest, result.mark_scan[kept], result.scores[kept])
    ranked = RankedScores(result.pool.nodules_per_scan > 0, highest)
    value = ranked.auroc()
    if np.isnan(value):
        return Interval(value, value, value)
    return Interval(value, *bounds([ranked.auroc(w) for w in resamples(highest.size, count, rng)]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
