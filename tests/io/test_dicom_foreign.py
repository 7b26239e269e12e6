"""SEG and SR as another product builds them: planar contours on slices, several kinds of groups, no tracking UID."""

from __future__ import annotations

import highdicom as hd
import numpy as np
import pytest
from highdicom import sr
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from imaging import read_volume
from imaging.errors import InputError
from imaging.geometry import Grid, Volume
from imaging.io.dicom_results import read_outside_result
from imaging.simulation.dicom_series import write_series

#: LPS mm on voxel centres of the CT below, and diameters in mm.
CIRCLE, POLYLINE, OUTLINED = (-12.0, 9.0, -60.0), (18.0, -12.0, -40.0), (9.0, 15.0, -75.0)


@pytest.fixture(scope="module")
def ct(tmp_path_factory):
    """A small CT read back from DICOM, and its data sets in the order of the volume's slices."""
    folder = tmp_path_factory.mktemp("foreign") / "ct"
    grid = Grid.from_spacing((24, 40, 48), spacing_mm=(2.5, 1.5, 1.5), origin_mm=(-36.0, -30.0, -90.0))
    write_series(Volume(np.full(grid.shape, -800, np.float32), grid), folder, rng=np.random.default_rng(1))
    volume = read_volume(folder)
    by_uid = {}
    for path in folder.rglob("*"):
        if path.is_file():
            dataset = dcmread(path)
            by_uid[dataset.SOPInstanceUID] = dataset
    return volume, [by_uid[instance.sop_instance_uid] for instance in volume.origin.instances]


def pixel(dataset, point_mm):
    """(column, row) in DICOM's image coordinates, where the middle of the first pixel is (0.5, 0.5)."""
    origin, (row_spacing, column_spacing) = np.array(dataset.ImagePositionPatient, float), dataset.PixelSpacing
    along_row, along_column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    away = np.asarray(point_mm) - origin
    return np.array([away @ along_row / column_spacing, away @ along_column / row_spacing]) + 0.5


def slice_of(images, point_mm):
    return min(images, key=lambda d: abs(float(d.ImagePositionPatient[2]) - point_mm[2]))


def region(images, point_mm, kind, radius_pixels=4):
    image = slice_of(images, point_mm)
    middle = pixel(image, point_mm)
    if kind == "CIRCLE":
        data = np.array([middle, middle + np.array([radius_pixels, 0])])
    else:
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
        data = middle + corners * radius_pixels
    return sr.ImageRegion(kind, data, sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID))


def identifier(name):
    return sr.TrackingIdentifier(uid=hd.UID(), identifier=name)


def millimetres(name, value):
    return sr.Measurement(name=name, value=value, unit=codes.UCUM.Millimeter)


def report_of(images, groups, path, *, others=()):
    person = sr.PersonObserverIdentifyingAttributes(name="Observer^Another")
    observer = sr.ObserverContext(codes.DCM.Person, person)
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    document = sr.ComprehensiveSR(
        evidence=[*images, *others],
        content=content,
        series_instance_uid=hd.UID(),
        series_number=77,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Another",
        manufacturer_model_name="Reader 9",
        is_complete=True,
        is_verified=False,
    )
    strip_tracking_uids(document.ContentSequence)
    document.save_as(path)
    return path


def strip_tracking_uids(items):
    """Many products give a tracking identifier only."""
    for item in items:
        if "ContentSequence" in item:
            kept = [row for row in item.ContentSequence if row.ConceptNameCodeSequence[0].CodeValue != "112040"]
            item.ContentSequence = kept
            strip_tracking_uids(kept)


def test_contours_on_slices_become_points_in_millimetres(ct, tmp_path):
    """SCOORD: pixels of a slice, a circle and a polyline, in a planar and in a volumetric group."""
    volume, images = ct
    planar = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("lesion A"),
        referenced_region=region(images, CIRCLE, "CIRCLE"),
        finding_type=codes.SCT.Nodule,
        measurements=[millimetres(codes.SCT.LongAxis, 11.5)],
    )
    above, below = (POLYLINE[0], POLYLINE[1], POLYLINE[2] + 2.5), (POLYLINE[0], POLYLINE[1], POLYLINE[2] - 2.5)
    volumetric = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("lesion B"),
        referenced_regions=[region(images, point, "POLYLINE") for point in (above, POLYLINE, below)],
        finding_type=codes.SCT.Nodule,
        measurements=[
            sr.Measurement(name=codes.SCT.Volume, value=400.0, unit=Code("mm3", "UCUM", "cubic millimeter")),
            millimetres(codes.SCT.Diameter, 9.1),
        ],
    )
    result = read_outside_result(report_of(images, [planar, volumetric], tmp_path / "sr.dcm"), volume)
    assert result.by == "Another Reader 9"
    first, second = result.findings
    np.testing.assert_allclose(first.centre_mm, CIRCLE, atol=0.01)
    np.testing.assert_allclose(second.centre_mm, POLYLINE, atol=0.01)
    assert (first.diameter_mm, second.diameter_mm, second.volume_mm3) == (11.5, 9.1, 400.0)
    assert first.tracking_uid != second.tracking_uid
    again = read_outside_result(tmp_path / "sr.dcm", volume)
    assert [f.tracking_uid for f in again.findings] == [f.tracking_uid for f in result.findings]


def test_a_circle_without_any_measure_has_its_own_diameter(ct, tmp_path):
    volume, images = ct
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("C"), referenced_region=region(images, CIRCLE, "CIRCLE", radius_pixels=4)
    )
    path = report_of(images, [group], tmp_path / "sr.dcm")
    (finding,) = read_outside_result(path, volume).findings
    assert finding.diameter_mm == pytest.approx(2 * 4 * 1.5)


SCT, SRT = "SCT", "SRT"
LEFT, RIGHT, BOTH = Code("7771000", SCT, "Left"), Code("G-A100", SRT, "Right"), Code("51440002", SCT, "Right and left")


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([(("39607008", SCT, "Lung"), LEFT)], ("left", None)),
        ([(("T-28000", SRT, "Lunge"), Code("G-A101", SRT, "Links"))], ("left", None)),
        ([(("39607008", SCT, "Lung"), BOTH)], (None, None)),
        ([(("281394001", SCT, "Unterfeld"), RIGHT)], ("right", "lower")),
        ([(("RID9999", "RADLEX", "Middle zone of left lung"), None)], ("left", "middle")),
        ([(("3341006", SCT, "Right lung"), None)], ("right", None)),
        ([(("44714003", SCT, "Upper lobe of left lung"), None)], ("left", None)),  # a lobe is no third of the height
        ([(("45653009", SCT, "Upper lobe of lung"), RIGHT)], ("right", None)),
        ([(("3341006", SCT, "Right lung"), None), (("44029006", SCT, "Left lung"), None)], (None, None)),
        ([(("76752008", SCT, "Breast"), LEFT)], (None, None)),
        ([], (None, None)),
    ],
)
def test_the_site_of_a_finding_is_read_as_products_write_it(ct, tmp_path, sites, expected):
    volume, images = ct
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("D"),
        referenced_region=region(images, CIRCLE, "CIRCLE"),
        finding_sites=[sr.FindingSite(Code(*site), laterality=side) for site, side in sites] or None,
    )
    (finding,) = read_outside_result(report_of(images, [group], tmp_path / "sr.dcm"), volume).findings
    assert (finding.side, finding.zone) == expected


def a_segmentation(images, mask, path, kind=hd.seg.SegmentationTypeValues.FRACTIONAL):
    description = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="lesion",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Nodule,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    segmentation = hd.seg.Segmentation(
        source_images=images,
        pixel_array=mask.astype(np.float32 if kind.value == "FRACTIONAL" else np.uint8),
        segmentation_type=kind,
        max_fractional_value=200,
        segment_descriptions=[description],
        series_instance_uid=hd.UID(),
        series_number=78,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="Another",
        manufacturer_model_name="Painter 3",
        software_versions="3",
        device_serial_number="1",
        omit_empty_frames=True,
    )
    segmentation.save_as(path)
    return segmentation


def a_group_on_a_segment(volume, images, folder):
    mask = np.zeros(volume.grid.shape, bool)
    mask[6:9, 28:33, 28:33] = True
    binary = a_segmentation(images, mask, folder / "seg.dcm", hd.seg.SegmentationTypeValues.BINARY)
    group = sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("D"),
        referenced_segment=sr.ReferencedSegment(
            binary.SOPClassUID, binary.SOPInstanceUID, 1, source_series=sr.SourceSeriesForSegmentation(volume.seriesuid)
        ),
    )
    return group, binary


def test_a_report_whose_places_stand_in_a_segmentation_is_never_taken_for_an_empty_one(ct, tmp_path):
    volume, images = ct
    elsewhere, binary = a_group_on_a_segment(volume, images, tmp_path)
    with pytest.raises(InputError, match=r"result\.unreadable.*segmentation"):
        read_outside_result(report_of(images, [elsewhere], tmp_path / "sr.dcm", others=[binary]), volume)
    here = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("A"), referenced_region=region(images, CIRCLE, "CIRCLE")
    )
    result = read_outside_result(report_of(images, [here, elsewhere], tmp_path / "both.dcm", others=[binary]), volume)
    assert len(result.findings) == 1
    assert [notice.code for notice in result.notices] == ["result.unplaced"]


def test_outlines_on_slices_need_the_ct(ct, tmp_path):
    _, images = ct
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("A"), referenced_region=region(images, CIRCLE, "CIRCLE")
    )
    with pytest.raises(InputError, match=r"result\.unreadable"):
        read_outside_result(report_of(images, [group], tmp_path / "sr.dcm"))


def test_results_of_another_series_are_refused_by_the_viewer(ct, tmp_path):
    from dataclasses import replace

    from pipelines.viewer.results import show_outside
    from pipelines.viewer.session import Session

    volume, images = ct
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier("A"), referenced_region=region(images, CIRCLE, "CIRCLE")
    )
    report_of(images, [group], tmp_path / "sr.dcm")
    a_segmentation(images, np.ones(volume.grid.shape, bool), tmp_path / "seg.dcm")
    other = Session(replace(volume, origin=replace(volume.origin, seriesuid="1.2.3", instances=())))
    for name in ("sr.dcm", "seg.dcm"):
        with pytest.raises(InputError, match=r"result\.other_series"):
            show_outside(other, tmp_path / name, folder=tmp_path / "kept")
    assert (other.maps, other.report) == ({}, None)
    session = Session(volume)
    show_outside(session, tmp_path / "seg.dcm", folder=tmp_path / "kept")
    show_outside(session, tmp_path / "sr.dcm", folder=tmp_path / "kept")
    np.testing.assert_allclose(session.findings[0].finding.centre_mm, CIRCLE, atol=0.01)
    assert session.maps["segmentation"].all(), "the list must not take the outline away"


def test_a_fractional_segmentation_with_frames_left_out_lies_in_its_place(ct, tmp_path):
    volume, images = ct
    index = np.rint(volume.grid.to_index(OUTLINED)).astype(int)
    mask = np.zeros(volume.grid.shape, bool)
    mask[tuple(slice(i - 1, i + 2) for i in index)] = True
    a_segmentation(images, mask, tmp_path / "seg.dcm")
    result = read_outside_result(tmp_path / "seg.dcm")
    assert result.by == "Another Painter 3"
    assert result.series == (volume.seriesuid,)
    voxels = result.grid.to_mm(np.argwhere(result.labels == 1))
    assert len(voxels) == 27
    np.testing.assert_allclose(voxels.mean(axis=0), volume.grid.to_mm(index), atol=0.01)
