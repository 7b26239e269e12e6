"""SEG and SR, ours and another program's, come back with their places."""

from __future__ import annotations

import numpy as np
import pytest

from imaging import read_volume
from imaging.errors import InputError
from imaging.findings import Finding, OperatingPoint, Report
from imaging.geometry import Grid, Volume
from imaging.io.dicom_results import is_outside_result, read_outside_result
from imaging.outputs import write_case
from imaging.outputs.case import CaseResult
from imaging.provenance import Provenance
from imaging.simulation.dicom_series import write_series

CENTRES = ((-10.0, 5.0, -70.0), (15.0, -12.0, -40.0))
SITES = [("right", "middle"), ("left", None)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small CT as DICOM with an SR and a SEG on it; the CT and the folder."""
    folder = tmp_path_factory.mktemp("outside")
    grid = Grid.from_spacing((24, 40, 48), spacing_mm=(2.5, 1.5, 1.5), origin_mm=(-36.0, -30.0, -90.0))
    write_series(Volume(np.full(grid.shape, -800, np.float32), grid), folder / "ct", rng=np.random.default_rng(1))
    volume = read_volume(folder / "ct")
    points = volume.grid.to_mm(np.stack(np.indices(volume.grid.shape), axis=-1))
    labels = np.zeros(volume.grid.shape, np.uint8)
    for number, centre in enumerate(CENTRES, start=1):
        labels[((points - np.asarray(centre)) ** 2).sum(axis=-1) <= 16] = number
    findings = tuple(
        Finding(n, f"2.25.{n}", centre, 0.9 - 0.3 * n, 0.0, diameter_mm=8.0, side=side, zone=zone)
        for n, (centre, (side, zone)) in enumerate(zip(CENTRES, SITES, strict=True), start=1)
    )
    report = Report(
        seriesuid=volume.seriesuid,
        study_instance_uid=volume.origin.study_instance_uid,
        study_date=None,
        findings=findings,
        notices=(),
        operating_point=OperatingPoint(0.3, None, "nothing"),
        provenance=Provenance("nodulus", None, "phantom", "0" * 64),
        grid=volume.grid.to_json(),
    )
    write_case(CaseResult(volume, report, None, labels), folder, formats=("sr", "seg"))
    return volume, labels, folder


def test_a_report_gives_back_points_sizes_and_scores(written):
    volume, _, folder = written
    result = read_outside_result(folder / "sr.dcm")
    assert [finding.tracking_uid for finding in result.findings] == ["2.25.1", "2.25.2"]
    for finding, centre in zip(result.findings, CENTRES, strict=True):
        np.testing.assert_allclose(finding.centre_mm, centre, atol=0.01)
        assert finding.diameter_mm == pytest.approx(8.0)
    assert [finding.score for finding in result.findings] == pytest.approx([0.6, 0.3])
    assert [(finding.side, finding.zone) for finding in result.findings] == SITES
    assert result.series == (volume.seriesuid,)
    assert "nodulus" in result.by.lower()


def test_a_segmentation_gives_back_its_voxels_at_their_places(written):
    volume, labels, folder = written
    result = read_outside_result(folder / "seg.dcm")
    for number, centre in enumerate(CENTRES, start=1):
        found = result.grid.to_mm(np.argwhere(result.labels == number))
        expected = volume.grid.to_mm(np.argwhere(labels == number))
        assert len(found) == len(expected)
        np.testing.assert_allclose(found.mean(axis=0), expected.mean(axis=0), atol=0.01)
        np.testing.assert_allclose(found.mean(axis=0), centre, atol=1.3)


def test_only_results_are_taken(written, tmp_path):
    _, _, folder = written
    ct = next((folder / "ct").rglob("*"))
    assert is_outside_result(folder / "sr.dcm")
    assert is_outside_result(folder / "seg.dcm")
    assert not is_outside_result(ct)
    (tmp_path / "text.dcm").write_text("no DICOM")
    assert not is_outside_result(tmp_path / "text.dcm")
    with pytest.raises(InputError, match=r"result\.unreadable"):
        read_outside_result(ct)


def test_a_damaged_report_is_refused(written, tmp_path):
    from pydicom import dcmread

    _, _, folder = written
    dataset = dcmread(folder / "sr.dcm")
    del dataset.ContentSequence
    dataset.save_as(tmp_path / "broken.dcm")
    with pytest.raises(InputError, match=r"result\.unreadable"):
        read_outside_result(tmp_path / "broken.dcm")


def test_a_report_of_another_product_without_a_score_counts_as_sure(written, tmp_path):
    from pydicom import dcmread

    _, _, folder = written
    dataset = dcmread(folder / "sr.dcm")
    dataset.Manufacturer, dataset.ManufacturerModelName = "Another", "Reader 9"

    def strip(items):
        for item in items:
            if "ContentSequence" in item:
                kept = [i for i in item.ContentSequence if i.ValueType != "NUM"]
                item.ContentSequence = kept
                strip(kept)

    strip(dataset.ContentSequence)
    dataset.save_as(tmp_path / "other.dcm")
    result = read_outside_result(tmp_path / "other.dcm")
    assert result.by == "Another Reader 9"
    assert [(f.score, f.diameter_mm) for f in result.findings] == [(1.0, None), (1.0, None)]


@pytest.mark.parametrize(
    ("header", "by"),
    [
        ({"Manufacturer": "Another"}, "Another"),
        ({"Manufacturer": "Another", "ManufacturerModelName": "Doe's CT"}, "Another …'s CT"),
        ({}, "nodulus"),  # the device that observed
        ({"ContentSequence": "Reader^Ada"}, "Reader Ada"),
        ({"ContentSequence": "Doe^Jane"}, "an unnamed product"),
    ],
)
def test_who_made_a_report_is_told_without_the_patients_name(written, tmp_path, header, by):
    from pydicom import dcmread

    _, _, folder = written
    dataset = dcmread(folder / "sr.dcm")
    dataset.PatientName, dataset.Manufacturer, dataset.ManufacturerModelName = "Doe^Jane", "", ""
    for keyword, value in header.items():
        if keyword == "ContentSequence":
            named = next(i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "121013")
            named.ConceptNameCodeSequence[0].CodeValue, named.ValueType, named.PersonName = "121008", "PNAME", value
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "other.dcm")
    assert read_outside_result(tmp_path / "other.dcm").by == by
