"""Attribute prompts: who counts as having an attribute, and where a nodule's window lies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.attributes import HELD_OUT, RATED, RatedNodules, largest_slice, mean_hu, rows_of
from benchmarks.lidc_data import Stack
from imaging.geometry import Grid, Volume
from imaging.models.prompts import all_sentences

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


def test_held_out_sentences_are_not_trained_ones():
    held_out = {sentence for pairs in HELD_OUT.values() for pair in pairs for sentence in pair}
    assert not held_out & set(all_sentences())


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
    scores = {("calcified", "baseline: HU"): np.array([0.0, 1.0, 0.5, 2.0])}
    ((_, _, count, auroc),) = rows_of(RatedNodules(RATINGS, ()), scores)
    assert "too few for a bar" in count
    assert auroc.startswith("1.000")
