"""Attribute prompts: who counts as having an attribute, and where a nodule's window lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.attribute_folds import FOLDS, fold_of
from benchmarks.attributes import (
    LISTS,
    RATED,
    RatedNodules,
    Scored,
    departures,
    held_out,
    largest_slice,
    mean_hu,
    rows_of,
)
from benchmarks.lidc_data import Stack
from benchmarks.results_table import HOLD_TEST
from imaging.geometry import Grid, Volume

RATINGS = pd.DataFrame(
    {
        "texture": [1.0, 2.0, 3.0, 4.5],
        "calcification": [6.0, 5.49, 5.5, 3.0],
        "spiculation": [3.0, 2.9, 1.0, 5.0],
        "patient": ["a", "b", "c", "d"],
    }
)


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [("ground-glass", [0, 1], [3]), ("calcified", [1, 3], [0, 2]), ("spiculated", [0, 3], [1, 2])],
)
def test_ratings_become_sides(name, has, lacks):
    sides = RATED[name](RATINGS)
    assert [np.flatnonzero(side).tolist() for side in sides] == [has, lacks]


def test_each_attribute_has_held_out_pairs_and_no_list_shares_a_sentence_with_the_other():
    first, second = (
        {s for pairs in held_out(which).values() for pair in pairs for s in pair}
        for which in ("for_choices", "for_judging")
    )
    assert not first & second
    for which in ("for_choices", "for_judging"):
        assert set(held_out(which)) == set(RATED)
        assert all(len(pairs) >= 4 for pairs in held_out(which).values())


def test_choices_are_made_on_val_alone_and_other_looks_are_logged():
    assert [split for split, which in LISTS.items() if which == "for_choices"] == ["val"]
    assert set(HOLD_TEST) == set(LISTS) - {"val"}


def test_all_nodules_of_a_patient_are_in_one_fold():
    patients = np.array([f"p{i % 23}" for i in range(90)], dtype=object)
    fold = fold_of(patients)
    assert all(len(set(fold[patients == p])) == 1 for p in set(patients))
    sizes = [len({p for p, f in zip(patients, fold, strict=True) if f == number}) for number in range(FOLDS)]
    assert max(sizes) - min(sizes) <= 1
    assert np.array_equal(fold, fold_of(patients))


def test_departures_are_measured_from_the_trained_prompts():
    rows = [("ground-glass", "trained prompts", "", "0.950 [0, 1]", "0.960", "0.040")]
    rows += [("ground-glass", '"a"', "", "0.910 [0, 1]", "0.880", "0.030")]
    rows += [("ground-glass", "baseline: HU", "", "0.100 [0, 1]", "", "")]
    rows += [
        (name, which, "", "0.900 [0, 1]", "0.9", "0.1")
        for name in ("calcified", "spiculated")
        for which in ("trained prompts", '"b"')
    ]
    said = departures(rows)
    assert "pairs at most 0.040 below, sentences alone at most 0.070 below, negations alone at most -0.020" in said[0]
    assert said[0].endswith("2 of 3 within 0.05")
    assert said[1].endswith("3 of 3 within 0.05")


def test_the_window_lies_in_the_slice_where_the_agreed_region_is_largest():
    readers = np.zeros((3, 40, 40), dtype=np.uint8)
    readers[0, 5:9, 5:9] = 2
    readers[1, 10:20, 20:30] = 3
    readers[2, 0:30, 0:30] = 1  # one reader alone does not count
    grid = Grid.from_spacing((3, 40, 40), spacing_mm=(2.0, 0.5, 0.5))
    hu = np.where(readers == 3, 40.0, -800.0).astype(np.float32)
    stack = Stack("p", 0, Volume(hu, grid), np.arange(3), readers, readers > 0, np.ones(3, dtype=bool))
    window = largest_slice(stack)
    assert window.slice_index == 1
    assert window.centre_mm == pytest.approx((24.5 * 0.5, 14.5 * 0.5, 2.0))
    assert mean_hu(window) == pytest.approx(40.0)


def test_few_nodules_are_said_to_be_few():
    scores = {("calcified", "baseline: HU"): Scored(np.array([0.0, 1.0, 0.5, 2.0]))}
    ((_, _, count, auroc, alone, negation),) = rows_of(RatedNodules(RATINGS, ()), scores)
    assert "too few for a bar" in count
    assert auroc.startswith("1.000")
    assert (alone, negation) == ("", "")


def test_a_negation_that_ranks_the_other_way_is_one_less_the_sentence():
    up = np.array([0.0, 1.0, 0.5, 2.0])
    ((*_, auroc, alone, negation),) = rows_of(RatedNodules(RATINGS, ()), {("calcified", '"x"'): Scored(up, up, -up)})
    assert (auroc[:5], alone, negation) == ("1.000", "1.000", "0.000")
