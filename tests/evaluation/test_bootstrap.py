"""Intervals by resampling: against copies of the data, against sklearn, against the binomial distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from imaging.evaluation.auroc import RankedScores
from imaging.evaluation.bootstrap import (
    Interval,
    auroc_interval,
    bounds,
    froc_intervals,
    mean_interval,
    median_interval,
    resamples,
)
from imaging.evaluation.froc import RATES
from imaging.evaluation.luna16 import evaluate_marks
from imaging.evaluation.tables import Annotations, Marks

SCANS = [str(n) for n in range(12)]


def random_tables(rng: np.random.Generator) -> tuple[list, list]:
    """Marks and nodules in twelve scans; two thirds of the nodules are hit; scores tie now and then."""
    truth = [(SCANS[rng.integers(8)], rng.uniform(0, 300, 3), 6.0) for _ in range(20)]
    marks = [
        (uid, place + rng.uniform(-1, 1, 3), round(rng.random(), 2)) for uid, place, _ in truth if rng.random() < 0.67
    ]
    marks += [(SCANS[rng.integers(12)], rng.uniform(400, 700, 3), round(0.9 * rng.random(), 2)) for _ in range(60)]
    return marks, truth


def tables(marks: list, truth: list) -> tuple[Marks, Annotations]:
    columns = [[row[n] for row in marks] for n in range(3)], [[row[n] for row in truth] for n in range(3)]
    return (
        Marks(tuple(columns[0][0]), np.array(columns[0][1]), np.array(columns[0][2])),
        Annotations(tuple(columns[1][0]), np.array(columns[1][1]), np.array(columns[1][2])),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_weighted_curve_equals_the_protocol_on_copied_scans(seed):
    rng = np.random.default_rng(seed)
    marks, truth = random_tables(rng)
    pool = evaluate_marks(*tables(marks, truth), None, SCANS).pool
    weights = next(resamples(len(SCANS), 1, rng))
    copies = [(uid, f"{uid}/{copy}") for uid, n in zip(SCANS, weights, strict=True) for copy in range(n)]
    copied_marks = [(new, *row[1:]) for old, new in copies for row in marks if row[0] == old]
    copied_truth = [(new, *row[1:]) for old, new in copies for row in truth if row[0] == old]
    slow = evaluate_marks(*tables(copied_marks, copied_truth), None, [new for _, new in copies]).curve
    fast = pool.curve(scan_weights=weights)
    rates = [*RATES, 0.01, 0.4, 3.3]
    np.testing.assert_allclose(fast.at(rates), slow.at(rates), atol=1e-12)


def test_the_froc_interval_holds_the_value_and_repeats_with_the_seed():
    pool = evaluate_marks(*tables(*random_tables(np.random.default_rng(3))), None, SCANS).pool
    steps = []
    first = froc_intervals(pool, count=300, rng=np.random.default_rng(7), on_progress=lambda *s: steps.append(s))
    again = froc_intervals(pool, count=300, rng=np.random.default_rng(7))
    assert first.cpm == again.cpm
    assert first.cpm.low < first.cpm.value < first.cpm.high
    assert all(each.low <= each.value <= each.high for each in first.sensitivity)
    assert (first.band_low <= first.band_high).all()
    assert steps[-1] == (300, 300)


def test_progress_may_cancel():
    pool = evaluate_marks(*tables(*random_tables(np.random.default_rng(3))), None, SCANS).pool

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        froc_intervals(pool, rng=np.random.default_rng(0), on_progress=stop)


def test_the_bounds_of_a_thousand_values_are_the_25th_and_975th_from_0():
    assert bounds(np.arange(1000)[::-1]) == (25.0, 975.0)
    low, high = bounds(np.column_stack([np.arange(1000), np.full(1000, np.nan)]))
    assert (low[0], high[0]) == (25.0, 975.0)
    assert np.isnan(low[1])
    assert np.isnan(high[1])


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 2.0]), st.integers(0, 3)), min_size=2))
def test_auroc_agrees_with_sklearn(rows):
    labels, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    value = RankedScores(labels, scores).auroc(weights)
    if weights[labels].sum() == 0 or weights[~labels].sum() == 0:
        assert np.isnan(value)
    else:
        assert value == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights), abs=1e-9)


def test_auroc_of_nothing_is_not_a_number():
    assert np.isnan(RankedScores([], []).auroc())


def test_a_share_of_independent_units_has_its_binomial_interval():
    rng = np.random.default_rng(0)
    values = np.arange(400) % 4 == 0
    interval = mean_interval(values, np.arange(400), count=4000, rng=rng)
    deviation = np.sqrt(0.25 * 0.75 / 400)
    assert interval.value == 0.25
    assert interval.low == pytest.approx(0.25 - 1.96 * deviation, abs=0.006)
    assert interval.high == pytest.approx(0.25 + 1.96 * deviation, abs=0.006)


def test_copies_inside_a_unit_do_not_narrow_the_interval():
    values, units = np.arange(40) % 2, np.arange(40)
    once = mean_interval(values, units, count=500, rng=np.random.default_rng(1))
    copied = mean_interval(np.repeat(values, 9), np.repeat(units, 9), count=500, rng=np.random.default_rng(1))
    assert (copied.low, copied.high) == (pytest.approx(once.low), pytest.approx(once.high))


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_a_median_is_the_median(n):
    values = np.random.default_rng(n).random(n)
    interval = median_interval(values, np.arange(n), count=50, rng=np.random.default_rng(0))
    assert interval.value == pytest.approx(np.median(values))


def test_weights_of_a_median_count_as_copies():
    weighted = median_interval(
        [5.0, 1.0, 3.0], [0, 1, 2], weights=[0.1, 0.3, 0.1], count=50, rng=np.random.default_rng(0)
    )
    assert weighted.value == np.median([5, 1, 1, 1, 3])


def test_auroc_interval_resamples_units_and_shares_votes():
    rng = np.random.default_rng(5)
    labels = np.repeat([True, False], 60)
    scores = np.where(labels, 1.0, 0.0) + rng.normal(size=120)
    units = np.arange(120) % 20
    interval = auroc_interval(labels, scores, units, count=200, rng=rng)
    assert interval.value == pytest.approx(roc_auc_score(labels, scores))
    assert interval.low < interval.value < interval.high


def test_no_data_gives_not_a_number_and_null_in_json():
    interval = mean_interval([], [], rng=np.random.default_rng(0))
    assert interval.to_json() == {"value": None, "low": None, "high": None}
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"
