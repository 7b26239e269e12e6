"""Calibration: cases that can be worked out by hand, and a fit against sklearn's logistic regression."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss

from imaging.evaluation.calibration import fit_platt, measure_calibration


def test_a_case_worked_out_by_hand():
    found = measure_calibration([0.1, 0.1, 0.9, 0.9], [False, True, True, True], bins=10)
    assert found.error == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    assert [(row.low, row.weight, row.share_right) for row in found.bins] == [(0.1, 2, 0.5), (0.9, 2, 1.0)]


def test_scores_that_mean_what_they_say_have_a_small_error():
    rng = np.random.default_rng(0)
    scores = rng.random(40_000)
    right = rng.random(40_000) < scores
    found = measure_calibration(scores, right)
    assert found.error < 0.01
    assert found.brier == pytest.approx(brier_score_loss(right, scores))


def test_weights_count_as_copies():
    copied = measure_calibration([0.2, 0.2, 0.8], [False, False, True])
    weighted = measure_calibration([0.2, 0.8], [False, True], weights=[2, 1])
    assert weighted.to_json() == copied.to_json()


def test_a_score_of_one_falls_into_the_last_bin():
    assert measure_calibration([1.0], [True]).bins[0].high == 1.0


@pytest.mark.parametrize("scores", [[], [1.2], [-0.1]])
def test_scores_outside_the_unit_interval_are_refused(scores):
    with pytest.raises(ValueError, match="scores in"):
        measure_calibration(scores, [True] * len(scores))


def test_platt_fit_finds_the_slope_and_offset_that_made_the_data():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=20_000) * 3
    right = rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * logits - 1.0)))
    slope, offset = fit_platt(logits, right)
    model = LogisticRegression(C=1e9).fit(logits[:, None], right)
    assert slope == pytest.approx(model.coef_[0, 0], rel=0.01)
    assert offset == pytest.approx(model.intercept_[0], abs=0.01)


def test_platt_fit_of_separable_logits_is_finite():
    slope, offset = fit_platt([-50.0, -49.0, 49.0, 50.0], [False, False, True, True])
    assert np.isfinite([slope, offset]).all()
    assert slope > 0
