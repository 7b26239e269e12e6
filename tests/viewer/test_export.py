"""What a review leaves behind: report, table and image-level labels, each read back by the code that will take it."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pydicom
import pytest
from highdicom.sr import srread

from imaging.errors import OutputError
from imaging.findings import Report
from imaging.outputs import codes
from imaging.outputs.case import CaseResult
from imaging.training.report_labels import label_report as label_of_text
from pipelines.viewer.export import can_write_sr, export_review, reviewed_report, weak_label
from pipelines.viewer.finding_list import tooltip
from pipelines.viewer.opening import open_session
from pipelines.viewer.results import show_outside
from pipelines.viewer.session import Session
from pipelines.viewer.weak_labels import MANIFEST, write_manifest


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
    assert [notice.code for notice in report.notices] == ["review.by_reader", "review.undecided"]
    assert "Dr. A. Reader" in report.notices[0].message
    assert "2 accepted (1 of them added), 1 rejected" in report.notices[0].message


def test_an_edit_is_marked_and_the_number_is_the_readers(session):
    session.decide("edit", finding=session.findings[0].finding.tracking_uid, diameter_mm=12.5)
    first = reviewed_report(session).findings[0]
    assert first.notes == ("review.edited", "review.accepted")
    assert first.diameter_mm == 12.5


def test_the_exported_files_are_read_back(session, tmp_path):
    session.source = tmp_path / "ct.nii.gz"
    decide(session, "accept", "reject", "accept")
    files = export_review(session, tmp_path / "export")
    report = Report.from_json(json.loads(files["report.json"].read_text()))
    assert report == reviewed_report(session)
    with files["findings.csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [float(row["coordX"]) for row in rows] == [-41.0, -20.0]
    with files[MANIFEST].open(newline="") as stream:
        label = next(csv.DictReader(stream))
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
    assert text.count(".") == (3 if action == "accept" else 1)
    assert ".;" not in text
    if action == "accept":
        assert label_of_text(text).attributes["solid"]


def test_an_edit_takes_away_what_it_made_untrue(session):
    first = session.findings[0].finding
    measured = replace(first, volume_mm3=500.0, long_axis_mm=11.0, mean_hu=30.0)
    session.set_result(replace(session.report, findings=(measured,)), {}, folder=session.folder)
    uid = first.tracking_uid
    session.decide("edit", finding=uid, centre_mm=[c + 1 for c in first.centre_mm])
    (near,) = reviewed_report(session).findings
    assert (near.volume_mm3, near.diameter_mm, near.side) == (500.0, 10.0, "right")
    session.decide("edit", finding=uid, diameter_mm=14.0)
    (resized,) = reviewed_report(session).findings
    assert (resized.volume_mm3, resized.long_axis_mm, resized.mean_hu) == (None, None, None)
    assert (resized.diameter_mm, resized.side) == (14.0, "right")
    session.undo()
    session.decide("edit", finding=uid, centre_mm=[40.0, 0.0, -100.0])
    (elsewhere,) = reviewed_report(session).findings
    assert (elsewhere.diameter_mm, elsewhere.side, elsewhere.zone) == (None, None, None)


# --- the DICOM report ------------------------------------------------------------------------------------------------
def everything(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".jsonl"}


def sr_of(folder):
    return pydicom.dcmread(folder / "sr_reviewed.dcm")


def named(dataset):
    """Instance UIDs of the versions before."""
    return [
        item.ReferencedSOPInstanceUID
        for study in dataset.PredecessorDocumentsSequence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]


@pytest.mark.pacs
def test_a_dicom_ct_gets_a_new_version_of_the_report_that_names_the_ais(dicom_session, tmp_path, dciodvfy):
    from highdicom.sr import srread

    before = everything(dicom_session.folder)
    decide(dicom_session, "accept", "reject")
    dicom_session.decide("comment", finding="2.25.2", text="crossing vessel")
    dicom_session.go_to((20.0, 0.0, -120.0))
    dicom_session.add_missed(diameter_mm=5.0)
    files = export_review(dicom_session, tmp_path / "export")
    assert set(files) == {"report.json", "findings.csv", "sr.dcm", "sr_reviewed.dcm", MANIFEST}
    assert all(path.is_file() for path in files.values())
    assert everything(dicom_session.folder) == before, "the AI's own files are as they were"
    assert dciodvfy(files["sr.dcm"]) == dciodvfy(files["sr_reviewed.dcm"]) == []
    document = srread(files["sr_reviewed.dcm"])
    points = [group.roi.value.ravel() for group in document.content.get_planar_roi_measurement_groups()]
    assert len(points) == 2, "an undecided finding is not in a reviewed report"
    assert points[0] == pytest.approx((-41.0, -22.0, -160.0), abs=0.001)
    assert points[1] == pytest.approx(dicom_session.point_mm, abs=0.001)
    assert named(document) == [pydicom.dcmread(files["sr.dcm"]).SOPInstanceUID]
    assert document.CompletionFlag == "PARTIAL"
    assert "crossing vessel" in str(document)


def test_an_sr_that_predict_wrote_is_the_one_that_is_named(dicom_session, tmp_path):
    from imaging.outputs import sr

    result = CaseResult(dicom_session.volume, dicom_session.report, None, dicom_session.maps["nodules"])
    path = sr.write(result, dicom_session.folder)["sr.dcm"]
    original = path.read_bytes()
    again = open_session(dicom_session.source, dicom_session.folder, reviewer="B. Second")
    decide(again, "accept", "accept", "reject")
    files = export_review(again, tmp_path / "export")
    assert "sr.dcm" not in files
    assert path.read_bytes() == original
    assert named(sr_of(tmp_path / "export")) == [pydicom.dcmread(path).SOPInstanceUID]
    assert sr_of(tmp_path / "export").CompletionFlag == "COMPLETE"


def test_each_further_version_names_the_one_before_even_after_reopening(dicom_session, tmp_path):
    decide(dicom_session, "accept")
    export_review(dicom_session, tmp_path / "one")
    again = open_session(dicom_session.source, dicom_session.folder, reviewer="Dr. A. Reader")
    decide(again, "accept", "reject", "reject")
    export_review(again, tmp_path / "two", organisation="St. Elsewhere")
    first, second = sr_of(tmp_path / "one"), sr_of(tmp_path / "two")
    assert named(second) == [named(first)[0], first.SOPInstanceUID]
    assert second.SOPInstanceUID != first.SOPInstanceUID
    assert second.VerificationFlag == "VERIFIED"
    again.undo()
    assert again.findings[2].state == "undecided", "an undo takes back a decision, not an export"


def test_the_reviewed_sr_is_read_back_by_the_viewer(dicom_session, tmp_path):

    decide(dicom_session, "accept", "reject", "reject")
    export_review(dicom_session, tmp_path / "export")
    fresh = open_session(dicom_session.source)
    show_outside(fresh, tmp_path / "export" / "sr_reviewed.dcm", folder=tmp_path / "kept")
    (row,) = fresh.findings
    assert row.finding.centre_mm == pytest.approx((-41.0, -22.0, -160.0), abs=0.001)
    assert not can_write_sr(fresh), "nothing was decided since"
    decide(fresh, "accept")
    export_review(fresh, tmp_path / "again")
    assert named(sr_of(tmp_path / "again")) == [sr_of(tmp_path / "export").SOPInstanceUID]


@pytest.fixture
def seen_again(dicom_session, tmp_path):
    """A reviewed SR (accepted with a comment, corrected, rejected, added) and a session that opened it afresh."""
    first, second, third = (row.finding.tracking_uid for row in dicom_session.findings)
    dicom_session.decide("accept", finding=first)
    dicom_session.decide("comment", finding=first, text="compare with 2019")
    dicom_session.decide("edit", finding=second, diameter_mm=6.5)
    dicom_session.decide("reject", finding=third)
    dicom_session.go_to((20.0, 0.0, -120.0))
    dicom_session.add_missed(diameter_mm=5.0)
    export_review(dicom_session, tmp_path / "export")
    fresh = open_session(dicom_session.source, reviewer="B. Second")
    show_outside(fresh, tmp_path / "export" / "sr_reviewed.dcm", folder=tmp_path / "kept")
    return fresh


def stands(rows):
    return [(row.finding.tracking_uid, row.state, row.edited, row.original is None, row.comment) for row in rows]


def test_decisions_in_a_reviewed_sr_are_the_readers_who_made_them(dicom_session, seen_again):
    kept = [row for row in dicom_session.findings if row.state != "rejected"]
    assert stands(seen_again.findings) == stands(kept)
    assert {row.reviewer for row in seen_again.findings} == {"Dr. A. Reader"}
    assert (seen_again.banner, seen_again.short_banner) == ("all 3 findings reviewed", "reviewed (3 of 3)")
    said = tooltip(seen_again.findings[0], maker=seen_again.maker)
    assert "accepted by Dr. A. Reader, as the opened report states" in said
    assert {notice.code for notice in seen_again.notices} >= {"result.rejected", "result.unverified"}
    assert "result.partial" not in {notice.code for notice in seen_again.notices}
    assert weak_label(seen_again)["nodule"] == "1"
    assert weak_label(seen_again)["reviewer"] == "Dr. A. Reader"


def test_the_next_version_says_of_each_finding_what_was_decided_before(seen_again, tmp_path):
    before = srread(tmp_path / "export" / "sr_reviewed.dcm")
    first = seen_again.findings[0].finding.tracking_uid
    seen_again.decide("comment", finding=first, text="seen by two")
    export_review(seen_again, tmp_path / "again", organisation="St. Elsewhere")
    again = srread(tmp_path / "again" / "sr_reviewed.dcm")
    assert named(again) == [before.SOPInstanceUID]

    def told(document):
        groups = document.content.get_planar_roi_measurement_groups()
        verdicts = [g.get_qualitative_evaluations(name=codes.DECISION)[0].value.value for g in groups]
        by_hand = [g.get_measurements(name=codes.DIAMETER)[0].method is None for g in groups]
        return [*zip((g.tracking_uid for g in groups), verdicts, by_hand, strict=True)]

    assert told(again) == told(before)
    assert [verdict for _, verdict, _ in told(again)] == ["accepted", "corrected", "added"]
    assert str(again.VerifyingObserverSequence[0].VerifyingObserverName) == "B. Second^", "who verifies, not the first"
    people = [str(item.PersonName) for item in again.ContentSequence if "PersonName" in item]
    assert people == ["B. Second^", "Dr. A. Reader^"]


def test_a_reviewed_sr_of_which_nothing_is_left_or_that_is_unfinished_says_so(dicom_session, tmp_path):
    decide(dicom_session, "reject", "reject")
    export_review(dicom_session, tmp_path / "partial")
    decide(dicom_session, "reject", "reject", "reject")
    export_review(dicom_session, tmp_path / "whole")
    fresh = open_session(dicom_session.source)
    for name, partial in (("partial", True), ("whole", False)):
        show_outside(fresh, tmp_path / name / "sr_reviewed.dcm", folder=tmp_path / "kept")
        assert fresh.short_banner == "reviewed, none left"
        assert fresh.banner == "reviewed by Dr. A. Reader: no finding is left of what was decided on"
        assert ("result.partial" in {notice.code for notice in fresh.notices}) == partial
        assert weak_label(fresh)["nodule"] == "", "what was rejected is not known here"


def test_findings_of_another_product_are_not_nodulus_after_a_review(dicom_session, tmp_path):
    report = dicom_session.report
    dicom_session.report = replace(report, provenance=replace(report.provenance, software="Another Reader 9"))
    decide(dicom_session, "accept")
    export_review(dicom_session, tmp_path / "export")
    fresh = open_session(dicom_session.source)
    show_outside(fresh, tmp_path / "export" / "sr_reviewed.dcm", folder=tmp_path / "kept")
    assert not fresh.by_nodulus
    assert fresh.maker == "by another product"


@pytest.mark.parametrize("why", ["nothing decided", "no name", "no DICOM"])
def test_without_a_signature_or_a_dicom_ct_there_is_no_sr(dicom_session, session, tmp_path, why):
    one = session if why == "no DICOM" else dicom_session
    one.reviewer = "" if why == "no name" else one.reviewer
    if why != "nothing decided":
        decide(one, "accept")
    assert not {"sr.dcm", "sr_reviewed.dcm"} & set(export_review(one, tmp_path / "export"))


def test_a_readers_own_marks_can_be_exported_without_any_ai(dicom_session, tmp_path):
    alone = open_session(dicom_session.source, reviewer="Dr. A. Reader")
    alone.go_to((20.0, 0.0, -120.0))
    alone.add_missed(diameter_mm=5.0)
    files = export_review(alone, tmp_path / "export")
    assert "sr.dcm" not in files
    assert "PredecessorDocumentsSequence" not in sr_of(tmp_path / "export")
    report = Report.from_json(json.loads(files["report.json"].read_text()))
    assert report.operating_point.measured_on == "no AI was run"
    assert report.findings[0].notes == ("review.added", "review.accepted")


def test_an_export_never_goes_over_anything(dicom_session):
    decide(dicom_session, "accept")
    before = everything(dicom_session.folder)
    with pytest.raises(OutputError) as refusal:
        export_review(dicom_session, dicom_session.folder)
    assert refusal.value.code == "output.exists"
    assert everything(dicom_session.folder) == before


def test_a_disk_that_fills_up_leaves_nothing_half_written(dicom_session, tmp_path, monkeypatch):
    decide(dicom_session, "accept")

    def full(dataset, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("imaging.outputs.reviewed_sr.write_dataset", full)
    with pytest.raises(OutputError) as refusal:
        export_review(dicom_session, tmp_path / "export")
    assert refusal.value.code == "output.disk_full"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dicom", "result"]


# --- training --------------------------------------------------------------------------------------------------------
def test_training_reads_the_scans_of_the_table(tmp_path, session):
    """Two reviewed scans, one by a relative path, become two bags with the labels that the decisions imply."""
    import numpy as np

    from imaging.io.nifti import write_nifti
    from imaging.models.vision import VisionConfig
    from imaging.simulation.dicom_series import write_series
    from imaging.simulation.thorax import make_thorax
    from pipelines.training_data import gather

    rng = np.random.default_rng(0)
    chest, _ = make_thorax(rng=rng, shape=(48, 96, 96), spacing_mm=(6.0, 3.6, 3.6))
    write_series(chest, tmp_path / "a", rng=rng)
    write_nifti(chest.array, chest.grid, tmp_path / "b.nii.gz")
    rows = []
    for source, action in ((tmp_path / "a", "accept"), (tmp_path / "b.nii.gz", "reject")):
        one = open_session(source, reviewer="A")
        one.set_result(replace(session.report, seriesuid=one.volume.seriesuid), {}, folder=tmp_path / f"of-{action}")
        decide(one, action, action, action)
        rows.append(weak_label(one))
    table = write_manifest(rows, tmp_path / "elsewhere" / MANIFEST)
    config = VisionConfig(
        slices=3,
        slice_step_mm=5.0,
        pixel_mm=1.4,
        window_pixels=24,
        width=16,
        depth=1,
        heads=2,
        embedding=16,
        stem_channels=4,
    )
    data = gather(table, tmp_path / "cache", config)
    assert [float(bag.labels[0]) for bag in data.bags] == [1.0, 0.0]
    assert all(len(bag.windows) > 50 for bag in data.bags)
    assert data.left_out == ()
    solid = [source["labels"][1:] for source in data.sources]
    assert any(value == 1.0 for value in solid[0]), "the attributes in the sentence are labels too"
    assert not any(solid[1])


def test_an_undecided_scan_is_left_out_of_training(session, tmp_path):
    from imaging.training.manifest import read_rows

    (tmp_path / "ct.nii.gz").write_bytes(b"")
    session.source = tmp_path / "ct.nii.gz"
    decide(session, "reject")
    (row,) = read_rows(export_review(session, tmp_path / "export")[MANIFEST])
    assert row.label is None
    assert not row.said


def test_a_ct_without_a_path_has_no_row(session, tmp_path):
    assert session.source is None
    assert MANIFEST not in export_review(session, tmp_path / "export")


def test_decisions_on_another_result_are_kept_and_told(session, volume):
    decide(session, "accept", "reject")
    other = Session(volume)
    others = tuple(replace(f, tracking_uid=f"9.9.{f.number}") for f in session.report.findings)
    other.set_result(replace(session.report, findings=others), {}, folder=session.folder)
    (notice,) = [notice for notice in other.notices if notice.code == "review.orphaned"]
    assert "2 findings" in notice.message
    assert "review.orphaned" not in [notice.code for notice in session.notices]


@pytest.mark.parametrize(("decided", "told"), [(1, "2 findings not reviewed"), (2, "1 finding not reviewed")])
def test_what_is_undecided_is_counted_in_words_that_fit_one(session, tmp_path, decided, told):
    decide(session, *["accept"] * decided)
    (notice,) = [one for one in reviewed_report(session).notices if one.code == "review.undecided"]
    assert notice.message.startswith(told)
