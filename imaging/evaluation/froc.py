"""The FROC curve: sensitivity against false marks a scan, and its mean at seven rates (CPM).

Marks are pooled over scans. Every distinct score is a threshold, so tied scores become one diagonal step; between
points the curve is linear, and beyond its last point it stays where it ended.

Source: https://luna16.grand-challenge.org/Evaluation/ and Setio et al. 2017, doi:10.1016/j.media.2017.06.015.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

#: False marks per scan at which LUNA16 reads the curve.
RATES: tuple[float, ...] = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Curve:
    """A FROC curve.

    Args:
        false_marks_per_scan, sensitivity: the points, from (0, 0) on, both never falling.
        thresholds: the score at and above which marks count at each point; the first is infinite.
    """

    false_marks_per_scan: Floats
    sensitivity: Floats
    thresholds: Floats

    def at(self, rates: npt.ArrayLike) -> Floats:
        """Sensitivity at the given false marks per scan, linear between points and flat beyond the last."""
        return np.interp(np.asarray(rates, dtype=np.float64), self.false_marks_per_scan, self.sensitivity)

    @property
    def cpm(self) -> float:
        """Mean sensitivity at the seven `RATES`."""
        return float(self.at(RATES).mean())

    def corners(self) -> Curve:
        """The same curve without the points inside a level or upright stretch."""
        level, upright = np.diff(self.sensitivity) == 0, np.diff(self.false_marks_per_scan) == 0
        inside = (level[:-1] & level[1:]) | (upright[:-1] & upright[1:])
        kept = np.concatenate([[True], ~inside, [True]]) if self.sensitivity.size > 1 else slice(None)
        return Curve(self.false_marks_per_scan[kept], self.sensitivity[kept], self.thresholds[kept])

    def to_json(self) -> dict[str, Any]:
        """The curve's corners as plain values; the first threshold, infinite, is null."""
        corners = self.corners()
        return {
            "false_marks_per_scan": corners.false_marks_per_scan.tolist(),
            "sensitivity": corners.sensitivity.tolist(),
            "thresholds": [None, *corners.thresholds[1:].tolist()],
        }


@dataclass(frozen=True, eq=False)
class Pool:
    """Detected nodules and false marks of all scans, sorted by falling score, ready to be counted with any weights.

    Args:
        scores: (n,) falling.
        is_nodule: (n,) True for a detected nodule (its best score), False for a false mark.
        scan: (n,) index of the scan.
        nodule: (n,) index of the nodule, -1 for a false mark.
        nodule_scan: (nodules,) index of the scan of each nodule, detected or not.
        scans: how many scans there are.
    """

    scores: Floats
    is_nodule: Bools
    scan: Ints
    nodule: Ints
    nodule_scan: Ints
    scans: int

    @classmethod
    def of(cls, *, best: Floats, nodule_scan: Ints, false_scores: Floats, false_scan: Ints, scans: int) -> Pool:
        """A pool of nodules (`best` is NaN where one was missed) and false marks."""
        found = np.flatnonzero(np.isfinite(best))
        scores = np.concatenate([best[found], false_scores])
        order = np.argsort(-scores, kind="stable")
        return cls(
            scores=scores[order],
            is_nodule=(np.arange(scores.size) < found.size)[order],
            scan=np.concatenate([nodule_scan[found], false_scan]).astype(np.int64)[order],
            nodule=np.concatenate([found, np.full(false_scores.size, -1)]).astype(np.int64)[order],
            nodule_scan=nodule_scan,
            scans=scans,
        )

    @property
    def nodules_per_scan(self) -> Ints:
        """(scans,) number of nodules, detected or not."""
        return np.bincount(self.nodule_scan, minlength=self.scans).astype(np.int64)

    @property
    def ends(self) -> Ints:
        """Index of the last mark of each group of equal scores."""
        if self.scores.size == 0:
            return np.empty(0, dtype=np.int64)
        return np.append(np.flatnonzero(np.diff(self.scores)), self.scores.size - 1).astype(np.int64)

    def curve(
        self,
        *,
        scan_weights: npt.NDArray[Any] | None = None,
        nodule_subset: Bools | None = None,
        ends: Ints | None = None,
    ) -> Curve:
        """The curve with each scan counted `scan_weights` times, over all nodules or a subset of them.

        The false marks are those of all scans in either case, so that subsets can be compared at one rate.
        Where there is no nodule the sensitivity is NaN.
        """
        ends = self.ends if ends is None else ends
        weights = np.ones(self.scans) if scan_weights is None else scan_weights.astype(np.float64)
        subset = np.ones(self.nodule_scan.size, dtype=bool) if nodule_subset is None else nodule_subset
        each = weights[self.scan]
        counted = self.is_nodule & subset[self.nodule]
        total = float(weights[self.nodule_scan[subset]].sum())
        false_marks = np.cumsum(np.where(self.is_nodule, 0.0, each))[ends]
        hits = np.cumsum(np.where(counted, each, 0.0))[ends]
        sensitivity = hits / total if total else np.full(hits.shape, np.nan)
        start = 0.0 if total else np.nan
        return Curve(
            false_marks_per_scan=np.concatenate([[0.0], false_marks / weights.sum()]),
            sensitivity=np.concatenate([[start], sensitivity]),
            thresholds=np.concatenate([[np.inf], self.scores[ends]]),
        )

    def tie_bounds(self) -> tuple[float, float]:
        """CPM if within each group of equal scores all false marks came first, and if all nodules came first."""

        def ranked_cpm(nodules_first: bool) -> float:
            order = np.lexsort((self.is_nodule != nodules_first, -self.scores))
            pool = replace(
                self,
                scores=self.scores[order],
                is_nodule=self.is_nodule[order],
                scan=self.scan[order],
                nodule=self.nodule[order],
            )
            return pool.curve(ends=np.arange(self.scores.size, dtype=np.int64)).cpm

        return ranked_cpm(False), ranked_cpm(True)
