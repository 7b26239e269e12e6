"""Pitfalls never come alone: any harmless ones together are read right, with one harmful one among them refused."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from strategies import assert_right, drift_mm, rotation, volumes

import imaging
from imaging.errors import InputError
from imaging.geometry import Volume
from imaging.simulation.dicom_encoding import set_pixels
from imaging.simulation.dicom_series import (
    SeriesOptions,
    ds,
    instance_numbers,
    make_series,
    save,
    stored_values,
    uid,
    write_series,
)

Datasets = list[Dataset]
SETTINGS = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


def again(dataset: Dataset, key: str) -> Dataset:
    copy = deepcopy(dataset)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = uid(key, str(dataset.SOPInstanceUID))
    return copy


def misleading_spacing(datasets: Datasets, truth: Volume) -> None:
    for place, dataset in enumerate(datasets):
        dataset.SliceThickness, dataset.SpacingBetweenSlices = "7", "-3"
        dataset.SliceLocation = str(-place)


def misleading_position(datasets: Datasets, truth: Volume) -> None:
    for dataset in datasets:
        dataset.PatientPosition, dataset.GantryDetectorTilt = "FFDL", "17"


def many_acquisitions(datasets: Datasets, truth: Volume) -> None:
    for place, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = place
        dataset.AcquisitionTime = f"12{place:02d}00"


def acquisitions_in_turn(datasets: Datasets, truth: Volume) -> None:
    for place, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = 1 + place % 6


def monochrome1(datasets: Datasets, truth: Volume) -> None:
    for dataset in datasets:
        dataset.PhotometricInterpretation = "MONOCHROME1"


def localizer(datasets: Datasets, truth: Volume) -> None:
    scout = again(datasets[0], "scout")
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImagePositionPatient = ["5", "5", "5"]
    datasets.append(scout)


def unmarked_localizer(datasets: Datasets, truth: Volume) -> None:
    scout = again(datasets[0], "turned scout")
    axes = np.array(scout.ImageOrientationPatient, dtype=float).reshape(2, 3)
    turned = [axes[0], -np.cross(axes[0], axes[1])]
    scout.ImageOrientationPatient = [ds(value) for value in np.concatenate(turned)]
    datasets.append(scout)


def duplicate(datasets: Datasets, truth: Volume) -> None:
    datasets.append(again(datasets[1], "twice"))


def all_twice(datasets: Datasets, truth: Volume) -> None:
    datasets += [again(dataset, "all twice") for dataset in datasets]


def frames_all_distinct(datasets: Datasets, truth: Volume) -> None:
    for place, dataset in enumerate(datasets):
        dataset.FrameOfReferenceUID = uid("frame", str(place))


def no_frame(datasets: Datasets, truth: Volume) -> None:
    for dataset in datasets:
        del dataset.FrameOfReferenceUID


def rescale_each(datasets: Datasets, truth: Volume) -> None:
    for place, dataset in enumerate(datasets[: truth.grid.shape[0]]):
        slope, intercept = (1.0, 0.5, 0.25)[place % 3], -1024.0 - place
        dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope), ds(intercept)
        values = stored_values(truth.array[place], SeriesOptions(slope=slope, intercept=intercept))
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 15, 1
        set_pixels(dataset, values, "explicit")


def jitter(datasets: Datasets, truth: Volume) -> None:
    noise = np.random.default_rng(5).uniform(-0.004, 0.004, (len(datasets), 3))
    for dataset, shift in zip(datasets, noise, strict=True):
        place = np.array(dataset.ImagePositionPatient, dtype=float) + shift
        dataset.ImagePositionPatient = [ds(value) for value in place]


#: Applied in this order, so that copies are made of what went before.
HARMLESS: dict[str, tuple[Callable[[Datasets, Volume], None], str | None]] = {
    "jitter": (jitter, "geometry.jitter"),
    "rescale of each slice": (rescale_each, None),
    "misleading spacing": (misleading_spacing, None),
    "misleading position": (misleading_position, None),
    "many acquisitions": (many_acquisitions, None),
    "acquisitions in turn": (acquisitions_in_turn, None),
    "monochrome1": (monochrome1, "pixels.monochrome1"),
    "all frames distinct": (frames_all_distinct, "geometry.frames_all_distinct"),
    "no frame": (no_frame, "geometry.no_frame_of_reference"),
    "duplicate": (duplicate, "dicom.duplicates"),
    "all twice": (all_twice, "dicom.duplicates"),
    "localizer": (localizer, "series.images_dropped"),
    "unmarked localizer": (unmarked_localizer, "series.images_dropped"),
}
_NOT_TOGETHER = {"all frames distinct", "no frame"}


def missing_slice(datasets: Datasets) -> None:
    del datasets[3]


def missing_position(datasets: Datasets) -> None:
    del datasets[2].ImagePositionPatient


def missing_spacing(datasets: Datasets) -> None:
    del datasets[2].PixelSpacing


def other_spacing(datasets: Datasets) -> None:
    datasets[2].PixelSpacing = [ds(float(value) * 1.01) for value in datasets[2].PixelSpacing]


def turned_slices(datasets: Datasets) -> None:
    for dataset in datasets[:3]:
        axes = np.array(dataset.ImageOrientationPatient, dtype=float).reshape(2, 3) @ rotation(3, 2) @ rotation(2, 0)
        dataset.ImageOrientationPatient = [ds(value) for value in axes.ravel()]


def other_pixels(datasets: Datasets) -> None:
    other = again(datasets[4], "conflict")
    other.PixelData = bytes(len(other.PixelData))
    datasets.append(other)


def truncated(datasets: Datasets) -> None:
    datasets[3].PixelData = datasets[3].PixelData[:-8]


def no_slope(datasets: Datasets) -> None:
    datasets[3].RescaleSlope = "0"


HARMFUL: dict[str, tuple[Callable[[Datasets], None], set[str]]] = {
    "missing slice": (missing_slice, {"geometry.gap"}),
    "missing position": (missing_position, {"dicom.missing"}),
    "missing spacing": (missing_spacing, {"dicom.missing"}),
    "other spacing": (other_spacing, {"geometry.pixel_spacing"}),
    "turned slices": (turned_slices, {"geometry.orientation"}),
    "other pixels": (other_pixels, {"geometry.conflict"}),
    "truncated": (truncated, {"dicom.pixel_format"}),
    "no slope": (no_slope, {"dicom.rescale"}),
}

harmless = st.sets(st.sampled_from(sorted(HARMLESS))).filter(lambda names: len(names & _NOT_TOGETHER) < 2)
#: Without a second copy of everything, which makes good what harms one image.
harmless_once = harmless.map(lambda names: names - {"all twice"})
options = st.builds(
    SeriesOptions,
    transfer_syntax=st.sampled_from(["explicit", "implicit", "deflated", "rle", "jpeg-ls"]),
    intercept=st.sampled_from([0.0, -1024.0, -1000.5]),
    signed=st.just(True),
)


def disturb(truth: Volume, how: SeriesOptions, order: str, names: set[str]) -> Datasets:
    if "rescale of each slice" in names:
        how = SeriesOptions(intercept=how.intercept)
    datasets = make_series(truth, how, numbers=instance_numbers(truth.grid.shape[0], order))
    for name, (change, _) in HARMLESS.items():
        if name in names:
            change(datasets, truth)
    return datasets


def names_of(count: int) -> list[str]:
    return [f"{number:03d}.dcm" for number in np.random.default_rng(count).permutation(count)]


@SETTINGS
@given(
    truth=volumes(min_slices=5), how=options, order=st.sampled_from(["sorted", "reversed", "shuffled"]), names=harmless
)
def test_harmless_pitfalls_together_are_read_right(
    truth: Volume, how: SeriesOptions, order: str, names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("right")
    datasets = disturb(truth, how, order, names)
    save(datasets, folder, names=names_of(len(datasets)))
    volume = imaging.read_volume(folder)
    assert_right(volume, truth)
    expected = {HARMLESS[name][1] for name in names} - {None}
    told = {notice.code for notice in volume.warnings}
    assert told - {"geometry.sheared", "geometry.jitter"} == expected - {"geometry.jitter"}
    assert ("geometry.sheared" in told) == (drift_mm(volume.grid) > 0.1)


@SETTINGS
@given(
    truth=volumes(min_slices=10),
    order=st.sampled_from(["sorted", "reversed", "shuffled"]),
    names=harmless_once,
    fault=st.sampled_from(sorted(HARMFUL)),
)
def test_one_harmful_pitfall_is_refused_whatever_else_there_is(
    truth: Volume, order: str, names: set[str], fault: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("refused")
    change, expected = HARMFUL[fault]
    datasets = disturb(truth, SeriesOptions(), order, names)
    change(datasets)
    save(datasets, folder, names=names_of(len(datasets)))
    with pytest.raises(InputError) as refusal:
        imaging.read_volume(folder)
    assert refusal.value.code in expected


@SETTINGS
@given(truth=volumes(), how=options, order=st.sampled_from(["sorted", "reversed", "shuffled"]))
def test_enhanced_in_any_place_and_order(
    truth: Volume, how: SeriesOptions, order: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder: Path = tmp_path_factory.mktemp("enhanced")
    write_series(truth, folder, order=order, options=how, enhanced=True)
    assert_right(imaging.read_volume(folder), truth)
