"""SR and SEG: checked by dciodvfy, opened again by highdicom and pydicom, compared with the case they came from."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import seg as hdseg
from highdicom import sr as hdsr
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from imaging.errors import OutputError, UsageError
from imaging.geometry.volume import Instance
from imaging.outputs import codes, dicom_source, seg, sr
from imaging.outputs.case import CaseResult

KINDS = ["axial", "descending", "prone", "oblique", "sheared"]


def groups_of(path):
    """Measurement groups of an SR, found by highdicom."""
    document = hdsr.srread(path)
    assert isinstance(document, hdsr.Comprehensive3DSR)
    return document.content.get_planar_roi_measurement_groups()


@pytest.mark.pacs
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("findings", [0, 1, 3])
def test_the_validator_finds_nothing(build, tmp_path, dciodvfy, kind, findings):
    case = build.case(kind, findings)
    assert dciodvfy(sr.write(case, tmp_path)["sr.dcm"]) == []
    if findings:
        assert dciodvfy(seg.write(case, tmp_path)["seg.dcm"]) == []


@pytest.mark.pacs
@pytest.mark.parametrize("kind", KINDS)
def test_sr_says_where_and_what(build, tmp_path, kind):
    case = build.case(kind)
    groups = groups_of(sr.write(case, tmp_path)["sr.dcm"])
    assert len(groups) == 2
    for group, finding in zip(groups, case.report.findings, strict=True):
        assert group.tracking_uid == finding.tracking_uid
        assert group.finding_type == codes.NODULE
        region = group.roi
        assert region.frame_of_reference_uid == case.volume.grid.frame_of_reference_uid
        assert region.graphic_type == hdsr.GraphicTypeValues3D.POINT
        assert np.abs(region.value - finding.centre_mm).max() < 0.001
        score = group.get_measurements(name=codes.CERTAINTY)[0]
        assert score.value == pytest.approx(100 * finding.score, rel=1e-12)
    first, second = groups
    measured = {item.name.meaning: (item.value, item.unit.value) for item in first.get_measurements()}
    assert measured["Diameter"] == (7.25, "mm")
    assert measured["Long axis"] == (8.5, "mm")
    assert measured["Volume"] == (199.53, "mm3")
    assert measured["Mean Attenuation Coefficient"] == (-12.5, "[hnsf'U]")
    assert len(second.get_measurements()) == 1
    assert first.finding_sites[0].value == codes.ZONES["upper"]
    assert first.finding_sites[0].laterality == codes.SIDES["right"]
    assert second.finding_sites[0].value == codes.LUNG


@pytest.mark.pacs
def test_sr_carries_patient_study_evidence_and_model(case, tmp_path):
    path = sr.write(case, tmp_path)["sr.dcm"]
    dataset = pydicom.dcmread(path)
    assert (dataset.PatientID, str(dataset.PatientName)) == ("MRN-77-4711", "ANDERSON^Zebulon")
    assert (dataset.StudyInstanceUID, dataset.AccessionNumber) == (case.report.study_instance_uid, "A1")
    evidence = {item[2] for item in hdsr.srread(path).get_evidence(current_procedure_only=True)}
    assert evidence == {instance.sop_instance_uid for instance in case.volume.origin.instances}
    text = dataset.to_json()
    for words in ("nodulus-vit-s", "cd" * 32, "not for diagnosis", "1.9", case.report.notices[0].message):
        assert words in text
    assert (dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )


@pytest.mark.pacs
def test_a_scan_without_findings_gets_a_real_report(negative, tmp_path):
    path = sr.write(negative, tmp_path)["sr.dcm"]
    document = hdsr.srread(path)
    (group,) = document.content.get_image_measurement_groups()
    (evaluation,) = group.get_qualitative_evaluations(name=codes.SUMMARY)
    assert evaluation.value == codes.WITHOUT_FINDINGS
    assert group.finding_type is None
    assert "27925004" not in pydicom.dcmread(path).to_json()
    assert len(group.source_images) == negative.volume.grid.shape[0]
    assert len(document.get_evidence(current_procedure_only=True)) == negative.volume.grid.shape[0]


@pytest.mark.pacs
@pytest.mark.parametrize("kind", KINDS)
def test_seg_lies_where_the_outlines_lie(build, tmp_path, kind):
    case = build.case(kind)
    grid = case.volume.grid
    dataset = hdseg.segread(seg.write(case, tmp_path)["seg.dcm"])
    assert dataset.NumberOfFrames == 2 * grid.shape[0]
    frames = dataset.pixel_array
    found: dict[int, list[tuple[float, ...]]] = {1: [], 2: []}
    for frame, item in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        corner = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        orientation = np.array(
            dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient, float
        )
        row_mm, column_mm = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        for row, column in np.argwhere(frame):
            point = corner + orientation[:3] * column_mm * column + orientation[3:] * row_mm * row
            found[number].append(tuple(point))
    for number, points in found.items():
        expected = grid.to_mm(np.argwhere(case.nodules == number))
        assert len(points) == len(expected)
        order = np.lexsort(np.round(expected, 3).T)
        assert np.abs(np.array(points)[np.lexsort(np.round(points, 3).T)] - expected[order]).max() < 0.01


@pytest.mark.pacs
def test_seg_names_its_sources_and_shares_tracking_with_the_sr(case, tmp_path):
    dataset = hdseg.segread(seg.write(case, tmp_path)["seg.dcm"])
    assert dataset.BodyPartExamined == "CHEST"
    groups = groups_of(sr.write(case, tmp_path)["sr.dcm"])
    assert [item.TrackingUID for item in dataset.SegmentSequence] == [group.tracking_uid for group in groups]
    assert [item.TrackingID for item in dataset.SegmentSequence] == [group.tracking_identifier for group in groups]
    assert dataset.SegmentSequence[0].AnatomicRegionSequence[0].AnatomicRegionModifierSequence[0].CodeMeaning == "Right"
    uids = {instance.sop_instance_uid for instance in case.volume.origin.instances}
    assert {uid for _, _, uid in dataset.get_source_image_uids()} == uids
    for item in dataset.PerFrameFunctionalGroupsSequence:
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        index = round(case.volume.grid.to_index(item.PlanePositionSequence[0].ImagePositionPatient)[0])
        assert source.ReferencedSOPInstanceUID == case.volume.origin.instances[index].sop_instance_uid


@pytest.mark.pacs
def test_seg_of_highdicom_as_a_volume_has_the_grid_of_the_ct(build, tmp_path):
    case = build.case("descending")
    volume = hdseg.segread(seg.write(case, tmp_path)["seg.dcm"]).get_volume(combine_segments=True)
    for finding in case.report.findings:
        index = np.rint(volume.map_reference_to_indices(np.array([finding.centre_mm]))[0]).astype(int)
        assert volume.array[tuple(index)] == finding.number


def test_segments_are_consecutive_even_if_numbers_are_not(case):
    findings = tuple(replace(f, number=n) for f, n in zip(case.report.findings, (2, 5), strict=True))
    nodules = np.array([0, 2, 5], np.uint8)[case.nodules]
    dataset = seg.segmentation(replace(case, report=replace(case.report, findings=findings), nodules=nodules))
    assert [item.SegmentNumber for item in dataset.SegmentSequence] == [1, 2]
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["Nodule 2", "Nodule 5"]


@pytest.mark.pacs
def test_a_finding_without_an_outline_has_no_segment(case, tmp_path, dciodvfy):
    case = replace(case, nodules=np.where(case.nodules == 1, 0, case.nodules).astype(np.uint8))
    path = seg.write(case, tmp_path)["seg.dcm"]
    assert dciodvfy(path) == []
    dataset = hdseg.segread(path)
    assert [item.SegmentLabel for item in dataset.SegmentSequence] == ["Nodule 2"]
    assert dataset.pixel_array.sum() == (case.nodules == 2).sum()


def test_a_seg_without_findings_is_refused(negative, tmp_path):
    with pytest.raises(UsageError) as caught:
        seg.write(negative, tmp_path)
    assert caught.value.code == "outputs.no_findings"


def test_beyond_the_limit_empty_frames_are_left_out(case, monkeypatch):
    monkeypatch.setattr(seg, "MOST_FRAMES", 10)
    slices = [np.unique(np.nonzero(case.nodules == number)[0]).size for number in (1, 2)]
    assert seg.segmentation(case).NumberOfFrames == sum(slices)


def enhanced(case: CaseResult, frames: list[int]) -> CaseResult:
    """The case as if its slices were frames of one enhanced multi-frame CT."""
    instances = tuple(Instance("1.2.840.10008.5.1.4.1.1.2.1", "1.2.3.4.5", number) for number in frames)
    return replace(case, volume=replace(case.volume, origin=replace(case.volume.origin, instances=instances)))


@pytest.mark.pacs
@pytest.mark.parametrize("first", [1, 4])
def test_a_multi_frame_source_is_named_frame_by_frame(case, tmp_path, dciodvfy, first):
    case = enhanced(case, [first + index for index in range(case.volume.grid.shape[0])][::-1])
    assert dciodvfy(sr.write(case, tmp_path)["sr.dcm"]) == []
    path = seg.write(case, tmp_path)["seg.dcm"]
    assert dciodvfy(path) == []
    for item in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        index = round(case.volume.grid.to_index(item.PlanePositionSequence[0].ImagePositionPatient)[0])
        assert source.ReferencedFrameNumber == case.volume.origin.instances[index].frame_number


HOSTILE = {
    "empty id": {"PatientID": ""},
    "no id": {"PatientID": None},
    "nothing": dict.fromkeys(
        ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"), None
    ),
    "no date": {"StudyDate": None, "StudyTime": ""},
    "broken dates": {"StudyDate": "2020-13-77", "StudyTime": "25:99", "PatientBirthDate": "unknown"},
    "old date": {"StudyDate": "2020.01.02"},
    "long": {"StudyDescription": "x" * 500, "StudyID": "y" * 40, "AccessionNumber": "z" * 99},
    "long name": {"PatientName": "N" * 300},
    "names": {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう", "ReferringPhysicianName": "Müller^Jörg"},
    "many names": {"PatientName": "a=b=c=d=e"},
    "lost letters": {"PatientName": "M\ufffdller", "StudyDescription": "\udce4"},
    "sex": {"PatientSex": "female"},
    "control": {"StudyDescription": "a\x00b\x1b[31m\nc\\d"},
    "several": {"StudyDescription": ["one", "two"], "AccessionNumber": ["1", "2"]},
    "numbers": {"PatientWeight": "heavy", "PatientAge": "old", "PatientSize": "1e400000"},
    "identity": {"PatientIdentityRemoved": "YES"},
    "identity told": {"PatientIdentityRemoved": "YES", "DeidentificationMethod": "by hand"},
    "identity odd": {"PatientIdentityRemoved": "MAYBE", "DeidentificationMethod": "by hand"},
}


@pytest.mark.pacs
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("changes", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_give_valid_results(build, tmp_path, dciodvfy, changes):
    header = build.header()
    for name, value in changes.items():
        if value is None:
            delattr(header, name)
        elif pydicom.datadict.dictionary_VR(name) == "DS":  # as it lies in a file, not yet looked at
            tag, raw = pydicom.tag.Tag(name), value.encode()
            header[tag] = pydicom.dataelem.RawDataElement(tag, "DS", len(raw), raw, 0, False, True)
        else:
            with pydicom.config.disable_value_validation():
                setattr(header, name, value)
    case = build.case(header=header)
    assert dciodvfy(sr.write(case, tmp_path)["sr.dcm"]) == []
    path = seg.write(case, tmp_path)["seg.dcm"]
    assert dciodvfy(path) == []
    assert str(pydicom.dcmread(path).get("PatientID", "")) in ("MRN-77-4711", "")


def test_names_in_any_script_come_through(build, tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    path = sr.write(build.case(header=build.header(PatientName=name)), tmp_path)["sr.dcm"]
    assert str(pydicom.dcmread(path).PatientName) == name


@pytest.mark.parametrize(("charset", "raw", "name"), [("ISO_IR 100", b"M\xfcller^J\xf6rg", "Müller^Jörg")])
def test_the_source_character_set_is_understood(build, tmp_path, charset, raw, name):
    source = build.header(SpecificCharacterSet=charset)
    source.PatientName = raw.decode("latin-1")
    content = BytesIO()
    pydicom.dcmwrite(content, source, implicit_vr=False, little_endian=True, force_encoding=True)
    header = pydicom.dcmread(BytesIO(content.getvalue()), force=True)
    path = sr.write(build.case(header=header), tmp_path)["sr.dcm"]
    assert str(pydicom.dcmread(path).PatientName) == name


def test_what_was_left_empty_is_named_but_never_shown(build):
    with pydicom.config.disable_value_validation():
        header = build.header(PatientName="SECRET" * 40, StudyDate="yesterday", StudyDescription="fine")
    _, notices = dicom_source.clean_header(build.case(header=header).volume.origin)
    assert [notice.code for notice in notices] == ["outputs.header_repaired"] * 2
    assert [notice.message.split()[0] for notice in notices] == ["PatientName", "StudyDate"]
    assert "SECRET" not in str(notices)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "changes",
    [
        {"PatientID": "7" * 65},
        {"PatientID": ["1", "2"]},
        {"StudyInstanceUID": "not a uid"},
        {"SeriesInstanceUID": "1..2"},
    ],
)
def test_an_identity_that_cannot_be_copied_is_refused(build, tmp_path, changes):
    with pydicom.config.disable_value_validation():
        header = build.header(**changes)
    with pytest.raises(OutputError) as caught:
        sr.write(build.case(header=header), tmp_path)
    assert caught.value.code == "outputs.header_unusable"
    assert "7777" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_ct_without_a_frame_of_reference_is_refused(case, tmp_path):
    grid = replace(case.volume.grid, frame_of_reference_uid=None)
    with pytest.raises(OutputError) as caught:
        sr.write(replace(case, volume=replace(case.volume, grid=grid)), tmp_path)
    assert caught.value.code == "outputs.header_unusable"
    assert "FrameOfReferenceUID" in caught.value.message


@pytest.mark.parametrize("kind", ["dicom", "nifti"])
def test_a_source_without_instances_is_refused(build, kind):
    case = build.case(dicom=kind == "dicom")
    if kind == "dicom":
        case = replace(case, volume=replace(case.volume, origin=replace(case.volume.origin, instances=())))
    with pytest.raises(OutputError) as caught:
        dicom_source.read_source(case.volume)
    assert caught.value.code == "outputs.header_unusable"


def test_several_multi_frame_instances_are_refused(case):
    case = enhanced(case, list(range(1, case.volume.grid.shape[0] + 1)))
    instances = (*case.volume.origin.instances[:-1], Instance("1.2.840.10008.5.1.4.1.1.2.1", "9.9.9", 1))
    volume = replace(case.volume, origin=replace(case.volume.origin, instances=instances))
    with pytest.raises(OutputError, match="several"):
        dicom_source.read_source(volume)


def test_more_instances_than_slices_still_give_results(case, tmp_path):
    origin = case.volume.origin
    instances = (*origin.instances, Instance("1.2.840.10008.5.1.4.1.1.2", "1.2.9.9"))
    case = replace(case, volume=replace(case.volume, origin=replace(origin, instances=instances)))
    assert len(groups_of(sr.write(case, tmp_path)["sr.dcm"])) == 2
    assert seg.segmentation(case).NumberOfFrames == 2 * case.volume.grid.shape[0]


def test_uids_follow_from_the_content(case, negative):
    uids = [dicom_source.result_uid(case.report, what) for what in ("sr instance", "sr series", "seg instance")]
    assert len(set(uids)) == 3
    assert all(hd.UID(uid).is_valid and len(uid) <= 64 for uid in uids)
    later = replace(case.report, provenance=replace(case.report.provenance, created="2030-01-01"))
    assert dicom_source.result_uid(later, "sr instance") == uids[0]
    assert dicom_source.result_uid(negative.report, "sr instance") != uids[0]


def test_every_code_is_one_of_the_standards():
    for name, code in [*vars(codes).items(), *codes.SIDES.items(), *codes.ZONES.items()]:
        if not isinstance(code, pydicom.sr.coding.Code) or code == codes.DECISION:
            continue  # a reader's decision has no code in the standard
        known = [entry[code.value][0] for entry in concepts[code.scheme_designator].values() if code.value in entry]
        assert any(code.meaning.lower() == meaning.lower() for meaning in known), (name, code, known)


def test_codes_of_our_own_say_that_they_are():
    own = (codes.DECISION, *codes.DECISIONS.values())
    assert {code.scheme_designator for code in own} == {"99NODULUS"}
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in own)


def test_a_data_set_without_values_is_cleaned_without_complaint(build):
    origin = replace(build.case().volume.origin, header=Dataset())
    clean, notices = dicom_source.clean_header(origin)
    assert notices == ()
    assert (clean.PatientID, clean.StudyInstanceUID, clean.SeriesInstanceUID) == (
        "",
        origin.study_instance_uid,
        origin.seriesuid,
    )
