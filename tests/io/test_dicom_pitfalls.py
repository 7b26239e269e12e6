"""Every pitfall that other readers were measured on: right with its repairs told, or refused with a code.

The numbers of the rows are those of the table in docs/ingestion.md. Each case is a synthetic series whose
truth is known, spoilt in one way; rows from 60 on repeat the geometry of real series.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from strategies import assert_right, make_volume, rotation

import imaging
from imaging.errors import InputError
from imaging.geometry import Volume
from imaging.simulation.dicom_encoding import set_pixels
from imaging.simulation.dicom_enhanced import make_enhanced
from imaging.simulation.dicom_series import SeriesOptions, ds, instance_numbers, make_series, save, stored_values, uid

Datasets = list[Dataset]


@dataclass(frozen=True)
class Case:
    """One row: the truth, how the written series is spoilt, and what is expected.

    `notices` are the codes expected when it is read; `refusal` is the code if it is not, and `words` must be in the
    message.
    """

    row: str
    what: str
    spoil: Callable[[Datasets], Datasets | None] = lambda d: d
    truth: Callable[[], Volume] = make_volume
    options: SeriesOptions = SeriesOptions()  # noqa: RUF009 - a frozen value
    order: str = "shuffled"
    notices: tuple[str, ...] = ()
    refusal: str | None = None
    words: tuple[str, ...] = ()
    is_hu: bool = True
    enhanced: bool = False


def words_of(dataset: Dataset) -> np.ndarray:
    kind = "i2" if dataset.PixelRepresentation else "u2"
    return np.frombuffer(dataset.PixelData, kind).reshape(dataset.Rows, dataset.Columns)


def set_words(dataset: Dataset, words: np.ndarray) -> None:
    dataset.PixelData = words.tobytes()


def each(**attributes: object) -> Callable[[Datasets], None]:
    """Set attributes of every image; None deletes."""

    def spoil(datasets: Datasets) -> None:
        for dataset in datasets:
            change(dataset, **attributes)

    return spoil


def one(place: int, **attributes: object) -> Callable[[Datasets], None]:
    """Set attributes of one image."""
    return lambda datasets: change(datasets[place], **attributes)


def change(dataset: Dataset, **attributes: object) -> None:
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def moved(dataset: Dataset, x: float = 0, y: float = 0, z: float = 0) -> Dataset:
    place = np.array(dataset.ImagePositionPatient, dtype=float) + np.array([x, y, z])
    dataset.ImagePositionPatient = [ds(value) for value in place]
    return dataset


def copy_of(dataset: Dataset, key: str, **attributes: object) -> Dataset:
    """The image again, as another instance."""
    again = deepcopy(dataset)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = uid(key, str(dataset.SOPInstanceUID))
    again.InstanceNumber = dataset.InstanceNumber + 1000
    change(again, **attributes)
    return again


def remove(*places: int) -> Callable[[Datasets], Datasets]:
    return lambda datasets: [dataset for place, dataset in enumerate(datasets) if place not in places]


def brighter(dataset: Dataset) -> Dataset:
    set_words(dataset, words_of(dataset) + 40)
    return dataset


def second_phase(datasets: Datasets, **attributes: object) -> Datasets:
    return datasets + [brighter(copy_of(dataset, "phase 2", **attributes)) for dataset in datasets]


def all_three_times(datasets: Datasets) -> Datasets:
    """The same images under three acquisition numbers: nothing to choose between."""
    return datasets + [copy_of(one, str(k), AcquisitionNumber=k) for k in (2, 3) for one in datasets]


def alike_in_one(datasets: Datasets) -> Datasets:
    """Two phases whose first slices hold the same pixels, as above the heart."""
    second = [copy_of(dataset, "phase 2", AcquisitionNumber=2) for dataset in datasets]
    return datasets + second[:1] + [brighter(dataset) for dataset in second[1:]]


def localizer(datasets: Datasets, size: tuple[int, int]) -> Datasets:
    scout = copy_of(datasets[0], "scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    scout.Rows, scout.Columns = size
    scout.ImageOrientationPatient = ["1", "0", "0", "0", "0", "-1"]
    set_words(scout, np.zeros(size, "i2"))
    return [*datasets, scout]


def dose_report(datasets: Datasets) -> Datasets:
    page = copy_of(datasets[0], "dose", ImageType=["DERIVED", "SECONDARY", "OTHER"], SamplesPerPixel=3)
    change(page, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", PhotometricInterpretation="RGB", PlanarConfiguration=0)
    change(page, BitsAllocated=8, BitsStored=8, HighBit=7, PixelRepresentation=0, Rows=64, Columns=64)
    change(page, ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None)
    page.PixelData = bytes(64 * 64 * 3)
    page["PixelData"].VR = "OB"
    return [*datasets, page]


def rescale_each(pair: Callable[[int], tuple[float, float]]) -> Callable[[Datasets], None]:
    """Another slope and intercept for each slice, the stored values following."""

    def spoil(datasets: Datasets) -> None:
        truth = make_volume()
        for place, dataset in enumerate(datasets):
            slope, intercept = pair(place)
            dataset.RescaleSlope, dataset.RescaleIntercept = ds(slope), ds(intercept)
            options = SeriesOptions(slope=slope, intercept=intercept)
            set_words(dataset, stored_values(truth.array[place], options))

    return spoil


def pad_corner(value: int, vr: str, dtype: str = "i2") -> Callable[[Datasets], None]:
    """The first 4 x 4 pixels hold the padding value's bits."""

    def spoil(datasets: Datasets) -> None:
        for dataset in datasets:
            stored = words_of(dataset).copy()
            stored.view("u2")[:4, :4] = value % 65536
            set_words(dataset, stored)
            dataset.add_new(0x00280120, vr, value)

    return spoil


def air_corner() -> Volume:
    volume = make_volume()
    array = volume.array.copy()
    array[:, :4, :4] = -1024
    return Volume(array, volume.grid)


def garbage_above(datasets: Datasets) -> None:
    for place, dataset in enumerate(datasets):
        noise = np.random.default_rng(place).integers(0, 16, (dataset.Rows, dataset.Columns)).astype("u2") << 12
        set_words(dataset, words_of(dataset) | noise)


def sign_not_extended(datasets: Datasets) -> None:
    for dataset in datasets:
        set_words(dataset, words_of(dataset).view("u2") & 0x0FFF)


def unextended_jpeg_ls(datasets: Datasets) -> None:
    for dataset in datasets:
        dataset.PixelRepresentation = 0
        set_pixels(dataset, words_of(dataset).view("u2") & 0x0FFF, "jpeg-ls")
        dataset.PixelRepresentation = 1


def jitter(datasets: Datasets) -> None:
    noise = np.random.default_rng(3).uniform(-0.004, 0.004, (len(datasets), 3))
    for dataset, shift in zip(datasets, noise, strict=True):
        moved(dataset, *shift)


def rotate_half(degrees: float) -> Callable[[Datasets], None]:
    def spoil(datasets: Datasets) -> None:
        axes = rotation(degrees, 2)
        for dataset in datasets[len(datasets) // 2 :]:
            dataset.ImageOrientationPatient = [ds(v) for v in (*axes[:, 0], *axes[:, 1])]

    return spoil


def two_spacings(datasets: Datasets) -> None:
    for place in range(6, len(datasets)):
        moved(datasets[place], z=1.25 * (place - 5))


def frames_of_reference(count: int) -> Callable[[Datasets], None]:
    def spoil(datasets: Datasets) -> None:
        for place, dataset in enumerate(datasets):
            dataset.FrameOfReferenceUID = uid("frame", str(place * count // len(datasets)))

    return spoil


def acquisitions(numbers: Callable[[int], int]) -> Callable[[Datasets], None]:
    def spoil(datasets: Datasets) -> None:
        for place, dataset in enumerate(datasets):
            dataset.AcquisitionNumber = numbers(place)

    return spoil


def tilted(degrees: float, spacing: float = 2.5) -> Callable[[], Volume]:
    """Gantry tilt: slices turned about x, the table moving along z."""

    def truth() -> Volume:
        axes = rotation(degrees, 0) @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]])
        step = np.array([0, 0, spacing])
        return make_volume(spacing_mm=(spacing, 0.7, 0.85), axes=axes, lean_mm=tuple(step - axes[:, 0] * spacing))

    return truth


def oriented(rows: tuple[float, ...], columns: tuple[float, ...], **options: object) -> Callable[[], Volume]:
    """Rows run along `rows` (column index grows), columns along `columns`."""
    axes = np.column_stack([np.cross(rows, columns), columns, rows])
    return lambda: make_volume(axes=axes, **options)


def left_handed() -> Volume:
    return make_volume(axes=np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]))


def one_place(datasets: Datasets) -> None:
    for place, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = datasets[0].ImagePositionPatient
        dataset.AcquisitionTime = f"1200{place:02d}"


def mixed_reformats(datasets: Datasets) -> Datasets:
    axes = np.column_stack([(0, 1, 0), (0, 0, -1), (1, 0, 0)])
    other = make_series(make_volume(axes=axes, seed=5), SeriesOptions(key="series"))
    return datasets + [copy_of(dataset, "other") for dataset in other]


def three_phases(datasets: Datasets) -> Datasets:
    """Three phases of unequal length, told apart by AcquisitionNumber, with misencoded padding."""
    series = [
        copy_of(dataset, str(k), AcquisitionNumber=k, InstanceNumber=100 * k + dataset.InstanceNumber)
        for k in (2, 3)
        for dataset in datasets[k - 2 :]
    ]
    for dataset in (*datasets, *series):
        dataset.add_new(0x00280120, "US", 63536)
    return datasets + [brighter(dataset) for dataset in series]


MIXED_STEPS = (1.08, 1.08, 5.0, 5.0, 7.0, 7.0, 7.0, 5.0, 5.0, 1.08, 1.08)


def mixed_steps(datasets: Datasets) -> None:
    for place, dataset in enumerate(datasets):
        dataset.ImagePositionPatient = datasets[0].ImagePositionPatient
        moved(dataset, z=float(np.sum(MIXED_STEPS[:place])))


RIGHT: tuple[str, ...] = ()
TWELVE = SeriesOptions(bits_stored=12, signed=True, intercept=0)
UNSIGNED = SeriesOptions(bits_stored=16, signed=False)
COMPRESSED = ("rle", "jpeg-ls", "jpeg-lossless-sv1")

CASES = [
    Case("01", "names and instance numbers shuffled"),
    Case("02", "order reversed", order="reversed"),
    Case("03", "a slice missing", remove(5), refusal="geometry.gap", words=("2.5 mm", "IM00005", "IM00007")),
    Case("03", "the second slice missing", remove(1), refusal="geometry.gap", words=("2.5 mm", "IM00001", "IM00003")),
    Case("03", "three slices missing", remove(4, 5, 9), refusal="geometry.gap", words=("3.75 mm", "2.5 mm")),
    Case("04", "a slice twice", lambda d: [*d, copy_of(d[4], "again")], notices=("dicom.duplicates",)),
    Case("04", "all slices twice", lambda d: d + [copy_of(s, "again") for s in d], notices=("dicom.duplicates",)),
    Case("04", "all slices three times, as acquisitions", all_three_times, notices=("dicom.duplicates",)),
    Case("04", "all slices twice, tilted", lambda d: d + [copy_of(s, "again") for s in d], tilted(20),
         notices=("dicom.duplicates", "geometry.sheared")),
    Case("07", "phases alike in the first slice only", alike_in_one, refusal="series.ambiguous",
         words=("AcquisitionNumber=2",)),
    Case("05", "one place, two images", lambda d: [*d, brighter(copy_of(d[4], "again"))], refusal="geometry.conflict"),
    Case("06", "spacing 1.25 then 2.5 mm", two_spacings, refusal="geometry.irregular", words=("1.25", "2.5")),
    Case("07", "two phases", lambda d: second_phase(d, AcquisitionNumber=2), refusal="series.ambiguous"),
    Case("07", "phases by temporal position",
         lambda d: second_phase([*d], TemporalPositionIdentifier=2), refusal="series.ambiguous"),
    Case("07", "phases by instance number only", lambda d: second_phase(d), refusal="series.ambiguous"),
    Case("08", "localizer of another size", lambda d: localizer(d, (40, 30)), notices=("series.images_dropped",)),
    Case("09", "localizer of the same size", lambda d: localizer(d, (24, 20)), notices=("series.images_dropped",)),
    Case("10", "RGB dose report", dose_report, notices=("series.images_dropped",)),
    Case("12", "an intercept for each slice", rescale_each(lambda k: (1.0, -1024.0 + 10 * k))),
    Case("13", "slopes differ, the first whole", rescale_each(lambda k: (1.0 if k == 0 else 0.37, -1024.0))),
    Case("14", "slope 0.5, intercept -1024.5", rescale_each(lambda k: (0.5, -1024.5))),
    Case("15", "padding -2000 signed", pad_corner(-2000, "SS"), air_corner, notices=("pixels.padding",)),
    Case("16", "padding 63536 as US on signed pixels", pad_corner(63536, "US"), air_corner,
         notices=("pixels.padding",)),
    Case("16", "padding 63536 on unsigned pixels", pad_corner(63536, "US"), air_corner, UNSIGNED,
         notices=("pixels.padding",)),
    Case("16", "padding 63536 above 12 stored bits", pad_corner(63536, "US"), air_corner,
         SeriesOptions(bits_stored=12, signed=False), notices=("pixels.padding",)),
    Case("17", "garbage above BitsStored", garbage_above, options=SeriesOptions(bits_stored=12, signed=False),
         notices=("pixels.bits_repaired",)),
    Case("18", "signed 12 bit, sign not extended", sign_not_extended, options=TWELVE,
         notices=("pixels.bits_repaired",)),
    Case("45", "the same in JPEG-LS", unextended_jpeg_ls, options=TWELVE),
    Case("19", "SliceThickness and SpacingBetweenSlices wrong", each(SliceThickness="5", SpacingBetweenSlices="5")),
    Case("20", "SpacingBetweenSlices negative", each(SpacingBetweenSlices="-1.25")),
    Case("21", "pixels not square", truth=lambda: make_volume(spacing_mm=(1.25, 0.5, 1.5))),
    Case("22", "oblique", truth=lambda: make_volume(axes=rotation(17, 0) @ rotation(-8, 1) @ np.eye(3)[:, ::-1])),
    Case("23", "prone", truth=oriented((-1, 0, 0), (0, -1, 0))),
    Case("24", "left-handed stack", truth=left_handed),
    Case("25", "coronal", truth=oriented((1, 0, 0), (0, 0, -1))),
    Case("26", "sagittal", truth=oriented((0, 1, 0), (0, 0, -1))),
    Case("27", "PatientPosition FFDL, orientation unchanged", each(PatientPosition="FFDL")),
    Case("28", "gantry tilt", truth=tilted(20), notices=("geometry.sheared",)),
    Case("29", "two frames of reference", frames_of_reference(2), refusal="geometry.frames_of_reference"),
    Case("29", "three frames of reference", frames_of_reference(3), refusal="geometry.frames_of_reference"),
    Case("30", "half the slices turned by 3 degrees", rotate_half(3), refusal="geometry.orientation"),
    Case("31", "PixelSpacing missing", each(PixelSpacing=None, ImagerPixelSpacing=["0.7", "0.85"]),
         refusal="dicom.missing", words=("PixelSpacing",)),
    Case("31", "PixelSpacing missing once", one(3, PixelSpacing=None), refusal="dicom.missing", words=("IM00004",)),
    Case("32", "ImagePositionPatient missing", each(ImagePositionPatient=None, SliceLocation="10"),
         refusal="dicom.missing", words=("ImagePositionPatient",)),
    Case("32", "ImagePositionPatient missing once", one(7, ImagePositionPatient=None),
         refusal="dicom.missing", words=("ImagePositionPatient", "IM00008")),
    Case("33", "PixelSpacing differs once", one(3, PixelSpacing=["0.71", "0.85"]),
         refusal="geometry.pixel_spacing", words=("0.71", "IM00004")),
    Case("34", "no rescale", lambda d: each(RescaleSlope=None, RescaleIntercept=None, RescaleType=None)(d),
         truth=make_volume, options=SeriesOptions(intercept=0), notices=("pixels.not_hu",), is_hu=False),
    Case("35", "RescaleType US", each(RescaleType="US"), notices=("pixels.not_hu",), is_hu=False),
    Case("35", "RescaleType Houndsfield Unit", each(RescaleType="Houndsfield Unit")),
    Case("35", "RescaleType absent", each(RescaleType=None)),
    Case("36", "positions scatter by 4 um", jitter, notices=("geometry.jitter",)),
    Case("38", "MONOCHROME1", each(PhotometricInterpretation="MONOCHROME1"), notices=("pixels.monochrome1",)),
    Case("39", "one slice", lambda d: d[:1], refusal="series.single_slice"),
    Case("40", "x drifts by 0.05 mm a slice", truth=lambda: make_volume(lean_mm=(0.05, 0, 0)),
         notices=("geometry.sheared",)),
    *(Case("41-43", name, options=SeriesOptions(transfer_syntax=name)) for name in (*COMPRESSED, "jpeg-lossless")),
    Case("41-43", "jpeg-2000", truth=lambda: make_volume((6, 40, 36)),
         options=SeriesOptions(transfer_syntax="jpeg-2000")),
    Case("41-43", "deflated", options=SeriesOptions(transfer_syntax="deflated")),
    Case("41-43", "big endian", options=SeriesOptions(transfer_syntax="big-endian")),
    Case("50", "enhanced", order="sorted", enhanced=True),
    Case("51", "enhanced, frames shuffled", enhanced=True),
    Case("60", "real: tilt -18.5", truth=tilted(-18.5), notices=("geometry.sheared",)),
    Case("61", "real: tilt +16.5", truth=tilted(16.5), notices=("geometry.sheared",)),
    Case("62", "real: tilt and steps of 1.08 to 7 mm", mixed_steps, tilted(18.5), refusal="geometry.irregular"),
    Case("63", "real: tilt, no frame of reference", each(FrameOfReferenceUID=None), tilted(12, 5.0),
         notices=("geometry.no_frame_of_reference", "geometry.sheared")),
    Case("64", "real: gaps", remove(3, 8), refusal="geometry.gap"),
    Case("65", "real: tilt and gaps", remove(3, 8), tilted(12, 5.0), refusal="geometry.gap"),
    Case("66", "real: one position", one_place, refusal="geometry.one_position"),
    Case("70", "real: three phases, padding 63536", three_phases, refusal="series.ambiguous",
         words=("AcquisitionNumber=1", "AcquisitionNumber=2", "AcquisitionNumber=3")),
    Case("71", "real: coronal reformat", truth=oriented((1, 0, 0), (0, 0, -1), spacing_mm=(2.0, 1.68, 1.37)),
         options=SeriesOptions(image_type=("DERIVED", "SECONDARY", "REFORMATTED")), notices=("series.is_derived",)),
    Case("77", "real: sagittal reformat", truth=oriented((0, 1, 0), (0, 0, -1), spacing_mm=(2.0, 1.68, 1.37)),
         options=SeriesOptions(image_type=("DERIVED", "SECONDARY", "MPR")), notices=("series.is_derived",)),
    Case("72", "real: SpacingBetweenSlices 10, many acquisitions",
         lambda d: (each(SpacingBetweenSlices="10")(d), acquisitions(lambda k: 1 + k // 2)(d))[0]),
    Case("72", "acquisitions in turn", acquisitions(lambda k: 1 + k % 6)),
    Case("73", "real: SpacingBetweenSlices -5", each(SpacingBetweenSlices="-5"),
         lambda: make_volume(spacing_mm=(5.0, 0.7, 0.7))),
    Case("74", "real: slices overlap", each(SliceThickness="1.25"), lambda: make_volume(spacing_mm=(0.8, 0.7, 0.7))),
    Case("75", "real: two reformats in one series", mixed_reformats, truth=oriented((0, 1, 0), (0, 0, -1)),
         refusal="series.ambiguous", words=("sagittal", "coronal")),
    Case("76", "real: a frame of reference for each image", frames_of_reference(12),
         notices=("geometry.frames_all_distinct",)),
]  # fmt: skip  # one row a line


def write(case: Case, folder: Path) -> Volume:
    truth = case.truth()
    numbers = instance_numbers(truth.grid.shape[0], case.order)
    if case.enhanced:
        save([make_enhanced(truth, case.options, numbers=numbers)], folder)
        return truth
    refused = case.refusal is not None
    datasets = make_series(truth, case.options, numbers=None if refused else numbers)
    spoilt = case.spoil(datasets)
    save(datasets if spoilt is None else spoilt, folder)
    return truth


@pytest.mark.parametrize("case", CASES, ids=[f"row{case.row}-{case.what.replace(' ', '_')}" for case in CASES])
def test_pitfall(case: Case, tmp_path: Path) -> None:
    truth = write(case, tmp_path)
    if case.refusal is None:
        volume = imaging.read_volume(tmp_path)
        assert_right(volume, truth)
        assert sorted(notice.code for notice in volume.warnings) == sorted(case.notices)
        assert volume.is_hu == case.is_hu
        lines = imaging.list_series(tmp_path)
        assert all(info.usable for info in lines)
        assert len(lines) == 1 or "twice" in case.what or "three times" in case.what  # each copy has its line
    else:
        with pytest.raises(InputError) as refusal:
            imaging.read_volume(tmp_path)
        assert refusal.value.code == case.refusal
        for word in case.words:
            assert word in str(refusal.value)


def test_the_documentation_has_each_row_with_its_outcome() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "ingestion.md").read_text(encoding="utf-8")
    for case in CASES:
        told = f", told: {', '.join(f'`{code}`' for code in case.notices)}" if case.notices else ""
        outcome = (
            f"refused: `{case.refusal}`" if case.refusal else f"read{told}{'' if case.is_hu else ', `is_hu` False'}"
        )
        assert f"| {case.row} | {case.what} | {outcome} |" in text


def refusal_of(path: Path) -> tuple[str, str]:
    """Code and text of the refusal; empty if the path was read."""
    try:
        imaging.read_volume(path)
    except InputError as error:
        return error.code, str(error)
    return "", ""


def test_row07_each_phase_is_listed_and_can_be_read(tmp_path: Path) -> None:
    truth = make_volume()
    save(second_phase(make_series(truth), AcquisitionNumber=2), tmp_path)
    lines = imaging.list_series(tmp_path)
    assert [line.group for line in lines] == ["AcquisitionNumber=1", "AcquisitionNumber=2"]
    assert all(line.usable and line.instances == 12 for line in lines)
    assert_right(imaging.read_volume(tmp_path, series=lines[0]), truth)
    second = imaging.read_volume(tmp_path, series=lines[1].name)
    assert_right(second, Volume(truth.array + 40, truth.grid))
    assert {"series.group", "series.others"} == {notice.code for notice in second.warnings}


def test_row70_three_groups_are_listed_by_acquisition_number(tmp_path: Path) -> None:
    save(three_phases(make_series(make_volume())), tmp_path)
    lines = imaging.list_series(tmp_path)
    assert [(line.group, line.instances) for line in lines] == [
        ("AcquisitionNumber=1", 12), ("AcquisitionNumber=2", 12), ("AcquisitionNumber=3", 11),
    ]  # fmt: skip
    truth = make_volume()
    assert_right(imaging.read_volume(tmp_path, series=lines[0]), truth)
    assert_right(imaging.read_volume(tmp_path, series=lines[1]), Volume(truth.array + 40, truth.grid))


# --- what the table allows on request: gaps and uneven steps filled, and told ----------------------------------------
def ramp(truth: Volume) -> Volume:
    """HU that rise evenly along the stack, so that interpolation between any two slices gives the truth."""
    rise = np.arange(truth.grid.shape[0], dtype=np.float32)[:, None, None] * 20
    return Volume(np.broadcast_to(truth.array[0] * 0.6, truth.grid.shape).round() + rise, truth.grid)


@pytest.mark.parametrize("lost", [(5,), (1,), (4, 5, 9), (3, 8), (2, 3, 4, 5, 6, 7)])
@pytest.mark.parametrize("tilt", [0.0, 12.0])
def test_row03_gaps_are_filled_on_request(tmp_path: Path, lost: tuple[int, ...], tilt: float) -> None:
    truth = ramp(tilted(tilt, 5.0)() if tilt else make_volume())
    kept = [place for place in range(12) if place not in lost]
    save(remove(*lost)(make_series(truth)), tmp_path)
    assert refusal_of(tmp_path)[0] == "geometry.gap"
    volume = imaging.read_volume(tmp_path, uneven="interpolate")
    assert_right(volume, truth)
    assert np.array_equal(volume.array[kept], truth.array[kept])
    told = {notice.code: notice.message for notice in volume.warnings}
    assert set(told) == {"geometry.filled"} | ({"geometry.sheared"} if tilt else set())
    assert told["geometry.filled"].startswith(f"{len(lost)} of 12 planes")
    assert "mm between IM000" in told["geometry.filled"]
    assert volume.origin is not None
    assert volume.origin.instances == ()


def test_row06_uneven_steps_are_made_even_on_request(tmp_path: Path) -> None:
    truth = ramp(make_volume((18, 24, 20)))
    save([one for place, one in enumerate(make_series(truth)) if place < 6 or place % 2], tmp_path)
    assert refusal_of(tmp_path)[0] == "geometry.irregular"
    volume = imaging.read_volume(tmp_path, uneven="interpolate")
    assert_right(volume, truth)
    assert [notice.code for notice in volume.warnings] == ["geometry.filled"]
    assert "from 1.25 to 2.5 mm" in volume.warnings[0].message


def test_row62_tilt_and_mixed_steps_are_made_even_on_request(tmp_path: Path) -> None:
    """The judge lays the true line of HU through the read grid: a linear ramp along the stack must come out linear."""
    truth = tilted(18.5)()
    plane = truth.array[0] * 0.6
    heights = np.concatenate([[0.0], np.cumsum(MIXED_STEPS)])[:12]
    array = (plane + heights[:, None, None] * 20).round().astype(np.float32)
    datasets = make_series(Volume(array, truth.grid))
    mixed_steps(datasets)
    save(datasets, tmp_path)
    volume = imaging.read_volume(tmp_path, uneven="interpolate")
    along = (volume.grid.to_mm([(k, 0, 0) for k in range(volume.grid.shape[0])]) - truth.grid.to_mm((0, 0, 0)))[:, 2]
    assert along[[0, -1]] == pytest.approx([0, heights[-1]], abs=1e-6)
    assert np.abs(volume.array - (plane + along[:, None, None] * 20)).max() <= 20 * 0.1 + 1
    assert {notice.code for notice in volume.warnings} == {"geometry.filled", "geometry.sheared"}


def test_a_slice_beside_the_line_is_not_made_even(tmp_path: Path) -> None:
    datasets = remove(5)(make_series(make_volume()))
    moved(datasets[8], x=0.6)
    save(datasets, tmp_path)
    with pytest.raises(InputError) as refusal:
        imaging.read_volume(tmp_path, uneven="interpolate")
    assert refusal.value.code == "geometry.irregular"
    assert "0.6" in str(refusal.value)
    assert "IM00010" in str(refusal.value)


def test_row11_two_series_are_both_listed(tmp_path: Path) -> None:
    first, second = make_volume(), make_volume((5, 24, 20), seed=3)
    save(make_series(first), tmp_path / "a")
    save(make_series(second, SeriesOptions(key="other", description="thin")), tmp_path / "b")
    with pytest.raises(InputError) as refusal:
        imaging.read_volume(tmp_path)
    lines = imaging.list_series(tmp_path)
    assert refusal.value.code == "series.ambiguous"
    assert all(line.seriesuid in str(refusal.value) for line in lines)
    for line in lines:
        volume = imaging.read_volume(tmp_path, series=line.seriesuid)
        assert_right(volume, first if line.instances == 12 else second)


def test_row37_truncated_at_any_byte(tmp_path: Path) -> None:
    """A file cut at any byte is refused by name, or was never part of the image (nothing after the pixels is read)."""
    truth = make_volume((3, 6, 5))
    paths = save(make_series(truth), tmp_path)
    whole = paths[2].read_bytes()
    for size in range(len(whole) - 1):
        paths[2].write_bytes(whole[:size])
        code, message = refusal_of(tmp_path)
        assert code in ("dicom.damaged", "dicom.pixel_format"), f"cut at byte {size} of {len(whole)}"
        assert "IM00003" in message


def test_row44_no_preamble(tmp_path: Path) -> None:
    truth = make_volume()
    for path in save(make_series(truth, SeriesOptions(transfer_syntax="implicit")), tmp_path):
        data = path.read_bytes()
        length = int.from_bytes(data[140:144], "little")
        path.write_bytes(data[144 + length :])
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, truth)
    assert [notice.code for notice in volume.warnings] == ["dicom.no_preamble"]


def test_row52_enhanced_with_a_rescale_for_each_frame(tmp_path: Path) -> None:
    truth = make_volume()
    rescales = [(1.0 + 0.1 * (k % 3), -1024.0 - k) for k in range(12)]
    save([make_enhanced(truth, SeriesOptions(), numbers=instance_numbers(12, "shuffled"), rescales=rescales)], tmp_path)
    assert_right(imaging.read_volume(tmp_path), truth)


def test_row53_enhanced_with_a_frame_missing(tmp_path: Path) -> None:
    truth = make_volume()
    dataset = make_enhanced(truth, SeriesOptions(), numbers=instance_numbers(12, "sorted"))
    del dataset.PerFrameFunctionalGroupsSequence[5]
    frame = truth.grid.shape[1] * truth.grid.shape[2] * 2
    dataset.PixelData = dataset.PixelData[: 5 * frame] + dataset.PixelData[6 * frame :]
    dataset.NumberOfFrames = 11
    save([dataset], tmp_path)
    with pytest.raises(InputError) as refusal:
        imaging.read_volume(tmp_path)
    assert refusal.value.code == "geometry.gap"
    assert "2.5 mm" in str(refusal.value)
    assert "#5" in str(refusal.value)
