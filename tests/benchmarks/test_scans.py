"""Ranks of nodules among marks, worked out by hand; and that nothing runs without a release."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scans import Ranked, main, rank_nodules


def test_ranks_and_false_marks_before():
    centres = np.array([[0.0, 0, 0], [50, 0, 0], [99, 0, 0]])
    marks = [(50.0, 0, 0), (51.0, 0, 0), (20.0, 0, 0), (0.0, 2.9, 0), (30.0, 0, 0)]
    # first hits the second nodule, second is a double, third is false, fourth hits the first nodule
    assert rank_nodules(marks, centres, np.full(3, 6.0)) == [Ranked(4, 1), Ranked(1, 0), Ranked(None, None)]


def test_no_marks_find_nothing():
    assert rank_nodules([], np.zeros((1, 3)), np.ones(1)) == [Ranked(None, None)]


def test_nothing_runs_without_the_name_of_a_release():
    with pytest.raises(SystemExit, match="once a release"):
        main([])
