"""Intervals by resampling whole units (scans, patients) with replacement: what is correlated stays together.

The bounds are order statistics of the resampled values, as LUNA16 takes them: of 1000 sorted values the 25th and the
975th, counted from 0.

Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap; https://luna16.grand-challenge.org/Evaluation/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.evaluation.auroc import RankedScores
from imaging.evaluation.froc import RATES, Pool

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

#: Rates at which the band around a curve is drawn.
BAND_RATES: Floats = np.geomspace(0.125, 8.0, 121)


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its interval; NaN bounds where no resample had a value."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self:.3f}"

    def __format__(self, digits: str) -> str:
        """``value [low, high]``, each formatted by `digits` (``.3f``)."""
        value, low, high = (format(each, digits or ".3f") for each in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"

    def to_json(self) -> dict[str, float | None]:
        """The interval as plain values, null for NaN."""
        values = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if np.isnan(v) else float(v) for name, v in values.items()}


def resamples(units: int, count: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """`count` times, how often each of `units` was drawn; each (units,), summing to `units`."""
    for _ in range(count):
        yield np.bincount(rng.integers(0, units, units), minlength=units)


def bounds(values: npt.ArrayLike, *, confidence: float = 0.95) -> tuple[Any, Any]:
    """Lower and upper order statistics over the first axis, column by column; NaN (empty resamples) is left out."""
    table = np.sort(np.asarray(values, dtype=np.float64), axis=0)  # NaN sorts last
    known = np.isfinite(table).sum(axis=0)
    tail = (1.0 - confidence) / 2.0
    low = np.minimum(np.floor(tail * known + 1e-9), np.maximum(known - 1, 0)).astype(int)
    high = np.minimum(np.floor((1.0 - tail) * known + 1e-9), np.maximum(known - 1, 0)).astype(int)
    if table.ndim == 1:
        return float(table[low]), float(table[high])
    columns = np.arange(table.shape[1])
    return table[low, columns], table[high, columns]


@dataclass(frozen=True, eq=False)
class FrocIntervals:
    """CPM, the sensitivity at each of `RATES`, and a band at `BAND_RATES`, with bounds over resampled scans."""

    cpm: Interval
    sensitivity: tuple[Interval, ...]
    band_low: Floats
    band_high: Floats
    resamples: int

    def to_json(self) -> dict[str, Any]:
        """The intervals as plain values."""
        return {
            "cpm": self.cpm.to_json(),
            "sensitivity_at": {str(r): i.to_json() for r, i in zip(RATES, self.sensitivity, strict=True)},
            "resamples": self.resamples,
            "unit": "scan",
        }


def froc_intervals(
    pool: Pool, *, count: int = 1000, rng: np.random.Generator, on_progress: Progress | None = None
) -> FrocIntervals:
    """Bootstrap a FROC curve over scans.

    A resample without any nodule has no sensitivity and is left out. The bounds of CPM are those of the resampled CPMs,
    not the mean of the bounds at the seven rates.
    """
    ends = pool.ends
    at_rates, band = np.empty((count, len(RATES))), np.empty((count, BAND_RATES.size))
    for n, weights in enumerate(resamples(pool.nodules_per_scan.size, count, rng)):
        curve = pool.curve(scan_weights=weights, ends=ends)
        at_rates[n], band[n] = curve.at(RATES), curve.at(BAND_RATES)
        if on_progress:
            on_progress(n + 1, count)
    curve = pool.curve()
    low, high = bounds(at_rates)
    values = curve.at(RATES)
    band_low, band_high = bounds(band)
    return FrocIntervals(
        cpm=Interval(curve.cpm, *bounds(at_rates.mean(axis=1))),
        sensitivity=tuple(Interval(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)),
        band_low=band_low,
        band_high=band_high,
        resamples=count,
    )


def unit_index(units: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], int]:
    """Number each distinct unit (a patient, a scan): the index of each row's unit, and how many there are."""
    names, index = np.unique(np.asarray(units), return_inverse=True)
    return index.astype(np.int64), int(names.size)


def mean_interval(
    values: npt.ArrayLike,
    units: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    count: int = 1000,
    rng: np.random.Generator,
) -> Interval:
    """Weighted mean of `values` (n,) with an interval over resampled `units` (n,)."""
    data = np.asarray(values, dtype=np.float64)
    index, n_units = unit_index(units)
    each = _each(weights, data.size)
    sums = np.bincount(index, each * data, minlength=n_units)
    totals = np.bincount(index, each, minlength=n_units)
    return _interval(lambda w: _ratio(float(w @ sums), float(w @ totals)), n_units, count, rng)


def median_interval(
    values: npt.ArrayLike,
    units: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    count: int = 1000,
    rng: np.random.Generator,
) -> Interval:
    """Weighted median of `values` (n,) with an interval over resampled `units` (n,)."""
    data = np.asarray(values, dtype=np.float64)
    order = np.argsort(data, kind="stable")
    index, n_units = unit_index(units)
    each = _each(weights, data.size)
    ranked, rank_unit, rank_weight = data[order], index[order], each[order]

    def median(drawn: npt.NDArray[Any]) -> float:
        cumulated = np.cumsum(rank_weight * drawn[rank_unit])
        if ranked.size == 0 or cumulated[-1] == 0:
            return float("nan")
        half, rounding = cumulated[-1] / 2.0, 1e-9 * cumulated[-1]
        at = int(np.searchsorted(cumulated, half - rounding))
        after = int(np.searchsorted(cumulated, half + rounding, side="right"))
        return float((ranked[at] + ranked[min(after, ranked.size - 1)]) / 2.0)

    return _interval(median, n_units, count, rng)


def auroc_interval(
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    units: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    count: int = 1000,
    rng: np.random.Generator,
) -> Interval:
    """AUROC with an interval over resampled `units`; `weights` (n,) let several windows of a nodule share one vote."""
    ranked = RankedScores(labels, scores)
    index, n_units = unit_index(units)
    each = _each(weights, index.size)
    return _interval(lambda w: ranked.auroc(each * w[index]), n_units, count, rng)


def _each(weights: npt.ArrayLike | None, n: int) -> Floats:
    """How much each row counts."""
    return np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)


def _interval(of: Callable[[npt.NDArray[Any]], float], n_units: int, count: int, rng: np.random.Generator) -> Interval:
    """What `of` says with each unit counted once, and its bounds over resampled units."""
    values = [of(drawn) for drawn in resamples(n_units, count, rng)] if n_units else []
    return Interval(of(np.ones(n_units)), *_bounds_or_nan(values))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _bounds_or_nan(values: list[float]) -> tuple[float, float]:
    if not values or not np.isfinite(values).any():
        return float("nan"), float("nan")
    low, high = bounds(values)
    return float(low), float(high)
