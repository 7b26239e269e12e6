"""The LUNA16 protocol: each rule and each quirk of it, and a slow independent twin that must agree."""

from __future__ import annotations

import math
import time
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imaging.errors import InputError
from imaging.evaluation.froc import RATES
from imaging.evaluation.luna16 import DROPPED, FALSE, IGNORED, ON_NODULE, evaluate_marks
from imaging.evaluation.tables import Annotations, Marks

Mark = tuple[str, tuple[float, float, float], float]
Note = tuple[str, tuple[float, float, float], float]


def marks_of(rows: list[Mark]) -> Marks:
    return Marks(
        tuple(r[0] for r in rows), np.array([r[1] for r in rows]).reshape(-1, 3), np.array([r[2] for r in rows])
    )


def notes_of(rows: list[Note]) -> Annotations:
    return Annotations(
        tuple(r[0] for r in rows), np.array([r[1] for r in rows]).reshape(-1, 3), np.array([r[2] for r in rows])
    )


def codes(result) -> set[str]:
    return {notice.code for notice in result.notices}


# --- the slow twin -------------------------------------------------------------------------------------------------


def slow_protocol(marks: list[Mark], truth: list[Note], excluded: list[Note], scans: list[str], cap: int):
    """Mark by mark, as the protocol is worded, with sklearn's ROC curve; (fps, sens), or None without a hit."""
    from sklearn.metrics import roc_curve

    labels, scores, missed = [], [], 0
    for scan in scans:
        here = {n: mark for n, mark in enumerate(marks) if mark[0] == scan}
        if len(here) > cap:
            limit = sorted((mark[2] for mark in here.values()), reverse=True)[cap]
            here = {n: mark for n, mark in here.items() if mark[2] > limit}
        pool = dict(here)
        for kind, notes in (("nodule", truth), ("excluded", excluded)):
            for uid, centre, diameter in notes:
                if uid != scan:
                    continue
                radius = (10.0 if diameter < 0 else diameter) / 2.0
                near = [n for n, mark in here.items() if math.dist(mark[1], centre) ** 2 < radius**2 - 1e-9]
                for n in near:
                    pool.pop(n, None)
                if kind == "nodule":
                    if near:
                        labels.append(1)
                        scores.append(max(here[n][2] for n in near))
                    else:
                        missed += 1
        for mark in pool.values():
            labels.append(0)
            scores.append(mark[2])
    hits = sum(labels)
    if not hits:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sklearn warns where there is no false mark
        fpr, tpr, _ = roc_curve(labels, scores)
    false_marks = len(labels) - hits
    fps = fpr * false_marks / len(scans) if false_marks else np.zeros(len(fpr))
    return fps, tpr * hits / (hits + missed)


coordinates = st.tuples(*[st.sampled_from([0.0, 2.0, 4.0, 5.0, 9.0])] * 2, st.sampled_from([0.0, 3.0]))
uids = st.sampled_from(["a", "b", "c", "elsewhere"])
some_marks = st.lists(
    st.tuples(uids, coordinates, st.sampled_from([0.1, 0.2, 0.5, 0.9]) | st.floats(0.0, 1.0)), max_size=30
)
some_notes = st.lists(st.tuples(uids, coordinates, st.sampled_from([-1.0, 0.0, 4.0, 6.0, 10.0])), max_size=8)


@settings(max_examples=400, deadline=None)
@given(marks=some_marks, truth=some_notes, excluded=some_notes, cap=st.integers(1, 12))
@example(marks=[], truth=[("a", (0.0, 0.0, 0.0), 4.0)], excluded=[], cap=3)
def test_agrees_with_the_slow_twin(marks, truth, excluded, cap):
    scans = ["a", "b", "c"]
    if not any(uid in scans for uid, *_ in truth):
        with pytest.raises(InputError, match=r"evaluation\.no_nodules"):
            evaluate_marks(marks_of(marks), notes_of(truth), notes_of(excluded), scans, max_marks=cap)
        return
    result = evaluate_marks(marks_of(marks), notes_of(truth), notes_of(excluded), scans, max_marks=cap)
    slow = slow_protocol(marks, truth, excluded, scans, cap)
    if slow is None:
        assert result.cpm == 0.0
        return
    rates = [*RATES, 0.01, 1 / 3, 2 / 3, 1.5, 100.0]
    np.testing.assert_allclose(result.curve.at(rates), np.interp(rates, *slow), atol=1e-12)
    np.testing.assert_allclose(result.curve.corners().at(rates), np.interp(rates, *slow), atol=1e-12)
    assert result.curve.false_marks_per_scan[-1] == pytest.approx(slow[0][-1], abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(marks=some_marks, truth=some_notes, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(marks, truth, seed):
    truth = [*truth, ("a", (0.0, 0.0, 0.0), 6.0)]
    rng = np.random.default_rng(seed)
    first = evaluate_marks(marks_of(marks), notes_of(truth), None, ["a", "b", "c"])
    shuffled = [marks[n] for n in rng.permutation(len(marks))]
    notes = [truth[n] for n in rng.permutation(len(truth))]
    second = evaluate_marks(marks_of(shuffled), notes_of(notes), None, ["c", "a", "b"])
    assert second.cpm == pytest.approx(first.cpm, abs=1e-12)


# --- hits ----------------------------------------------------------------------------------------------------------

NODULE: Note = ("a", (0.0, 0.0, 0.0), 6.0)


@pytest.mark.parametrize(("x", "hit"), [(2.999, True), (3.0, False), (3.001, False), (0.0, True)])
def test_a_mark_hits_strictly_inside_the_radius(x, hit):
    result = evaluate_marks(marks_of([("a", (x, 0.0, 0.0), 0.5)]), notes_of([NODULE]), None, ["a"])
    assert result.verdicts.tolist() == [ON_NODULE if hit else FALSE]


@pytest.mark.parametrize(("x", "hit"), [(4.999, True), (5.0, False)])
def test_a_negative_diameter_stands_for_ten_millimetres(x, hit):
    mark, note = ("a", (x, 0.0, 0.0), 0.5), ("a", (0.0, 0.0, 0.0), -1.0)
    result = evaluate_marks(marks_of([mark]), notes_of([note]), None, ["a"])
    assert result.found.tolist() == [hit]
    as_excluded = evaluate_marks(marks_of([mark]), notes_of([("b", (0, 0, 0), 3.0)]), notes_of([note]), ["a", "b"])
    assert as_excluded.verdicts.tolist() == [IGNORED if hit else FALSE]


def test_nodules_come_before_excluded_findings_that_lie_on_them():
    result = evaluate_marks(marks_of([("a", (1, 0, 0), 0.5)]), notes_of([NODULE]), notes_of([NODULE]), ["a"])
    assert result.verdicts.tolist() == [ON_NODULE]
    assert result.cpm == 1.0


def test_a_mark_on_an_excluded_finding_is_neither_right_nor_wrong():
    rows = [("a", (0, 0, 0), 0.5), ("a", (50, 0, 0), 0.9), ("a", (90, 0, 0), 0.7)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE]), notes_of([("a", (50.0, 1.0, 0.0), -1.0)]), ["a"])
    assert result.verdicts.tolist() == [ON_NODULE, IGNORED, FALSE]
    assert result.curve.false_marks_per_scan[-1] == 1.0


def test_further_marks_on_a_nodule_are_ignored_and_its_best_counts():
    rows = [("a", (0, 0, 0), 0.2), ("a", (1, 0, 0), 0.8), ("a", (0, 1, 0), 0.5), ("a", (40, 0, 0), 0.6)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE]), None, ["a"])
    assert (result.best.tolist(), result.doubles) == ([0.8], 2)
    assert result.curve.at(0.125) == 1.0  # the best, 0.8, comes before the false mark at 0.6


def test_one_mark_may_hit_two_nodules():
    truth = notes_of([NODULE, ("a", (2.0, 0.0, 0.0), 6.0)])
    result = evaluate_marks(marks_of([("a", (1, 0, 0), 0.5)]), truth, None, ["a"])
    assert result.found.all()
    assert "evaluation.two_nodules" in codes(result)


# --- the axis of false marks ---------------------------------------------------------------------------------------


def test_false_marks_are_divided_by_listed_scans_without_marks_too():
    rows = [("a", (0, 0, 0), 0.5), ("a", (40, 0, 0), 0.9)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE]), None, ["a", "b", "c", "d"])
    assert result.curve.false_marks_per_scan.tolist() == [0.0, 0.25, 0.25]
    assert "evaluation.scans_without_marks" in codes(result)


def test_marks_and_nodules_of_unlisted_scans_do_not_count():
    rows = [("a", (0, 0, 0), 0.5), ("z", (0, 0, 0), 0.9), (" a", (0, 0, 0), 0.9)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE, ("z", (0.0, 0.0, 0.0), 6.0)]), None, ["a"])
    assert result.verdicts.tolist() == [ON_NODULE, DROPPED, DROPPED]
    assert result.best.tolist() == [0.5]
    assert {"evaluation.unlisted_marks", "evaluation.unlisted_nodules"} <= codes(result)
    assert any("but for blanks" in notice.message for notice in result.notices)


def test_without_a_list_the_scans_named_anywhere_are_taken():
    result = evaluate_marks(
        marks_of([("a", (0, 0, 0), 0.5)]),
        notes_of([NODULE, ("b", (0.0, 0.0, 0.0), 6.0)]),
        notes_of([("c", (0, 0, 0), 1)]),
    )
    assert sorted(result.seriesuids) == ["a", "b", "c"]
    assert "evaluation.scans_assumed" in codes(result)


def test_a_scan_listed_twice_is_refused():
    with pytest.raises(InputError, match=r"evaluation\.series_list"):
        evaluate_marks(marks_of([]), notes_of([NODULE]), None, ["a", "a"])


def test_a_missed_nodule_lowers_every_rate_and_the_curve_ends_there():
    rows = [("a", (0, 0, 0), 0.9), ("a", (40, 0, 0), 0.1)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE, ("a", (99.0, 0.0, 0.0), 6.0)]), None, ["a"])
    assert result.curve.at([0.0, 8.0]).tolist() == [0.5, 0.5]
    assert "evaluation.short_curve" in codes(result)


def test_without_any_false_mark_the_score_is_the_greatest_sensitivity():
    rows = [("a", (0, 0, 0), 0.9)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE, ("a", (99.0, 0.0, 0.0), 6.0)]), None, ["a"])
    assert result.cpm == 0.5


def test_no_mark_at_all_scores_nothing():
    assert evaluate_marks(marks_of([]), notes_of([NODULE]), None, ["a"]).cpm == 0.0


# --- the cap and ties ----------------------------------------------------------------------------------------------


def far_marks(scores) -> list[Mark]:
    return [("a", (1000.0 + 20 * n, 0.0, 0.0), float(score)) for n, score in enumerate(scores)]


def test_only_marks_above_the_hundred_and_first_score_are_kept():
    result = evaluate_marks(marks_of(far_marks(np.linspace(0.1, 0.9, 150))), notes_of([NODULE]), None, ["a"])
    assert (result.verdicts == FALSE).sum() == 100
    assert "evaluation.capped" in codes(result)
    assert "evaluation.tied_at_cap" not in codes(result)


def test_ties_at_the_cap_are_all_dropped():
    result = evaluate_marks(marks_of(far_marks([0.9] * 60 + [0.5] * 60)), notes_of([NODULE]), None, ["a"])
    assert (result.verdicts == FALSE).sum() == 60
    assert "evaluation.tied_at_cap" in codes(result)


def test_a_scan_of_more_than_a_hundred_equal_marks_keeps_none():
    rows = [("a", (0.0, 0.0, 0.0), 0.5), *far_marks([0.5] * 100)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE]), None, ["a"])
    assert (result.verdicts == DROPPED).all()
    assert result.cpm == 0.0


def test_a_hundred_equal_marks_are_all_kept():
    result = evaluate_marks(marks_of(far_marks([0.5] * 100)), notes_of([NODULE]), None, ["a"])
    assert (result.verdicts == FALSE).all()


def test_tied_scores_become_one_diagonal_step_and_a_notice_says_what_it_may_cost():
    rows = [("a", (0, 0, 0), 0.5), *far_marks([0.5] * 8)]
    result = evaluate_marks(marks_of(rows), notes_of([NODULE]), None, ["a"])
    assert result.curve.at([0, 2, 4, 8]).tolist() == [0.0, 0.25, 0.5, 1.0]
    assert result.pool.tie_bounds() == (pytest.approx(1 / 7), 1.0)
    assert "evaluation.ties" in codes(result)


def test_rounded_probabilities_are_noticed_and_unrounded_ones_are_not():
    rng = np.random.default_rng(0)
    scores = rng.random(30)
    assert "evaluation.rounded" not in codes(
        evaluate_marks(marks_of(far_marks(scores)), notes_of([NODULE]), None, ["a"])
    )
    assert "evaluation.rounded" in codes(
        evaluate_marks(marks_of(far_marks(scores.round(2))), notes_of([NODULE]), None, ["a"])
    )


@pytest.mark.parametrize("move", [(-1, -1, 1), (-1, 1, 1), (1, 1, -1)])
def test_coordinates_in_another_frame_are_noticed(move):
    rng = np.random.default_rng(1)
    places = rng.uniform(30, 90, (12, 3))
    truth = notes_of([("a", tuple(p), 8.0) for p in places])
    right = evaluate_marks(marks_of([("a", tuple(p), rng.random()) for p in places]), truth, None, ["a"])
    wrong = evaluate_marks(marks_of([("a", tuple(p * move), rng.random()) for p in places]), truth, None, ["a"])
    assert "evaluation.frame" not in codes(right)
    assert (wrong.cpm, "evaluation.frame" in codes(wrong)) == (0.0, True)


def test_leaving_out_the_excluded_findings_is_noticed():
    assert "evaluation.no_excluded" in codes(evaluate_marks(marks_of([]), notes_of([NODULE]), None, ["a"]))


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        marks_of([("a", (0.0, 0.0, math.nan), 0.5)])
    with pytest.raises(ValueError, match="finite"):
        notes_of([("a", (0.0, 0.0, 0.0), math.inf)])


def test_a_whole_collection_takes_seconds():
    rng = np.random.default_rng(2)
    scans = [f"1.2.{n}" for n in range(888)]
    truth = [(scans[n % 600], tuple(rng.uniform(-150, 150, 3)), 6.0) for n in range(1186)]
    excluded = [(scans[n % 888], tuple(rng.uniform(-150, 150, 3)), -1.0) for n in range(35_192)]
    marks = [(scans[n % 888], tuple(rng.uniform(-150, 150, 3)), rng.random()) for n in range(100_000)]
    tables = marks_of(marks), notes_of(truth), notes_of(excluded)
    start = time.perf_counter()
    evaluate_marks(*tables, scans)
    assert time.perf_counter() - start < 10


def test_nodules_without_a_diameter_are_told_with_their_rows():
    rows = [("a", (0, 0, 0), 0.5), ("z", (0, 0, 0), 0.9)]
    truth = [NODULE, ("a", (9.0, 0.0, 0.0), 0.0), ("a", (30.0, 0.0, 0.0), -1.0), ("z", (0.0, 0.0, 0.0), 0.0)]
    result = evaluate_marks(marks_of(rows), notes_of(truth), notes_of([("a", (5, 5, 5), -1)]), ["a"])
    (told,) = (notice.message for notice in result.notices if notice.code == "evaluation.no_diameter")
    assert told == (
        "1 nodules have a diameter of 0, so that no mark can hit them (row 2); "
        "1 nodules have a diameter below 0, for which 10 mm stand in (row 3)"
    )
    sure = evaluate_marks(marks_of(rows), notes_of([NODULE]), notes_of([("a", (5, 5, 5), -1)]), ["a"])
    assert "evaluation.no_diameter" not in codes(sure)


def test_of_many_nodules_without_a_diameter_ten_are_named():
    truth = [NODULE, *(("a", (float(x), 0.0, 0.0), 0.0) for x in range(20, 32))]
    result = evaluate_marks(marks_of([]), notes_of(truth), None, ["a"])
    (told,) = (notice.message for notice in result.notices if notice.code == "evaluation.no_diameter")
    assert told.endswith("(row 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 2 more)")
