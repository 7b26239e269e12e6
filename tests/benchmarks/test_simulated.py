"""The family of simulated scans is frozen by its numbers; its bookkeeping is worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scorers import BlobDetector
from benchmarks.simulated import body, make_scan, mark_scan, marks_of, truth_of, wishes


def record(nodules, marks, refused=None):
    return {"nodules": nodules, "refused": refused, "marks": {"model": marks, "blobs": []}}


RECORDS = {
    "simulated-000": record(
        [{"centre_mm": [0, 0, 0], "diameter_mm": 8.0, "kind": "ground-glass", "attachment": "pleura"}],
        [[1.0, 0, 0, 3.5], [40.0, 0, 0, 2.0]],
    ),
    "simulated-001": record([], [], refused="lungs.none"),
}


def test_truth_carries_texture_and_pleural_contact():
    truth = truth_of(RECORDS)
    assert truth.seriesuids == ("simulated-000",)
    assert dict(truth.columns) == {"texture": ("1",), "pleural_contact": ("1",)}
    assert marks_of(RECORDS, "model").scores.tolist() == [3.5, 2.0]


def test_the_table_says_how_many_scans_were_refused():
    text, headline = body(RECORDS, ["model", "blobs"])
    assert "1 scans were refused" in text
    assert headline.startswith("model: CPM 1.000")
    assert "ground-glass" in text


def test_a_scan_follows_from_its_number():
    assert wishes(np.random.default_rng([1, 2])) == wishes(np.random.default_rng([1, 2]))
    sizes = [wish.diameter_mm for n in range(40) for wish in wishes(np.random.default_rng(n))]
    assert 4 <= min(sizes) < 6
    assert 22 < max(sizes) <= 30


@pytest.mark.slow
def test_a_small_scan_is_made_twice_alike_and_marked():
    first, second = (make_scan(5, side_pixels=128) for _ in range(2))
    assert np.array_equal(first.volume.array, second.volume.array)
    assert first.nodules == second.nodules
    marked = mark_scan(first, [BlobDetector()])
    assert len(marked["nodules"]) == len(first.nodules)
    assert marked["refused"] is None
    assert first.volume.grid.contains([mark[:3] for mark in marked["marks"]["LoG blobs"]]).all()
