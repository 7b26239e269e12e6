"""Marks counted at thresholds by hand, boxes in their slices, and which scans a split may hold."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import operating_point
from benchmarks.operating_point import Boxes, ScanMarks, at_threshold, body, main, mean_false, threshold_logit
from benchmarks.results_table import LOGGED
from benchmarks.untouched_scans import UNTOUCHED
from imaging.geometry import Grid

SIDES = "<xmin>2</xmin><ymin>3</ymin><xmax>4</xmax><ymax>3</ymax>"
BOX = f"<annotation><object><bndbox>{SIDES}</bndbox></object></annotation>"

#: Two scans of whole lungs (4 and 2 litres) with 2 and 1 false marks from 1.2 on, and half a lung with 3 of them.
FIRST = ScanMarks("CMB-CRC-01068", 4000.0, (3.0, 2.0, 1.2, 1.1), (False, True, False, False), ("series.sharp_kernel",))
SECOND = ScanMarks("RICORD-1A-001012", 2000.0, (1.2, -1.0), None)
PART = ScanMarks("RIDER-Pilot-0117", 1000.0, (4.0, 4.0, 1.5), None, ("lungs.partial",))


def test_false_marks_lie_in_no_box_and_reach_the_logit():
    assert [FIRST.false_at(logit) for logit in (0.0, 1.2, 1.3, 3.0, 3.1)] == [3, 2, 1, 1, 0]
    assert FIRST.first_boxed == "2 (2.0)"
    assert SECOND.first_boxed == "no boxes"
    assert ScanMarks("a", 1.0, (1.0,), (False,)).first_boxed == "missed"


def test_the_mean_is_of_whole_lungs_and_the_litre_of_all():
    scans = (FIRST, SECOND, PART)
    assert mean_false(scans, 1.2) == 1.5
    assert at_threshold(scans, 1.2) == (
        "1.50 false marks a scan (1 to 2; 2 scans of whole lungs), 0.86 a litre of lung (all 3)"
    )


def test_the_table_says_what_its_scans_are():
    untouched, train = body([FIRST, PART], 1.2, "untouched"), body([FIRST, PART], 1.2, "train")
    assert "served as negatives" in train
    assert "served as negatives" not in untouched
    assert "No weight, threshold or rule was fitted to these scans" in untouched
    assert "| CMB-CRC-01068 | 4.0 | `series.sharp_kernel` | 2 (2.0) | 3 | 3 | 3 | 2 | 1 | 1 | 1 | 0 |" in untouched
    assert "| mean of those with whole lungs | 4.0 |  |  | 3.00 |" in untouched
    assert UNTOUCHED["CMB-CRC-01068"].where in untouched
    assert "stepha-mar" not in train


def test_parts_of_lungs_alone_have_no_mean():
    with pytest.raises(ValueError, match="no scan of whole lungs"):
        body([PART], 1.2, "train")


def test_boxes_are_inclusive_and_in_the_slice_of_their_instance(tmp_path):
    (tmp_path / "1.2.3.xml").write_text(BOX)
    inside = Boxes.read(tmp_path).region(Grid((3, 6, 6), np.eye(4)), ["1.2.1", "1.2.3", "1.2.2"])
    assert np.argwhere(inside).tolist() == [[1, 3, 2], [1, 3, 3], [1, 3, 4]]


def test_the_logit_of_a_score_undoes_the_calibration():
    model = SimpleNamespace(
        card={"calibration": {"slope": 2.0, "offset": 1.0}},
        operating_point=SimpleNamespace(threshold=1 / (1 + np.exp(-(2.0 * 1.2 + 1.0)))),
    )
    assert threshold_logit(model) == pytest.approx(1.2)


def test_only_known_scans_are_untouched_and_every_look_at_them_is_logged(capsys):
    with pytest.raises(SystemExit):
        main(["--split", "untouched", "--scan", "A0001-2=somewhere"])
    assert "A0001-2: not in benchmarks/untouched_scans.py" in capsys.readouterr().err
    assert "untouched" in LOGGED
    assert "train" not in LOGGED


def test_a_scan_may_be_one_file_and_its_name_does_not_matter(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for path in (tmp_path / "a.nii", tmp_path / "b.nii", folder / "c.nii"):
        path.write_bytes(b"voxels")
    one, other, inside = (
        operating_point._content(Path(path)) for path in (tmp_path / "a.nii", tmp_path / "b.nii", folder)
    )
    assert one == other == inside
    (tmp_path / "b.nii").write_bytes(b"others")
    assert operating_point._content(tmp_path / "b.nii") != one
