"""What a review leaves behind: report, table and image-level labels, each read back by the code that will take it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from imaging.findings import Report
from imaging.training.report_labels import label_report as label_of_text
from pipelines.viewer.export import MANIFEST, export_review, reviewed_report, weak_label


def decide(session, *actions):
    for row, action in zip(session.findings, actions, strict=False):
        session.decide(action, finding=row.finding.tracking_uid)


def test_rejected_findings_go_and_every_other_says_what_a_reader_did(session):
    decide(session, "accept", "reject")
    session.go_to((20.0, 0.0, -120.0))
    session.add_missed(diameter_mm=5.0)
    report = reviewed_report(session)
    assert [finding.notes for finding in report.findings] == [
        ("review.accepted",),
        ("review.undecided",),
        ("review.added", "review.accepted"),
    ]
    assert [finding.number for finding in report.findings] == [1, 2, 3]
    assert [finding.score for finding in report.findings][:2] == [f.score for f in session.report.findings][::2]
    codes = [notice.code for notice in report.notices]
    assert codes == ["review.by_reader", "review.undecided"]
    assert "Dr. A. Reader" in report.notices[0].message
    assert "2 accepted (1 of them added), 1 rejected" in report.notices[0].message


def test_an_edit_is_marked_and_the_number_is_the_readers(session):
    session.decide("edit", finding=session.findings[0].finding.tracking_uid, diameter_mm=12.5)
    first = reviewed_report(session).findings[0]
    assert first.notes == ("review.edited", "review.accepted")
    assert first.diameter_mm == 12.5


def test_the_exported_files_are_read_back(session, tmp_path):
    decide(session, "accept", "reject", "accept")
    files = export_review(session, tmp_path / "export")
    report = Report.from_json(json.loads(files["report.json"].read_text()))
    assert report == reviewed_report(session)
    rows = list(csv.DictReader(files["findings.csv"].open()))
    assert [float(row["coordX"]) for row in rows] == [-41.0, -20.0]
    label = next(csv.DictReader(files[MANIFEST].open()))
    assert label["nodule"] == "1"
    assert not any(word in ",".join(label).lower() for word in ("coord", "centre", "mm"))


@pytest.mark.parametrize(
    ("actions", "label"),
    [
        (("accept", "reject", "reject"), "1"),
        (("accept",), "1"),
        (("reject", "reject", "reject"), "0"),
        (("reject", "reject"), ""),
        ((), ""),
    ],
)
def test_decisions_become_an_image_level_label(session, actions, label):
    decide(session, *actions)
    assert weak_label(session)["nodule"] == label


def test_a_scan_without_findings_has_no_label(session):
    session.set_result(replace(session.report, findings=()), {}, folder=session.folder)
    assert weak_label(session)["nodule"] == ""
    session.add_missed()
    assert weak_label(session)["nodule"] == "1"


@pytest.mark.parametrize(("action", "meaning"), [("accept", "positive"), ("reject", "negative")])
def test_the_sentence_means_the_label_to_the_code_that_reads_reports(session, action, meaning):
    decide(session, action, action, action)
    text = weak_label(session)["text"]
    assert label_of_text(text).label == meaning
    if action == "accept":
        assert label_of_text(text).attributes["solid"]


def test_training_takes_the_manifest(session, tmp_path):
    from imaging.training.manifest import read_rows

    (tmp_path / "ct.nii.gz").write_bytes(b"")
    session.source = tmp_path / "ct.nii.gz"
    decide(session, "accept", "reject", "reject")
    (row,) = read_rows(export_review(session, tmp_path / "export")[MANIFEST])
    assert (row.label, row.series) == (1.0, session.volume.seriesuid)
