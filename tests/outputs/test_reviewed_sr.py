"""The reviewed SR: valid to dciodvfy, opened again by highdicom, a version of its own beside the AI's."""

from __future__ import annotations

from dataclasses import replace

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import sr as hdsr

from imaging.errors import OutputError
from imaging.io.dicom_results import read_outside_result
from imaging.outputs import codes, reviewed_sr, sr
from imaging.outputs.reviewed_sr import Decision, Review, person_name


@pytest.fixture
def reviewed(build):
    """A case with three findings, accepted, corrected and rejected, and one that the reader added."""
    case = build.case("descending", 3)
    first, second, third = case.report.findings
    moved = replace(second, centre_mm=tuple(np.add(second.centre_mm, (1.0, -2.0, 2.5))), diameter_mm=6.5)
    added = replace(first, number=4, tracking_uid="2.25.77", centre_mm=third.centre_mm, score=1.0, diameter_mm=4.0)
    decisions = (
        Decision(first, "accepted", "spiculated, compare with 2019"),
        Decision(moved, "corrected", by_hand=("diameter_mm",)),
        Decision(added, "added", by_hand=("diameter_mm",)),
        Decision(third, "rejected", "crossing vessel"),
    )
    review = Review(decisions, ("Reader^Ada",), True, (sr.structured_report(case),))
    kept = replace(case, report=replace(case.report, findings=(first, moved, added)))
    return kept, review, case


def evaluation(group):
    (found,) = group.get_qualitative_evaluations(name=codes.DECISION)
    return found.value.value


def comment(group):
    items = [item for item in group[0].ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121106"]
    return items[0].TextValue if items else ""


@pytest.mark.pacs
@pytest.mark.parametrize("kind", ["axial", "descending", "prone", "oblique", "sheared"])
@pytest.mark.parametrize("organisation", ["", "St. Elsewhere"])
def test_the_validator_finds_nothing(build, reviewed, tmp_path, dciodvfy, kind, organisation):
    _, review, _ = reviewed
    case = build.case(kind, 3)
    review = replace(review, organisation=organisation, verifier="Reader^Ada")
    path = reviewed_sr.write(case, review, tmp_path)["sr_reviewed.dcm"]
    assert dciodvfy(path) == []


def test_each_finding_carries_the_readers_decision(reviewed, tmp_path):
    case, review, _ = reviewed
    document = hdsr.srread(reviewed_sr.write(case, review, tmp_path)["sr_reviewed.dcm"])
    assert isinstance(document, hdsr.Comprehensive3DSR)
    kept = document.content.get_planar_roi_measurement_groups()
    assert [evaluation(group) for group in kept] == ["accepted", "corrected", "added"]
    for group, decision in zip(kept, review.decisions, strict=False):
        assert group.tracking_uid == decision.finding.tracking_uid
        np.testing.assert_allclose(np.ravel(group.roi.value), decision.finding.centre_mm, atol=0.001)
        assert comment(group) == decision.comment
    scores = [group.get_measurements(name=codes.CERTAINTY) for group in kept]
    assert [len(found) for found in scores] == [1, 1, 0]  # a reader's own mark has no score of the model
    methods = [group.get_measurements(name=codes.DIAMETER)[0].method for group in kept]
    assert [method is None for method in methods] == [False, True, True]
    assert kept[1].get_measurements(name=codes.DIAMETER)[0].value == 6.5


def test_the_decisions_are_read_back_as_they_were_written(reviewed, tmp_path):
    case, review, _ = reviewed
    path = reviewed_sr.write(case, review, tmp_path)["sr_reviewed.dcm"]
    outside = read_outside_result(path, case.volume)
    said = {uid: (one.verdict, one.comment, one.sized_by_hand) for uid, one in outside.stated.items()}
    assert said == {
        one.finding.tracking_uid: (one.verdict, one.comment, "diameter_mm" in one.by_hand) for one in review.decisions
    }
    assert [finding.tracking_uid for finding in outside.findings] == [
        one.finding.tracking_uid
        for one in sorted(review.decisions, key=lambda one: -one.finding.score)
        if one.verdict != "rejected"
    ]
    assert [finding.number for finding in outside.findings] == [1, 2, 3]
    assert outside.readers == ("Reader^Ada",)
    assert read_outside_result(sr.write(case, tmp_path)["sr.dcm"], case.volume).stated == {}


def test_a_rejected_finding_is_told_but_is_no_nodule_anywhere(reviewed, tmp_path):
    case, review, _ = reviewed
    document = hdsr.srread(reviewed_sr.write(case, review, tmp_path)["sr_reviewed.dcm"])
    (group,) = document.content.get_image_measurement_groups()
    assert (evaluation(group), comment(group)) == ("rejected", "crossing vessel")
    assert group.tracking_uid == review.decisions[3].finding.tracking_uid
    assert group.finding_type is None
    index = round(float(case.volume.grid.to_index(review.decisions[3].finding.centre_mm)[0]))
    expected = case.volume.origin.instances[index].sop_instance_uid
    assert [image.referenced_sop_instance_uid for image in group.source_images] == [expected]


def test_it_is_a_new_version_that_names_the_ais(reviewed, tmp_path):
    case, review, original = reviewed
    before = sr.write(original, tmp_path)["sr.dcm"].read_bytes()
    path = reviewed_sr.write(case, review, tmp_path)["sr_reviewed.dcm"]
    assert (tmp_path / "sr.dcm").read_bytes() == before
    old, new = pydicom.dcmread(tmp_path / "sr.dcm"), pydicom.dcmread(path)
    series = new.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == old.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    assert (new.SOPInstanceUID, new.SeriesInstanceUID) != (old.SOPInstanceUID, old.SeriesInstanceUID)
    assert new.StudyInstanceUID == old.StudyInstanceUID
    assert new.PatientID == old.PatientID


def flags(document):
    return document.CompletionFlag, document.VerificationFlag, document.PreliminaryFlag


def test_verified_and_final_only_by_a_reader_who_says_for_whom(reviewed):
    case, review, _ = reviewed
    plain = reviewed_sr.reviewed_structured_report(case, review)
    assert flags(plain) == ("COMPLETE", "UNVERIFIED", "PRELIMINARY")
    final = replace(review, readers=("A. First", "Reader^Ada"), organisation="St. Elsewhere", verifier="Reader^Ada")
    verified = reviewed_sr.reviewed_structured_report(case, final)
    assert flags(verified) == ("COMPLETE", "VERIFIED", "FINAL")
    (observer,) = verified.VerifyingObserverSequence
    assert (str(observer.VerifyingObserverName), observer.VerifyingOrganization) == ("Reader^Ada", "St. Elsewhere")
    assert str(observer.VerificationDateTime).startswith("20231114221320")
    partial = reviewed_sr.reviewed_structured_report(case, replace(review, complete=False))
    assert flags(partial) == ("PARTIAL", "UNVERIFIED", "PRELIMINARY")


def test_readers_and_software_are_observers_and_nodulus_claims_no_other_products_findings(reviewed, tmp_path):
    case, review, _ = reviewed
    both = replace(review, readers=("Reader^Ada", "B. Second"))
    root = reviewed_sr.reviewed_structured_report(case, both).ContentSequence
    named = [(item.ConceptNameCodeSequence[0].CodeMeaning, item) for item in root]
    kinds = [item.ConceptCodeSequence[0].CodeMeaning for name, item in named if name == "Observer Type"]
    assert kinds == ["Person", "Person", "Device"]
    names = [str(item.PersonName) for name, item in named if name == "Person Observer Name"]
    assert names == ["Reader^Ada", "B. Second^"]
    path = reviewed_sr.write(case, replace(review, by_nodulus=False), tmp_path)["sr_reviewed.dcm"]
    assert b"nodulus-vit-s" not in path.read_bytes()


def test_uids_follow_from_the_state_of_the_review(reviewed):
    case, review, _ = reviewed
    uid = reviewed_sr.reviewed_structured_report(case, review).SOPInstanceUID
    assert hd.UID(uid).is_valid
    assert reviewed_sr.reviewed_structured_report(case, review).SOPInstanceUID == uid
    for other in (
        replace(review, decisions=review.decisions[:2]),
        replace(review, readers=("Other^Bo",)),
        replace(review, organisation="St. Elsewhere", verifier="Reader^Ada"),
        replace(review, organisation="St. Elsewhere", verifier="B. Second"),
    ):
        assert reviewed_sr.reviewed_structured_report(case, other).SOPInstanceUID != uid


@pytest.mark.parametrize(
    "changes",
    [{"decisions": ()}, {"readers": ()}, {"readers": (" ",)}, {"complete": False, "organisation": "St. Elsewhere"}],
)
def test_what_nobody_signed_is_refused(reviewed, tmp_path, changes):
    case, review, _ = reviewed
    with pytest.raises(OutputError) as refusal:
        reviewed_sr.write(case, replace(review, **changes), tmp_path)
    assert refusal.value.code == "review.unsigned"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["Dr. A. Reader", "Reader^Ada^^Dr.", "a" * 80, "back\\slash=and\nnewline", "a^b^c^d^e^f^g", "李^明"],
)
def test_any_typed_name_becomes_a_valid_person_name(text):
    name = person_name(text)
    assert "^" in name
    assert len(name) <= 64
    assert name.count("^") <= 4
    assert not set(name) & set("\\=\n")
