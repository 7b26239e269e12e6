"""Groups of nodules: their sensitivities add up to the whole, and scans are told apart as sklearn says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from imaging.evaluation.breakdown import breakdowns, by_group, pleural_groups, scan_auroc, size_groups, texture_groups
from imaging.evaluation.luna16 import evaluate_marks
from imaging.evaluation.tables import Annotations, Marks


@pytest.fixture
def case():
    rng = np.random.default_rng(4)
    scans = [str(n) for n in range(30)]
    places, diameters = rng.uniform(0, 300, (40, 3)), rng.choice([3.5, 5, 7, 10, 20, 40, -1], 40)
    owners = [scans[rng.integers(20)] for _ in range(40)]
    columns = {
        "texture": tuple(str(t) for t in rng.choice([1, 2, 3, 4.5, 5], 40)),
        "pleural_contact": tuple(rng.choice(["1", "0", "yes", "False", ""], 40)),
    }
    truth = Annotations(tuple(owners), places, diameters, columns)
    hit = rng.random(40) < 0.7
    points = np.concatenate([places[hit], rng.uniform(400, 700, (80, 3))])
    uids = tuple(o for o, h in zip(owners, hit, strict=True) if h) + tuple(scans[rng.integers(30)] for _ in range(80))
    marks = Marks(uids, points, rng.random(len(uids)))
    return evaluate_marks(marks, truth, None, scans), truth


@pytest.mark.parametrize("title", ["size", "texture"])
def test_groups_weighted_by_their_nodules_give_the_whole(case, title):
    result, truth = case
    rows = breakdowns(result, truth)[title]
    assert sum(row.nodules for row in rows) == 40
    assert sum(row.nodules * row.cpm for row in rows) / 40 == pytest.approx(result.cpm)
    assert sum(row.found for row in rows) == result.found.sum()


def test_pleural_contact_is_reported_where_the_column_exists(case):
    result, truth = case
    assert [row.group for row in breakdowns(result, truth)["pleural contact"]] == [
        "on the pleura",
        "away from the pleura",
    ]
    bare = Annotations(truth.seriesuids, truth.points_mm, truth.diameters_mm)
    assert list(breakdowns(result, bare)) == ["size"]


def test_the_bounds_of_size_groups_belong_to_the_larger_group():
    groups = size_groups(np.array([3.99, 4.0, 6.0, 30.0, -1.0]))
    assert {name: mask.tolist().index(True) for name, mask in groups.items() if mask.any()} == {
        "< 4 mm": 0,
        "4 to 6 mm": 1,
        "6 to 8 mm": 2,
        ">= 30 mm": 3,
        "unknown size": 4,
    }


def test_texture_is_read_from_ratings_or_words():
    assert {k: v.tolist() for k, v in texture_groups(("2", "2.5", "4.5", "")).items()} == {
        "ground-glass": [True, False, False, False],
        "part-solid": [False, True, False, False],
        "solid": [False, False, True, False],
    }
    assert {k: v.tolist() for k, v in texture_groups(("Solid", "", "part-solid")).items()} == {
        "part-solid": [False, False, True],
        "solid": [True, False, False],
    }


def test_pleural_words_that_mean_nothing_are_left_out():
    groups = pleural_groups(("1", "0", "maybe"))
    assert [mask.tolist() for mask in groups.values()] == [[True, False, False], [False, True, False]]


def test_empty_groups_are_left_out(case):
    result, _ = case
    assert by_group(result, {"none": np.zeros(40, dtype=bool)}) == ()


def test_scan_auroc_agrees_with_sklearn(case):
    result, _ = case
    highest = np.full(30, -1.0)
    for scan, score in zip(result.mark_scan, result.scores, strict=True):
        highest[scan] = max(highest[scan], score)
    expected = roc_auc_score(result.pool.nodules_per_scan > 0, highest)
    interval = scan_auroc(result, count=200, rng=np.random.default_rng(0))
    assert interval.value == pytest.approx(expected)
    assert interval.low < interval.value < interval.high


def test_scan_auroc_says_nothing_where_all_scans_hold_nodules():
    truth = Annotations(("a",), np.zeros((1, 3)), np.ones(1))
    result = evaluate_marks(Marks((), np.empty((0, 3)), np.empty(0)), truth, None, ["a"])
    assert np.isnan(scan_auroc(result, rng=np.random.default_rng(0)).value)
