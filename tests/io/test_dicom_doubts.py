"""DICOM series that contradict themselves quietly: each is read right and told, or refused; none is read in silence."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from strategies import assert_right, make_volume

import imaging
from imaging.simulation.dicom_series import SeriesOptions, make_series, save


def codes(folder: Path) -> list[str]:
    return [notice.code for notice in imaging.read_volume(folder).warnings]


def refusal(folder: Path) -> imaging.ImagingError:
    with pytest.raises(imaging.ImagingError) as caught:
        imaging.read_volume(folder)
    return caught.value


def set_all(datasets: list[Dataset], **attributes: object) -> list[Dataset]:
    for dataset in datasets:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return datasets


@pytest.mark.parametrize(("signed", "offset"), [(False, 2**31), (True, -(2**31) + 5000), (False, 2**24)])
def test_words_of_32_bits_lose_nothing_to_their_offset(tmp_path: Path, signed: bool, offset: int) -> None:
    """Float32 alone holds 24 bits: a stored value beyond them would be off by up to 128 HU."""
    truth = make_volume()
    datasets = set_all(
        make_series(truth),
        **{"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31, "PixelRepresentation": int(signed)},
        RescaleIntercept=str(-offset),
    )
    for dataset, plane in zip(datasets, truth.array, strict=True):
        dataset.PixelData = (plane.astype("i8") + offset).astype("<i4" if signed else "<u4").tobytes()
        dataset["PixelData"].VR = "OW"
    save(datasets, tmp_path)
    assert_right(imaging.read_volume(tmp_path), truth)


@pytest.mark.parametrize("signed", [True, False])
def test_a_lost_intercept_is_told(tmp_path: Path, signed: bool) -> None:
    save(set_all(make_series(make_volume(), SeriesOptions(signed=signed)), RescaleIntercept="0"), tmp_path)
    assert codes(tmp_path) == ["pixels.hu_doubtful"]


def test_values_beyond_any_tissue_are_told(tmp_path: Path) -> None:
    save(set_all(make_series(make_volume()), RescaleSlope="40"), tmp_path)
    assert codes(tmp_path) == ["pixels.hu_doubtful"]


@pytest.mark.parametrize("spacing", [("0.0007", "0.00085"), ("700", "850")])
def test_a_spacing_in_another_unit_is_told_in_the_list_too(tmp_path: Path, spacing: tuple[str, str]) -> None:
    save(set_all(make_series(make_volume()), PixelSpacing=list(spacing)), tmp_path)
    assert codes(tmp_path) == ["geometry.spacing_doubtful"]
    (info,) = imaging.list_series(tmp_path)
    assert [notice.code for notice in info.notices] == ["geometry.spacing_doubtful"]


@pytest.mark.parametrize("spacing", ["0_7\\0.85", "\uff10.7\\0.85", "0x1p-1\\0.85", "0,7\\0,85"])
def test_numbers_that_only_python_would_take_are_refused(tmp_path: Path, spacing: str) -> None:
    datasets = set_all(make_series(make_volume()), SpecificCharacterSet="ISO_IR 192")
    for dataset in datasets:
        dataset.add_new(0x00280030, "LO", spacing.split("\\"))
    save(datasets, tmp_path)
    error = refusal(tmp_path)
    assert error.code == "dicom.value"
    assert "PixelSpacing" in error.message


def test_a_padding_range_that_reaches_into_tissue_is_kept_and_told(tmp_path: Path) -> None:
    """Taken at its word it would blank the whole patient."""
    truth = make_volume()
    datasets = make_series(truth)
    for dataset in datasets:
        dataset.add_new(0x00280120, "SS", -32768)
        dataset.add_new(0x00280121, "SS", 32767)
    save(datasets, tmp_path)
    assert_right(imaging.read_volume(tmp_path), truth)
    assert codes(tmp_path) == ["pixels.padding_kept"]


@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"])
@pytest.mark.parametrize("modality", ["CT", None])
def test_the_sop_class_of_another_modality_is_refused(tmp_path: Path, kind: str, modality: str | None) -> None:
    datasets = set_all(make_series(make_volume()), SOPClassUID=kind)
    for dataset in datasets:
        dataset.file_meta.MediaStorageSOPClassUID = kind
        if modality is None:
            del dataset.Modality
    save(datasets, tmp_path)
    error = refusal(tmp_path)
    assert error.code == "series.not_ct"
    assert "Image Storage" in error.message


@pytest.mark.parametrize(
    "image_type", [["DERIVED", "PRIMARY", "DE_IODINE"], ["DERIVED", "SECONDARY", "Z EFFECTIVE"], ["DERIVED", "ZEFF"]]
)
def test_maps_of_other_quantities_are_refused_however_they_are_called(tmp_path: Path, image_type: list[str]) -> None:
    save(make_series(make_volume(), SeriesOptions(image_type=tuple(image_type))), tmp_path)
    assert refusal(tmp_path).code == "series.perfusion"


@pytest.mark.parametrize("keyword", ["PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_a_frame_with_two_places_is_refused(tmp_path: Path, keyword: str) -> None:
    from imaging.simulation.dicom_enhanced import make_enhanced

    dataset = make_enhanced(make_volume(), SeriesOptions(), numbers=list(range(1, 13)))
    in_frame = keyword == "PlanePositionSequence"
    items = dataset.PerFrameFunctionalGroupsSequence if in_frame else dataset.SharedFunctionalGroupsSequence
    group = items[-1][keyword].value
    group.append(deepcopy(group[0]))
    save([dataset], tmp_path)
    error = refusal(tmp_path)
    assert error.code == "dicom.value"
    assert keyword in error.message


def test_the_sizes_of_ordinary_volumes_are_not_doubted() -> None:
    from imaging.io.plausible import doubt_about_range, doubt_about_spacing

    assert doubt_about_range(-1024, 3071) == (True, None)
    assert doubt_about_spacing((10.0, 0.2, 0.9)) is None
