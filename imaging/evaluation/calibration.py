"""Does a score of 0.7 mean seven in ten? Reliability in bins, expected calibration error, Brier score, and a fit.

Whatever is counted (windows, marks) is what a calibrated score speaks of; it is never a patient's probability.

Source: Guo et al. 2017, arXiv 1706.04599; Platt 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ReliabilityBin:
    """Scores in [low, high): how much weight they have, their mean, and the share that was right."""

    low: float
    high: float
    weight: float
    mean_score: float
    share_right: float


@dataclass(frozen=True)
class Calibration:
    """How scores and outcomes agree: `error` is the expected calibration error, `brier` the mean squared error."""

    error: float
    brier: float
    bins: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        """The figures and the bins as plain values."""
        return {
            "expected_calibration_error": self.error,
            "brier": self.brier,
            "bins": [vars(each) for each in self.bins],
        }


def measure_calibration(
    scores: npt.ArrayLike, right: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, bins: int = 10
) -> Calibration:
    """Reliability of scores in [0, 1] in bins of equal width.

    Args:
        scores: (n,) in [0, 1].
        right: (n,) True where what is scored turned out to be a nodule.
        weights: (n,) votes, by default one each.

    Raises:
        ValueError: without scores, or with one outside [0, 1].
    """
    given = np.asarray(scores, dtype=np.float64)
    outcome = np.asarray(right, dtype=np.float64)
    each = np.ones(given.size) if weights is None else np.asarray(weights, dtype=np.float64)
    if given.size == 0 or given.min() < 0.0 or given.max() > 1.0:
        raise ValueError("calibration needs scores in [0, 1]")
    at = np.minimum((given * bins).astype(int), bins - 1)
    weight, score_sum, right_sum = (np.bincount(at, w, minlength=bins) for w in (each, each * given, each * outcome))
    rows = tuple(
        ReliabilityBin(n / bins, (n + 1) / bins, float(weight[n]), score_sum[n] / weight[n], right_sum[n] / weight[n])
        for n in range(bins)
        if weight[n] > 0
    )
    error = sum(row.weight * abs(row.mean_score - row.share_right) for row in rows) / float(each.sum())
    return Calibration(float(error), float((each * (given - outcome) ** 2).sum() / each.sum()), rows)


def fit_platt(
    logits: npt.ArrayLike, right: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, steps: int = 100
) -> tuple[float, float]:
    """Slope and offset for which ``1 / (1 + exp(-(slope * logit + offset)))`` is best calibrated (maximum likelihood).

    Newton steps with a small ridge on the slope, so that separable data end at a finite answer. Positive targets are
    drawn in as Platt does, which keeps scores off 0 and 1.
    """
    x = np.asarray(logits, dtype=np.float64)
    y = np.asarray(right, dtype=bool)
    each = np.ones(x.size) if weights is None else np.asarray(weights, dtype=np.float64)
    positives, negatives = each[y].sum(), each[~y].sum()
    target = np.where(y, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    design = np.column_stack([x, np.ones_like(x)])
    answer = np.array([1.0, 0.0])
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(design @ answer, -500, 500)))
        gradient = design.T @ (each * (p - target)) + np.array([1e-6, 0.0]) * answer
        curvature = design.T @ (design * (each * np.maximum(p * (1 - p), 1e-9))[:, None]) + 1e-6 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        answer = answer - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            break
    return float(answer[0]), float(answer[1])
