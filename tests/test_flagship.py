"""The whole house in one test: every output puts the same nodule at the same millimetre, twice with the same bytes.

A phantom thorax with planted nodules is written as DICOM in awkward order, read, analysed with the shipped weights, and
every output is opened again by a second implementation.
"""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from imaging.findings import Finding
from imaging.outputs.case import CaseResult
from imaging.simulation.dicom_series import write_series
from imaging.simulation.lesions import NoduleWish, PlantedNodule
from imaging.simulation.thorax import make_thorax
from pipelines.predict import analyse_to_folder

pytestmark = pytest.mark.slow

EVERYTHING = ("csv", "json", "maps", "overlay", "html", "sr", "seg")
SAME_MM = 0.1
#: What localization promises on phantom nodules.
TRUTH_MM = 1.0


@dataclass(frozen=True)
class Story:
    """The phantom, what was planted in it, and two analyses of it."""

    ct: Path
    planted: PlantedNodule
    result: CaseResult
    folder: Path
    again: Path

    @property
    def finding(self) -> Finding:
        """The finding that hit the largest planted nodule."""
        return min(self.result.report.findings, key=lambda finding: distance(finding.centre_mm, self.planted.centre_mm))

    @property
    def outline_mm(self) -> np.ndarray:
        """Centroid of the finding's outline in memory, LPS mm: what every written outline must have."""
        index = np.argwhere(self.result.nodules == self.finding.number)
        return self.result.volume.grid.to_mm(index).mean(axis=0)


def distance(a, b) -> float:
    return float(np.linalg.norm(np.subtract(a, b)))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    home = tmp_path_factory.mktemp("flagship")
    rng = np.random.default_rng(7)
    wishes = [NoduleWish(diameter_mm=11.0), NoduleWish(diameter_mm=14.0)]
    volume, planted = make_thorax(rng=rng, shape=(72, 224, 224), spacing_mm=(2.5, 1.0, 1.0), nodules=wishes)
    write_series(volume, home / "ct", order="shuffled", rng=rng)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOURCE_DATE_EPOCH", "1700000000")
        environment.setenv("XDG_STATE_HOME", str(home / "state"))
        environment.setenv("XDG_DATA_HOME", str(home / "state"))
        result, _ = analyse_to_folder(home / "ct", home / "once", formats=EVERYTHING)
        analyse_to_folder(home / "ct", home / "twice", formats=EVERYTHING)
        yield Story(home / "ct", max(planted, key=lambda n: n.diameter_mm), result, home / "once", home / "twice")


def test_the_nodule_is_where_it_was_planted(story: Story):
    assert distance(story.finding.centre_mm, story.planted.centre_mm) <= TRUTH_MM
    assert story.finding.diameter_mm == pytest.approx(story.planted.diameter_mm, rel=0.1)
    assert story.finding.side == story.planted.side
    assert distance(story.outline_mm, story.planted.centre_mm) <= TRUTH_MM


def test_both_planted_nodules_lead_the_list(story: Story):
    assert story.finding.number <= 2


def test_csv(story: Story):
    with (story.folder / "findings.csv").open(newline="") as stream:
        row = list(csv.DictReader(stream))[story.finding.number - 1]
    assert distance([float(row[name]) for name in ("coordX", "coordY", "coordZ")], story.finding.centre_mm) <= SAME_MM
    assert float(row["probability"]) == story.finding.score
    assert row["seriesuid"] == story.result.volume.seriesuid


def test_json(story: Story):
    report = json.loads((story.folder / "report.json").read_text())
    finding = report["findings"][story.finding.number - 1]
    assert distance(finding["centre_lps_mm"], story.finding.centre_mm) <= SAME_MM


def test_html(story: Story):
    page = (story.folder / "report.html").read_text()
    text = html.unescape(re.sub(r"<[^>]+>", " ", page)).replace("−", "-")
    rounded = ", ".join(f"{value:.1f}" for value in story.finding.centre_mm)
    assert rounded in text


def test_nifti_by_nibabel(story: Story):
    image = nibabel.load(story.folder / "nodules.nii.gz")
    index = np.argwhere(np.asarray(image.dataobj) == story.finding.number)
    ras = nibabel.affines.apply_affine(image.affine, index).mean(axis=0)
    assert distance(ras * [-1, -1, 1], story.outline_mm) <= SAME_MM


def test_nifti_by_simpleitk(story: Story):
    image = SimpleITK.ReadImage(str(story.folder / "nodules.nii.gz"))
    shape = SimpleITK.LabelShapeStatisticsImageFilter()
    shape.Execute(SimpleITK.Cast(image, SimpleITK.sitkUInt8))
    assert distance(shape.GetCentroid(story.finding.number), story.outline_mm) <= SAME_MM


@pytest.mark.parametrize("name", ["grad_cam", "similarity"])
def test_heat_maps_are_hot_at_the_nodule(story: Story, name: str):
    """On it or its rim, and not at its mirror image: a flipped map fails."""
    image = nibabel.load(story.folder / f"{name}.nii.gz")
    heat = np.asanyarray(image.dataobj)
    hot = np.percentile(heat[heat > 0], 90)
    assert _highest_near(image, heat, story) > hot
    mirrored = nibabel.Nifti1Image(heat[::-1, ::-1, ::-1], image.affine)
    assert _highest_near(mirrored, heat[::-1, ::-1, ::-1], story) < hot
    outlines = nibabel.load(story.folder / "nodules.nii.gz")
    np.testing.assert_allclose(image.affine, outlines.affine)


def _highest_near(image: nibabel.Nifti1Image, heat: np.ndarray, story: Story) -> float:
    """The hottest voxel within the nodule and a margin of 3 mm."""
    index = np.argwhere(heat > 0)
    lps = nibabel.affines.apply_affine(image.affine, index) * [-1, -1, 1]
    near = np.linalg.norm(lps - story.planted.centre_mm, axis=1) <= story.planted.diameter_mm / 2 + 3
    return float(heat[tuple(index[near].T)].max(initial=0))


def test_sr_by_highdicom(story: Story):
    from highdicom.sr import srread

    groups = srread(story.folder / "sr.dcm").content.get_planar_roi_measurement_groups()
    group = next(g for g in groups if g.tracking_uid == story.finding.tracking_uid)
    assert distance(group.roi.value[0], story.finding.centre_mm) <= SAME_MM


def test_sr_by_pydicom(story: Story):
    import pydicom

    def points(items) -> Iterator[list[float]]:
        for item in items:
            if item.ValueType == "SCOORD3D":
                yield list(item.GraphicData)[:3]
            yield from points(item.get("ContentSequence", []))

    document = pydicom.dcmread(story.folder / "sr.dcm")
    assert min(distance(p, story.finding.centre_mm) for p in points(document.ContentSequence)) <= SAME_MM


def _segment(path: Path, number: int) -> np.ndarray:
    """Centroid of one segment by pydicom alone, LPS mm: frames, their places, their pixels."""
    import pydicom

    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    rows, columns = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    points = []
    for frame, pixels in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        row, column = np.nonzero(pixels)
        points.append(corner + column[:, None] * columns * cosines[0] + row[:, None] * rows * cosines[1])
    return np.concatenate(points).mean(axis=0)


def test_seg_by_pydicom(story: Story):
    import pydicom

    segments = pydicom.dcmread(story.folder / "seg.dcm", stop_before_pixels=True).SegmentSequence
    (number,) = [s.SegmentNumber for s in segments if s.TrackingUID == story.finding.tracking_uid]
    assert distance(_segment(story.folder / "seg.dcm", number), story.outline_mm) <= SAME_MM


def test_seg_by_highdicom(story: Story):
    from highdicom.seg import segread

    segmentation = segread(story.folder / "seg.dcm")
    (number,) = segmentation.get_segment_numbers(tracking_uid=story.finding.tracking_uid)
    volume = segmentation.get_volume(segment_numbers=[number])
    index = np.argwhere(volume.array[..., 0] if volume.array.ndim == 4 else volume.array)
    assert distance(volume.map_indices_to_reference(index).mean(axis=0), story.outline_mm) <= SAME_MM


def test_napari_layers(story: Story, require_tool):
    from importlib.util import find_spec

    require_tool(find_spec("napari"), "napari")
    from pipelines.viewer.layers import layer_data
    from pipelines.viewer.opening import open_session

    layers = {
        options["metadata"]["nodulus"]: (array, options)
        for array, options, _ in layer_data(open_session(story.ct, story.folder))
    }
    points, _ = layers["findings"]
    assert distance(points[story.finding.number - 1][::-1], story.finding.centre_mm) <= SAME_MM
    outline, options = layers["nodules"]
    index = np.argwhere(outline == story.finding.number)
    world = (index * options["scale"] + options["translate"]).mean(axis=0)
    assert distance(world[::-1], story.outline_mm) <= SAME_MM


def test_twice_the_same_bytes(story: Story):
    names = sorted(path.name for path in story.folder.iterdir())
    assert names == sorted(path.name for path in story.again.iterdir())
    different = [n for n in names if (story.folder / n).read_bytes() != (story.again / n).read_bytes()]
    assert different == []
