"""From DICOM files to DICOM results: the simulated series and a real CT, results laid over the files they came from."""

from __future__ import annotations

import csv
import shutil
import subprocess
from dataclasses import replace

import highdicom as hd
import nibabel
import numpy as np
import pydicom
import pytest
from highdicom import seg as hdseg

import imaging
from imaging.findings import Finding
from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.outputs import DEFAULT_FORMATS, CaseResult, write_case
from imaging.simulation.dicom_series import write_series


def case_of(volume: Volume, findings: tuple[Finding, ...], build) -> CaseResult:
    """A case of a volume that was read from files, a ball outlined around each finding."""
    nodules = np.zeros(volume.grid.shape, np.uint8)
    for finding in findings:
        low = np.maximum(np.floor(volume.grid.to_index(finding.centre_mm)).astype(int) - 12, 0)
        high = np.minimum(low + 25, volume.grid.shape)
        index = np.moveaxis(np.indices(high - low), 0, -1) + low
        near = np.linalg.norm(volume.grid.to_mm(index) - finding.centre_mm, axis=-1) <= (finding.diameter_mm or 6.0) / 2
        nodules[tuple(slice(a, b) for a, b in zip(low, high, strict=True))][near] = finding.number
    report = replace(
        build.report(volume.grid, findings),
        seriesuid=volume.seriesuid,
        study_instance_uid=volume.origin.study_instance_uid,
        notices=volume.warnings,
    )
    return CaseResult(volume, report, None, nodules, (nodules > 0).astype(np.float32))


def validate(path, require_tool) -> list[str]:
    """What dciodvfy calls an error."""
    require_tool(shutil.which("dciodvfy"), "dciodvfy (dicom3tools)")
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


@pytest.mark.pacs
@pytest.mark.parametrize("kind", ["axial", "descending", "sheared"])
def test_results_lie_over_the_files_they_came_from(build, tmp_path, require_tool, kind):
    planted = build.case(kind)
    files = write_series(Volume(planted.volume.array, planted.volume.grid), tmp_path / "ct")
    case = case_of(imaging.read_volume(tmp_path / "ct"), planted.report.findings, build)
    written = write_case(case, tmp_path / "out", formats=("sr", "seg"))
    assert [validate(path, require_tool) for path in written.values()] == [[], []]
    images = [pydicom.dcmread(path) for path in files]
    report, segments = (pydicom.dcmread(written[name]) for name in ("sr.dcm", "seg.dcm"))
    for result in (report, segments):
        for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate"):
            assert result.get(keyword, "") == images[0].get(keyword, ""), keyword
    evidence = {uid for _, _, uid, _ in hd.sr.srread(written["sr.dcm"]).get_evidence(current_procedure_only=True)}
    assert evidence == {image.SOPInstanceUID for image in images}
    masks = hdseg.segread(written["seg.dcm"]).get_pixels_by_source_instance(
        [image.SOPInstanceUID for image in images], combine_segments=True
    )
    for image, mask in zip(images, masks, strict=True):
        orientation = np.array(image.ImageOrientationPatient, float)
        for row, column in np.argwhere(mask)[::7]:
            point = (
                np.array(image.ImagePositionPatient, float)
                + orientation[:3] * image.PixelSpacing[1] * column
                + orientation[3:] * image.PixelSpacing[0] * row
            )
            finding = case.report.findings[mask[row, column] - 1]
            assert np.linalg.norm(point - finding.centre_mm) <= (finding.diameter_mm or 6.0) / 2 + 0.01
    assert (masks > 0).sum() == (case.nodules > 0).sum()


@pytest.mark.pacs
def test_results_of_an_enhanced_ct_name_its_frames(build, tmp_path, require_tool):
    planted = build.case("axial")
    (path,) = write_series(Volume(planted.volume.array, planted.volume.grid), tmp_path / "ct", enhanced=True)
    source = pydicom.dcmread(path)
    case = case_of(imaging.read_volume(tmp_path / "ct"), planted.report.findings, build)
    written = write_case(case, tmp_path / "out", formats=("sr", "seg"))
    assert [validate(result, require_tool) for result in written.values()] == [[], []]
    for item in pydicom.dcmread(written["seg.dcm"]).PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        frame = source.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
        theirs = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        ours = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        assert np.abs(theirs - ours).max() < 0.001


@pytest.mark.pacs
@pytest.mark.shared
def test_a_real_ct_gets_every_output(build, tmp_path, shared_data, require_tool):
    volume = imaging.read_volume(shared_data / "ct" / "LIDC-IDRI-0001.zip")
    with (shared_data / "ct" / "truth.csv").open() as stream:
        truth = next(row for row in csv.DictReader(stream) if row["seriesuid"] == volume.seriesuid)
    centre = tuple(float(truth[f"coord{axis}"]) for axis in "XYZ")
    finding = replace(build.findings(volume.grid, 1)[0], centre_mm=centre, diameter_mm=float(truth["diameter_mm"]))
    case = case_of(volume, (finding,), build)
    assert case.volume.array[case.nodules == 1].mean() > -300  # the outline lies on tissue
    written = write_case(case, tmp_path, formats=(*DEFAULT_FORMATS, "sr", "seg"))
    assert validate(written["sr.dcm"], require_tool) == []
    assert validate(written["seg.dcm"], require_tool) == []
    image = nibabel.load(written["nodules.nii.gz"])
    voxels = np.argwhere(image.get_fdata() == 1)
    middle = nibabel.affines.apply_affine(np.diag([-1, -1, 1, 1]) @ image.affine, voxels.mean(axis=0))
    assert np.linalg.norm(middle - centre) < 1.0


def test_a_resampled_ct_is_no_source_of_dicom_results(build, tmp_path):
    planted = build.case("sheared")
    write_series(Volume(planted.volume.array, planted.volume.grid), tmp_path / "ct")
    upright = imaging.read_volume(tmp_path / "ct").resampled()
    assert isinstance(upright.grid, Grid)
    case = case_of(upright, planted.report.findings, build)
    with pytest.raises(imaging.UsageError) as caught:
        write_case(case, tmp_path / "out", formats=("seg",))
    assert caught.value.code == "outputs.no_dicom_source"
