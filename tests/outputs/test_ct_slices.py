"""The slice a finding lies in, against the headers of the files as pydicom reads them and against the viewer."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import jsonschema
import nibabel
import numpy as np
import pydicom
import pytest

import imaging
from imaging.findings import CtSlice, Finding
from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.outputs import findings_csv, html, report_json, words, write_case
from imaging.outputs.ct_slices import find_slice, with_slices
from imaging.simulation.dicom_modules import SeriesOptions
from imaging.simulation.dicom_series import make_series, save, write_series
from pipelines.viewer.planes import PLANES
from pipelines.viewer.session import Session

UPRIGHT = ("axial", "descending", "prone")


def points_in(grid: Grid, count: int = 25) -> list[tuple[float, float, float]]:
    """Points all over a grid, its outer half voxels included, none midway between two slices."""
    rng = np.random.default_rng(5)
    index = rng.uniform(-0.49, np.array(grid.shape) - 0.51, (count, 3))
    index[:, 0] = np.rint(index[:, 0]) + rng.uniform(-0.45, 0.45, count)
    return [tuple(float(v) for v in point) for point in grid.to_mm(index)]


def plain(build, kind: str = "axial") -> Volume:
    volume = build.case(kind).volume
    return Volume(volume.array, volume.grid)


def nearest_image(images: list[pydicom.Dataset], point_mm) -> pydicom.Dataset:
    """The image whose plane is nearest to a point."""
    rows, columns = np.reshape([float(v) for v in images[0].ImageOrientationPatient], (2, 3))
    normal = np.cross(rows, columns)
    return min(images, key=lambda image: abs(normal @ (np.array(image.ImagePositionPatient, float) - point_mm)))


def position(image: pydicom.Dataset, images: list[pydicom.Dataset]) -> int:
    """From 1 at the feet."""
    return 1 + sum(float(one.ImagePositionPatient[2]) < float(image.ImagePositionPatient[2]) for one in images)


def viewer_counts(volume: Volume, point_mm) -> tuple[int, int]:
    """What stands under the pointer in the axial plane of `nodulus view`."""
    found = re.search(r"slice (\d+)/(\d+)$", Session(volume).readout(point_mm, PLANES["axial"]))
    assert found
    return int(found[1]), int(found[2])


# --- what is found ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
@pytest.mark.parametrize("kind", UPRIGHT)
def test_a_series_leads_to_the_file_whose_plane_is_nearest(build, tmp_path, kind, order):
    images = [pydicom.dcmread(path) for path in write_series(plain(build, kind), tmp_path, order=order)]
    volume = imaging.read_volume(tmp_path)
    session = Session(volume)
    for point in points_in(volume.grid):
        image = nearest_image(images, point)
        found = find_slice(volume, point)
        assert (found.instance_number, found.sop_instance_uid) == (image.InstanceNumber, image.SOPInstanceUID)
        assert (found.number, found.of, found.frame_number) == (position(image, images), len(images), None)
        readout = session.readout(point, PLANES["axial"])
        assert readout.endswith(f"slice {found.number}/{found.of}")


def test_a_tilted_series_leads_to_the_image_and_counts_nothing(build, tmp_path):
    """The viewer counts upright slices there, a workstation tilted ones."""
    images = [pydicom.dcmread(path) for path in write_series(plain(build, "sheared"), tmp_path)]
    volume = imaging.read_volume(tmp_path)
    for point in points_in(volume.grid):
        image, found = nearest_image(images, point), find_slice(volume, point)
        assert (found.instance_number, found.sop_instance_uid) == (image.InstanceNumber, image.SOPInstanceUID)
        assert (found.number, found.of) == (None, None)


def test_a_coronal_series_leads_to_its_image_and_counts_no_axial_slices(build, tmp_path):
    affine = np.zeros((4, 4))
    affine[:, 3] = (-20, -30, -100, 1)
    affine[1, 0], affine[2, 1], affine[0, 2] = 2.5, -0.7, 0.65
    volume = Volume(plain(build).array, Grid((24, 60, 64), affine, "1.2.3"))
    images = [pydicom.dcmread(path) for path in write_series(volume, tmp_path)]
    volume = imaging.read_volume(tmp_path)
    for point in points_in(volume.grid):
        image, found = nearest_image(images, point), find_slice(volume, point)
        assert (found.instance_number, found.number) == (image.InstanceNumber, None)


@pytest.mark.parametrize("order", ["sorted", "reversed", "shuffled"])
def test_a_multi_frame_ct_leads_to_the_frame(build, tmp_path, order):
    (path,) = write_series(plain(build), tmp_path, order=order, enhanced=True)
    dataset = pydicom.dcmread(path)
    z_mm = [float(f.PlanePositionSequence[0].ImagePositionPatient[2]) for f in dataset.PerFrameFunctionalGroupsSequence]
    volume = imaging.read_volume(tmp_path)
    for point in points_in(volume.grid):
        frame = int(np.argmin(np.abs(np.array(z_mm) - point[2])))
        expected = CtSlice(
            point,
            number=1 + sum(z < z_mm[frame] for z in z_mm),
            of=len(z_mm),
            frame_number=frame + 1,
            sop_instance_uid=dataset.SOPInstanceUID,
        )
        assert find_slice(volume, point) == expected


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)])
def test_a_nifti_of_any_axes_has_a_position_and_no_image(build, tmp_path, axes, signs):
    volume = plain(build)
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.affine
    turned = nibabel.Nifti1Image(volume.array, ras).as_reoriented(np.column_stack([axes, signs]))
    nibabel.save(turned, tmp_path / "ct.nii.gz")
    read = imaging.read_volume(tmp_path / "ct.nii.gz")
    for point in points_in(volume.grid):
        k = int(np.rint((point[2] + 150.0) / 2.5))  # the grid of the fixture begins at -150 mm, 2.5 mm apart
        assert find_slice(read, point) == CtSlice(point, number=k + 1, of=24)
        assert viewer_counts(read, point) == (k + 1, 24)


def test_midway_between_slices_every_format_says_the_same(build, tmp_path):
    volume = plain(build, "descending")
    write_series(volume, tmp_path / "dicom")
    nibabel.save(
        nibabel.Nifti1Image(volume.array, np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.affine), tmp_path / "ct.nii"
    )
    dicom, nifti = imaging.read_volume(tmp_path / "dicom"), imaging.read_volume(tmp_path / "ct.nii")
    for k in range(23):
        point = tuple(float(v) for v in volume.grid.to_mm([k + 0.5, 30, 30]))
        assert find_slice(dicom, point).number == find_slice(nifti, point).number


# --- what is left out ------------------------------------------------------------------------------------------------
def numbers(folder: Path, **options) -> list[int | None]:
    """The instance number found in the middle of each slice, from the feet."""
    volume = imaging.read_volume(folder, **options)
    assert volume.grid.affine[2, 0] > 0
    found = [find_slice(volume, tuple(volume.grid.to_mm([k, 30.0, 30.0]))) for k in range(volume.grid.shape[0])]
    return [None if one is None else one.instance_number for one in found]


@pytest.mark.parametrize("value", [None, "", "4\\5", 7])
def test_an_absent_or_doubled_number_is_left_out_and_the_uid_stays(build, tmp_path, value):
    datasets = make_series(plain(build))
    if value is None:
        del datasets[3].InstanceNumber
    else:
        datasets[3].InstanceNumber = value  # 7 is that of the seventh slice too
    save(datasets, tmp_path, names=[f"{k}" for k in range(24)])
    lost = {3, 6} if value == 7 else {3}
    assert numbers(tmp_path) == [None if k in lost else k + 1 for k in range(24)]
    volume = imaging.read_volume(tmp_path)
    found = find_slice(volume, tuple(volume.grid.to_mm([3, 30.0, 30.0])))
    assert (found.sop_instance_uid, found.number) == (datasets[3].SOPInstanceUID, 4)


@pytest.mark.parametrize("shift", [-3, -100])
def test_numbers_that_begin_anywhere_are_kept(build, tmp_path, shift):
    datasets = make_series(plain(build), numbers=[k + shift for k in range(24)])
    save(datasets, tmp_path, names=[f"{k}" for k in range(24)])
    assert numbers(tmp_path) == [k + shift for k in range(24)]


def test_a_scout_that_is_left_out_of_the_volume_makes_its_number_doubtful(build, tmp_path):
    datasets = make_series(plain(build))
    scout = pydicom.dcmread(save(datasets[:1], tmp_path)[0])
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    scout.ImageType, scout.InstanceNumber = ["ORIGINAL", "PRIMARY", "LOCALIZER"], 9
    save([*datasets, scout], tmp_path, names=[f"IM{k}" for k in range(25)])
    (tmp_path / "IM00001").unlink()
    assert numbers(tmp_path) == [None if k == 8 else k + 1 for k in range(24)]


def test_the_same_file_twice_is_one_image(build, tmp_path):
    datasets = make_series(plain(build))
    save(datasets, tmp_path / "a")
    save(datasets[:5], tmp_path / "b")
    assert numbers(tmp_path) == list(range(1, 25))


@pytest.mark.parametrize("offset", [0, 1, 1000])
def test_a_series_stored_twice_under_other_uids(build, tmp_path, offset):
    """Copies that bear the same numbers, or another slice's, leave no number that leads to one image."""
    datasets = make_series(plain(build))
    save(datasets, tmp_path / "a")
    for number, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.9.{number}"
        dataset.InstanceNumber += offset
    save(datasets, tmp_path / "b")
    volume = imaging.read_volume(tmp_path)
    found = numbers(tmp_path)
    own = {one.SOPInstanceUID: one.InstanceNumber for one in map(pydicom.dcmread, tmp_path.rglob("IM*"))}
    held = list(own.values())
    expected = [own[one.sop_instance_uid] for one in volume.origin.instances]
    assert found == [number if held.count(number) == 1 else None for number in expected]
    assert (offset == 1000) == (None not in found)


def test_two_phases_of_one_series_with_the_same_numbers_have_none(build, tmp_path):
    for phase in (1, 2):
        options = SeriesOptions(attributes={"TemporalPositionIdentifier": phase})
        datasets = make_series(plain(build), options)
        for number, dataset in enumerate(datasets):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{phase}.{number}"
        save(datasets, tmp_path / str(phase))
    (first, _) = imaging.list_series(tmp_path)
    assert numbers(tmp_path, series=first) == [None] * 24


def test_instances_that_share_a_uid_are_not_named(build):
    volume = build.case().volume
    one = volume.origin.instances[0]
    doubled = replace(volume, origin=replace(volume.origin, instances=(one, *(one,), *volume.origin.instances[2:])))
    found = [find_slice(doubled, tuple(volume.grid.to_mm([k, 30.0, 30.0]))) for k in range(3)]
    assert [f.sop_instance_uid for f in found] == [None, None, volume.origin.instances[2].sop_instance_uid]
    assert [f.number for f in found] == [1, 2, 3]


@pytest.mark.parametrize("dicom", [True, False])
def test_a_resampled_ct_has_no_slices_of_its_own(build, dicom):
    volume = build.case(dicom=dicom).volume
    assert find_slice(volume, volume.grid.centre_mm) is not None
    assert find_slice(volume.resampled((1.0, 1.0, 1.0)), volume.grid.centre_mm) is None


def test_filled_gaps_leave_no_slices_to_count(build, tmp_path):
    for path in write_series(plain(build), tmp_path, order="sorted")[9:11]:
        path.unlink()
    assert numbers(tmp_path, uneven="interpolate") == [None] * 24


def test_an_oblique_nifti_has_nothing_and_no_point_outside_has(build):
    oblique = build.case("oblique", dicom=False).volume
    assert find_slice(oblique, oblique.grid.centre_mm) is None
    volume = build.case().volume
    for index in ([-0.6, 30, 30], [23.6, 30, 30], [5, -0.6, 30], [5, 30, 63.6]):
        assert find_slice(volume, tuple(volume.grid.to_mm(index))) is None


# --- what is written -------------------------------------------------------------------------------------------------
@pytest.fixture
def from_series(build, tmp_path):
    """A case whose CT was read from a shuffled series, and its images."""
    planted = build.case()
    paths = write_series(Volume(planted.volume.array, planted.volume.grid), tmp_path / "ct")
    volume = imaging.read_volume(tmp_path / "ct")
    return replace(planted, volume=volume), [pydicom.dcmread(path) for path in paths]


def test_every_output_names_the_image_and_the_slice(from_series, tmp_path):
    case, images = from_series
    written = write_case(case, tmp_path / "out", formats=("csv", "json", "html"))
    values = json.loads(written["report.json"].read_text())
    jsonschema.validate(values, report_json.schema())
    with written["findings.csv"].open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    page = written["report.html"].read_text()
    for row, finding in zip(rows, values["findings"], strict=True):
        image = nearest_image(images, finding["centre_lps_mm"])
        place = position(image, images)
        assert finding["slice"] == {
            "number": place,
            "of": 24,
            "instance_number": image.InstanceNumber,
            "frame_number": None,
            "sop_instance_uid": image.SOPInstanceUID,
        }
        cells = (row["slice_number"], row["slice_of"], row["instance_number"], row["frame_number"])
        assert cells == (str(place), "24", str(image.InstanceNumber), "")
        assert f"image {image.InstanceNumber}<br>slice {place} of 24</td>" in page
        assert (
            f"zone, image {image.InstanceNumber}, slice {place} of 24 from the feet</span>" in page
            or finding["number"] == 2
        )
    assert images[0].SOPInstanceUID not in page + written["findings.csv"].read_text()
    again = report_json.read(written["report.json"])
    assert [f.ct_slice for f in again.findings] == [f.ct_slice for f in case.report.findings]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"number": 54, "of": 120, "instance_number": 67}, "   ·   image 67, slice 54 of 120 from the feet   ·   LPS"),
        ({"number": 54, "of": 120, "frame_number": 3}, "   ·   frame 3, slice 54 of 120 from the feet   ·   LPS"),
        ({"number": 54, "of": 120}, "   ·   slice 54 of 120 from the feet   ·   LPS"),
        ({"instance_number": 0}, "   ·   image 0   ·   LPS"),
        ({"sop_instance_uid": "1.2"}, "site unknown   ·   LPS"),
        (None, "site unknown   ·   LPS"),
    ],
)
def test_the_line_over_a_picture_names_what_is_sure(values, text):
    centre = (1.0, 2.0, 3.0)
    ct_slice = None if values is None else CtSlice(centre, **values)
    line = words.finding_line(Finding(1, "2.25.1", centre, 0.9, 2.0, ct_slice=ct_slice))
    assert text in line
    assert line.count("   ·   ") == (3 if "site" in text else 4)


def test_without_a_sure_slice_the_table_and_the_page_leave_it_empty(build):
    case = build.case("oblique", dicom=False)
    rows = findings_csv.rows(case.report)
    assert {row[name] for row in rows for name in ("slice_number", "slice_of", "instance_number", "frame_number")} == {
        ""
    }
    assert case.report.to_json()["findings"][0]["slice"] is None
    assert '<td class="nowrap">–</td>\n    <td>−' in html.page(case)


def test_a_finding_that_is_moved_does_not_keep_its_slice(from_series):
    case, _ = from_series
    finding = case.report.findings[0]
    x, y, z = finding.centre_mm
    assert finding.ct_slice is not None
    assert replace(finding, score=0.5).ct_slice == finding.ct_slice
    moved = replace(finding, centre_mm=(x, y, z + 5.0))
    assert moved.ct_slice is None
    (again, *_) = with_slices(replace(case.report, findings=(moved,)), case.volume).findings
    assert again.ct_slice.number == finding.ct_slice.number + 2  # 5 mm of slices 2.5 mm apart


def test_a_case_tells_the_slices_of_its_own_ct(from_series, build):
    """A finding that comes with the slice of another CT gets that of this one."""
    case, _ = from_series
    elsewhere = replace(case, volume=build.case("descending", dicom=False).volume)
    assert all(f.ct_slice is None for f in elsewhere.report.findings)  # that grid lies elsewhere
    assert replace(elsewhere, volume=case.volume).report.to_json() == case.report.to_json()


def test_an_older_report_without_slices_is_read(case):
    values = case.report.to_json()
    for finding in values["findings"]:
        del finding["slice"]
    jsonschema.validate(values, report_json.schema())
    assert all(f.ct_slice is None for f in type(case.report).from_json(values).findings)
