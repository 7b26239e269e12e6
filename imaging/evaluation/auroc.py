"""Area under the ROC curve with weights, by ranks; tied scores count one half."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class RankedScores:
    """Scores sorted once, so that the AUROC under many weightings (a bootstrap) is cheap.

    Args:
        labels: (n,) True for what should score high.
        scores: (n,) finite, or -inf for "no mark at all".

    >>> RankedScores([True, True, False], [0.9, 0.4, 0.4]).auroc()
    0.75
    """

    def __init__(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> None:
        values = np.asarray(scores, dtype=np.float64)
        self._order = np.argsort(values, kind="stable")
        self._positive = np.asarray(labels, dtype=bool)[self._order]
        ranked = values[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])[: ranked.size])

    def auroc(self, weights: npt.ArrayLike | None = None) -> float:
        """Chance that a positive scores above a negative, each drawn by `weights` (n,); NaN if either side is empty."""
        if self._order.size == 0:
            return float("nan")
        given = np.ones(self._order.size) if weights is None else np.asarray(weights, dtype=np.float64)
        each = given[self._order]
        positive = np.add.reduceat(np.where(self._positive, each, 0.0), self._starts)
        negative = np.add.reduceat(np.where(self._positive, 0.0, each), self._starts)
        pairs = positive.sum() * negative.sum()
        if pairs <= 0:
            return float("nan")
        below = np.cumsum(negative) - negative
        return float((positive * (below + negative / 2.0)).sum() / pairs)
