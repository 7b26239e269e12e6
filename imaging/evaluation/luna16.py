"""The LUNA16 protocol, exactly: which mark hits which nodule, what is ignored, and what is false.

1. In each scan only the 100 most suspicious marks are kept: those scoring strictly more than the 101st, so that ties at
   the cut are all dropped (a scan of more than 100 marks with one score loses them all).
2. A mark hits a nodule if its squared distance to the centre is strictly less than the squared radius. A negative
   diameter stands for 10 mm.
3. Nodules come first: a mark on a nodule is never false. A nodule's score is the highest of the marks on it, further
   marks on it are ignored, and one mark may hit two nodules.
4. Then come excluded findings: a mark on one, and on no nodule, is ignored. (Every LUNA16 nodule has an excluded
   finding inside its radius, so the other order would leave nothing.)
5. A missed nodule lowers the sensitivity at every rate. False marks are divided by the number of listed scans, those
   without marks included.

UIDs are compared as exact strings (a file's without the blanks around them); marks and annotations of scans that are
not listed do not count.

Source: https://luna16.grand-challenge.org/Evaluation/ and Setio et al. 2017, doi:10.1016/j.media.2017.06.015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.evaluation.doubts import doubts_about
from imaging.evaluation.froc import RATES, Bools, Curve, Floats, Ints, Pool
from imaging.evaluation.tables import Annotations, Marks, check_seriesuids

#: Most marks of one scan that count.
MAX_MARKS_PER_SCAN: Final = 100
#: Diameter that stands in for a negative one.
UNKNOWN_DIAMETER_MM: Final = 10.0

#: What became of a mark.
DROPPED, FALSE, ON_NODULE, IGNORED = -1, 0, 1, 2
Verdicts = npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class FrocResult:
    """What the protocol makes of a set of marks.

    Args:
        seriesuids: the scans, in the order of `Pool.scan`.
        nodule_scan: (nodules,) index of each nodule's scan; nodules are those on listed scans, in file order.
        nodule_row: (nodules,) their rows in the table of annotations.
        best: (nodules,) highest score of a mark on each nodule, NaN where it was missed.
        mark_scan: (marks,) index of each mark's scan, -1 if it is not listed.
        verdicts: (marks,) `DROPPED` (unlisted or over the cap), `FALSE`, `ON_NODULE` or `IGNORED`.
        scores: (marks,) as given.
        pool: the marks that make the curve.
        curve: the FROC curve.
        doubles: marks on a nodule beyond its best.
        notices: what a reader of the number should know.
    """

    seriesuids: tuple[str, ...]
    nodule_scan: Ints
    nodule_row: Ints
    best: Floats
    mark_scan: Ints
    verdicts: Verdicts
    scores: Floats
    pool: Pool
    curve: Curve
    doubles: int
    notices: tuple[Notice, ...] = ()

    @property
    def cpm(self) -> float:
        """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false marks per scan."""
        return self.curve.cpm

    @property
    def found(self) -> Bools:
        """(nodules,) whether any kept mark lies on the nodule."""
        return np.isfinite(self.best)

    def to_json(self) -> dict[str, Any]:
        """Counts, sensitivities and the curve as plain values."""
        return {
            "cpm": self.cpm,
            "sensitivity_at": {str(rate): float(s) for rate, s in zip(RATES, self.curve.at(RATES), strict=True)},
            "max_sensitivity": float(self.found.mean()),
            "scans": len(self.seriesuids),
            "scans_with_nodules": int((self.pool.nodules_per_scan > 0).sum()),
            "scans_with_marks": int(np.unique(self.mark_scan[self.mark_scan >= 0]).size),
            "nodules": int(self.best.size),
            "nodules_found": int(self.found.sum()),
            "marks": {
                "given": int(self.verdicts.size),
                "dropped": int((self.verdicts == DROPPED).sum()),
                "on_nodules": int((self.verdicts == ON_NODULE).sum()),
                "doubles": self.doubles,
                "ignored": int((self.verdicts == IGNORED).sum()),
                "false": int((self.verdicts == FALSE).sum()),
            },
            "curve": self.curve.to_json(),
        }


def evaluate_marks(
    marks: Marks,
    truth: Annotations,
    excluded: Annotations | None = None,
    seriesuids: Sequence[str] | None = None,
    *,
    max_marks: int | None = MAX_MARKS_PER_SCAN,
) -> FrocResult:
    """Score marks against nodules by the LUNA16 protocol.

    Args:
        excluded: findings on which a mark is neither right nor wrong; None for none.
        seriesuids: every scan that was analysed; by default every scan that is named anywhere (with a notice).
        max_marks: the cap a scan; None for no cap (not LUNA16).

    Raises:
        InputError: ``evaluation.no_nodules`` if no nodule lies in a listed scan; ``evaluation.series_list``.
    """
    ignorable = Annotations.none() if excluded is None else excluded
    named = dict.fromkeys((*truth.seriesuids, *ignorable.seriesuids, *marks.seriesuids))
    scans = check_seriesuids(named if seriesuids is None else seriesuids)
    index = {uid: n for n, uid in enumerate(scans)}
    truth_scan, ignorable_scan, mark_scan = (_scan_of(t.seriesuids, index) for t in (truth, ignorable, marks))
    nodule_row = np.flatnonzero(truth_scan >= 0)
    if nodule_row.size == 0:
        raise InputError(
            "evaluation.no_nodules", f"none of {truth_scan.size} nodules lies in {len(scans)} listed scans"
        )
    kept = (mark_scan >= 0) & _within_cap(marks.scores, mark_scan, max_marks)
    matched = _match(marks, truth, ignorable, truth_scan, ignorable_scan, np.where(kept, mark_scan, -1))
    best = matched.best[nodule_row]
    is_false = matched.verdicts == FALSE
    pool = Pool.of(
        best=best,
        nodule_scan=truth_scan[nodule_row],
        false_scores=marks.scores[is_false],
        false_scan=mark_scan[is_false],
        scans=len(scans),
    )
    result = FrocResult(
        seriesuids=scans,
        nodule_scan=truth_scan[nodule_row],
        nodule_row=nodule_row,
        best=best,
        mark_scan=mark_scan,
        verdicts=matched.verdicts,
        scores=marks.scores,
        pool=pool,
        curve=pool.curve(),
        doubles=matched.doubles,
    )
    notices = doubts_about(
        marks=marks,
        truth=truth,
        pool=pool,
        scans=scans,
        mark_scan=mark_scan,
        truth_scan=truth_scan,
        kept=kept,
        two_nodules=matched.two_nodules,
        max_marks=max_marks,
        scans_given=seriesuids is not None,
        excluded_given=excluded is not None,
    )
    object.__setattr__(result, "notices", notices)
    return result


def _scan_of(seriesuids: Sequence[str], index: dict[str, int]) -> Ints:
    return np.fromiter((index.get(uid, -1) for uid in seriesuids), dtype=np.int64, count=len(seriesuids))


def _within_cap(scores: Floats, scan: Ints, max_marks: int | None) -> Bools:
    """Which marks score strictly more than the first one over the cap of their scan."""
    kept = np.ones(scores.size, dtype=bool)
    if max_marks is None or scores.size <= max_marks:
        return kept
    order = np.lexsort((-scores, scan))
    starts, counts = _groups(scan[order])
    for start, count in zip(starts, counts, strict=True):
        if count > max_marks:
            rows = order[start : start + count]
            kept[rows] = scores[rows] > scores[rows[max_marks]]
    return kept


def _groups(sorted_values: Ints) -> tuple[Ints, Ints]:
    """Start and length of each run of equal values."""
    _, starts, counts = np.unique(sorted_values, return_index=True, return_counts=True)
    return starts.astype(np.int64), counts.astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Matched:
    """Verdict of each mark, best score of each annotation, and the counts beside them."""

    verdicts: Verdicts
    best: Floats
    doubles: int
    two_nodules: int


def _match(
    marks: Marks, truth: Annotations, excluded: Annotations, truth_scan: Ints, excluded_scan: Ints, mark_scan: Ints
) -> _Matched:
    """Match marks to annotations scan by scan; -1 as a scan's index leaves a row out."""
    verdicts = np.where(mark_scan >= 0, FALSE, DROPPED).astype(np.int8)
    best = np.full(truth_scan.size, np.nan)
    doubles = two_nodules = 0
    nodules_of, excluded_of = _rows_by_scan(truth_scan), _rows_by_scan(excluded_scan)
    for scan, rows in _rows_by_scan(mark_scan).items():
        points = marks.points_mm[rows]
        on_excluded = _hits(points, excluded, excluded_of.get(scan)).any(axis=1)
        verdicts[rows[on_excluded]] = IGNORED
        nodules = nodules_of.get(scan)
        hits = _hits(points, truth, nodules)
        verdicts[rows[hits.any(axis=1)]] = ON_NODULE
        if nodules is not None:
            highest = np.where(hits, marks.scores[rows][:, None], -np.inf).max(axis=0)
            best[nodules] = np.where(np.isfinite(highest), highest, np.nan)
            doubles += int(np.maximum(hits.sum(axis=0) - 1, 0).sum())
            two_nodules += int((hits.sum(axis=1) > 1).sum())
    return _Matched(verdicts, best, doubles, two_nodules)


def _rows_by_scan(scan: Ints) -> dict[int, Ints]:
    """Scan index -> its rows, in order; rows of scan -1 are left out."""
    order = np.argsort(scan, kind="stable")
    starts, counts = _groups(scan[order])
    rows = {int(scan[order[s]]): order[s : s + n] for s, n in zip(starts, counts, strict=True)}
    rows.pop(-1, None)
    return rows


def _hits(points_mm: Floats, annotations: Annotations, rows: Ints | None) -> Bools:
    """(points, annotations of `rows`): whether the distance is strictly less than the radius."""
    if rows is None:
        return np.zeros((len(points_mm), 0), dtype=bool)
    diameters = annotations.diameters_mm[rows]
    radii = np.where(diameters < 0.0, UNKNOWN_DIAMETER_MM, diameters) / 2.0
    dx, dy, dz = (points_mm[:, None, axis] - annotations.points_mm[None, rows, axis] for axis in range(3))
    hits: Bools = dx * dx + dy * dy + dz * dz < radii * radii
    return hits
