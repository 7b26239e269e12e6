"""Which series a path holds, which one is read, and what is said about the others."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from strategies import assert_right, make_volume

import imaging
from imaging.errors import InputError, Notice, UsageError
from imaging.geometry import Volume
from imaging.io.limits import Limits
from imaging.io.nifti import write_nifti
from imaging.simulation.dicom_enhanced import make_enhanced
from imaging.simulation.dicom_series import SeriesOptions, make_series, save, uid, write_series


def refusal(path: Path, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        imaging.read_volume(path, **options)
    return caught.value


def codes(volume: Volume) -> list[str]:
    return [notice.code for notice in volume.warnings]


def message(volume: Volume, code: str) -> str:
    return next(notice.message for notice in volume.warnings if notice.code == code)


def report(sop_class: str, modality: str, **attributes: object) -> Dataset:
    """A DICOM object without pixels."""
    dataset = make_series(make_volume((2, 4, 4)))[0]
    for keyword in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid(modality)
    dataset.SeriesInstanceUID, dataset.Modality = uid("report", modality), modality
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


SR, DOSE_SR = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.67"


def test_a_folder_a_zip_and_loose_files_are_the_same(tmp_path: Path) -> None:
    truth = make_volume()
    paths = write_series(truth, tmp_path / "folder")
    (tmp_path / "deep").mkdir()
    for number, path in enumerate(paths):
        place = tmp_path / "deep" / str(number % 3) / f"{number}.bin"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    for compression, name in ((zipfile.ZIP_STORED, "stored"), (zipfile.ZIP_DEFLATED, "deflated")):
        with zipfile.ZipFile(tmp_path / name, "w", compression) as archive:
            for path in paths:
                archive.write(path, path.name)
    volumes = [imaging.read_volume(tmp_path / name) for name in ("folder", "deep", "stored", "deflated")]
    for volume in volumes:
        assert_right(volume, truth)
        assert volume.warnings == ()
        assert np.array_equal(volume.array, volumes[0].array)
        assert np.array_equal(volume.grid.affine, volumes[0].grid.affine)
        assert volume.origin == volumes[0].origin
        assert volume.origin is not None
        assert volume.origin.header == volumes[0].origin.header


def test_the_array_cannot_be_changed(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path)
    assert not imaging.read_volume(tmp_path).array.flags.writeable


def test_origin_names_each_slice_and_carries_what_results_copy(tmp_path: Path) -> None:
    datasets = make_series(make_volume(), numbers=list(range(12, 0, -1)))
    save(datasets, tmp_path)
    origin = imaging.read_volume(tmp_path).origin
    assert origin is not None
    assert [one.sop_instance_uid for one in origin.instances] == [dataset.SOPInstanceUID for dataset in datasets]
    assert (origin.format, origin.modality, origin.convolution_kernel) == ("dicom", "CT", "SIMULATED")
    assert origin.seriesuid == datasets[0].SeriesInstanceUID
    assert origin.study_instance_uid == datasets[0].StudyInstanceUID
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate"):
        assert origin.header[keyword].value == datasets[0][keyword].value
    assert "PixelData" not in origin.header
    assert "Phantom" not in repr(origin)


def test_enhanced_instances_carry_frame_numbers(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path, enhanced=True, order="reversed")
    origin = imaging.read_volume(tmp_path).origin
    assert origin is not None
    assert [one.frame_number for one in origin.instances] == list(range(12, 0, -1))


def test_content_hash_follows_pixels_and_place_only(tmp_path: Path) -> None:
    def digest(name: str, volume: Volume, **options: object) -> str | None:
        save(make_series(volume, SeriesOptions(**options)), tmp_path / name)
        origin = imaging.read_volume(tmp_path / name).origin
        return origin and origin.content_sha256

    plain = digest("plain", make_volume())
    assert digest("compressed", make_volume(), transfer_syntax="jpeg-ls") == plain
    assert digest("moved", make_volume(origin_mm=(0, 0, 0))) != plain
    assert digest("other", make_volume(seed=1)) != plain


def test_listing_says_what_a_series_is(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path, options=SeriesOptions(description="Thin", kernel="B31f", thickness_mm=2.0))
    (info,) = imaging.list_series(tmp_path)
    assert info.usable
    assert (info.modality, info.description, info.convolution_kernel) == ("CT", "Thin", "B31f")
    assert (info.instances, info.rows, info.columns, info.slice_thickness_mm) == (12, 24, 20, 2.0)
    assert info.slice_spacing_mm == pytest.approx(1.25)
    assert info.pixel_spacing_mm == pytest.approx((0.7, 0.85))
    assert info.extent_mm == pytest.approx(15.0)
    assert len(info.files) == 12
    assert "PHANTOM" not in json.dumps(info.to_json())


def test_patient_key_tells_patients_apart_and_hides_them(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path / "a", options=SeriesOptions(patient_id="ANNA"))
    write_series(make_volume(), tmp_path / "b", options=SeriesOptions(patient_id="BERTA"))
    first, second = imaging.list_series(tmp_path)
    assert first.patient_key
    assert second.patient_key
    assert first.patient_key != second.patient_key
    error = refusal(tmp_path)
    assert error.code == "series.ambiguous"
    assert "ANNA" not in str(error)


def test_one_series_uid_for_two_patients_makes_two_series(tmp_path: Path) -> None:
    save(make_series(make_volume()), tmp_path / "a")
    other = make_series(make_volume(seed=1), SeriesOptions(key="other"))
    for dataset in other:
        dataset.PatientID = "OTHER"
        dataset.SeriesInstanceUID = make_series(make_volume((2, 4, 4)))[0].SeriesInstanceUID
    save(other, tmp_path / "b")
    lines = imaging.list_series(tmp_path)
    assert len(lines) == 2
    assert refusal(tmp_path).code == "series.ambiguous"
    for line in lines:
        assert imaging.read_volume(tmp_path, series=line).array.shape == (12, 24, 20)


def test_a_patient_whose_series_is_broken_still_counts_as_a_patient(tmp_path: Path) -> None:
    save(make_series(make_volume(), SeriesOptions(patient_id="A")), tmp_path / "a")
    broken = make_series(make_volume(), SeriesOptions(patient_id="B"))
    save(broken[:3] + broken[6:], tmp_path / "b")
    assert refusal(tmp_path).code == "series.ambiguous"


def test_a_broken_second_series_of_the_patient_is_told(tmp_path: Path) -> None:
    save(make_series(make_volume()), tmp_path / "a")
    broken = make_series(make_volume(), SeriesOptions(key="other"))
    save(broken[:3] + broken[6:], tmp_path / "b")
    volume = imaging.read_volume(tmp_path)
    assert codes(volume) == ["series.others"]
    assert "geometry.gap" in message(volume, "series.others")


def test_what_is_no_image_is_passed_over_and_told(tmp_path: Path) -> None:
    truth = make_volume()
    save(make_series(truth), tmp_path)
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "empty").touch()
    save([report(SR, "SR"), report(DOSE_SR, "SR", SeriesInstanceUID=uid("dose"))], tmp_path, names=["sr", "dose.dcm"])
    (tmp_path / "empty").unlink()
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, truth)
    assert sorted(codes(volume)) == ["series.files_ignored", "series.others"]
    assert "README.txt" in message(volume, "series.files_ignored")
    lines = {info.modality: info for info in imaging.list_series(tmp_path)}
    assert lines["SR"].code == "series.no_volume"
    assert "SR Storage" in (lines["SR"].reason or "")


def test_a_report_within_the_series_is_left_out(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    save(datasets, tmp_path)
    save([report(SR, "SR", SeriesInstanceUID=datasets[0].SeriesInstanceUID)], tmp_path, names=["sr"])
    volume = imaging.read_volume(tmp_path)
    assert codes(volume) == ["series.images_dropped"]
    assert "sr" in message(volume, "series.images_dropped")


def test_an_empty_file_named_like_the_images_is_a_lost_image(tmp_path: Path) -> None:
    save(make_series(make_volume())[:-1], tmp_path)
    (tmp_path / "IM00012").touch()
    error = refusal(tmp_path)
    assert error.code == "dicom.damaged"
    assert "IM00012" in str(error)


def test_a_lost_image_elsewhere_does_not_block_a_named_series(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    save(datasets, tmp_path / "a")
    paths = save(make_series(make_volume(), SeriesOptions(key="b")), tmp_path / "b")
    paths[3].write_bytes(paths[3].read_bytes()[:150])
    lines = imaging.list_series(tmp_path)
    assert {info.code for info in lines} == {None, "dicom.damaged", "geometry.gap"}
    uid_a = str(datasets[0].SeriesInstanceUID)
    assert imaging.read_volume(tmp_path, series=uid_a).array.shape == (12, 24, 20)
    assert refusal(tmp_path).code == "dicom.damaged"


def alter(**attributes: object) -> Callable[[list[Dataset]], list[Dataset]]:
    def change(datasets: list[Dataset]) -> list[Dataset]:
        for dataset in datasets:
            for keyword, value in attributes.items():
                setattr(dataset, keyword, value)
        return datasets

    return change


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "series.no_volume"),
        ({"ImageType": ["DERIVED", "SECONDARY", "REFORMATTED", "MIP"]}, "series.no_volume"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "series.no_volume"),
        ({"ImageType": ["DERIVED", "SECONDARY", "AXIAL", "3D"]}, "series.no_volume"),
        ({"ImageType": ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]}, "series.perfusion"),
        ({"Modality": "MR"}, "series.not_ct"),
        ({"Modality": "PT"}, "series.not_ct"),
        ({"RescaleSlope": "0"}, "dicom.rescale"),
        ({"RescaleSlope": "nan"}, "dicom.value"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "geometry.orientation"),
        ({"PixelSpacing": ["0", "0.7"]}, "dicom.value"),
        ({"PixelSpacing": ["0.7"]}, "dicom.value"),
        ({"NumberOfFrames": "2"}, "dicom.pixel_format"),
        ({"BitsAllocated": 12}, "dicom.pixel_format"),
        ({"BitsStored": 17}, "dicom.pixel_format"),
        ({"PixelRepresentation": 2}, "dicom.value"),
        ({"Rows": 25}, "dicom.pixel_format"),
        ({"Rows": 20}, "dicom.pixel_format"),
        ({"SeriesInstanceUID": ""}, "dicom.missing"),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_refused_as_a_whole(attributes: dict[str, object], code: str, tmp_path: Path) -> None:
    save(alter(**attributes)(make_series(make_volume())), tmp_path)
    assert refusal(tmp_path).code == code
    (info,) = imaging.list_series(tmp_path)
    assert (info.usable, info.code) == (False, code)
    assert info.reason


def test_modality_lut_is_refused(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType, lut.LUTData = [256, 0, 16], "HU", bytes(512)
    lut["LUTData"].VR = "OW"
    for dataset in datasets:
        dataset.ModalityLUTSequence = [lut]
        del dataset.RescaleSlope, dataset.RescaleIntercept
    save(datasets, tmp_path)
    assert refusal(tmp_path).code == "dicom.rescale"


def test_some_slices_without_rescale_are_refused(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    del datasets[4].RescaleIntercept
    save(datasets, tmp_path)
    error = refusal(tmp_path)
    assert error.code == "dicom.rescale"
    assert "IM00005" in str(error)


def test_private_scale_is_ignored(tmp_path: Path) -> None:
    """Philips repeats a slope of its own in (2005,100E); for CT only (0028,1053) counts."""
    datasets = make_series(make_volume())
    for dataset in datasets:
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", 7.5)
    save(datasets, tmp_path)
    assert_right(imaging.read_volume(tmp_path), make_volume())


def test_padding_among_tissue_is_kept_and_told(tmp_path: Path) -> None:
    """A padding value of 0 on stored HU would punch holes into water."""
    truth = make_volume()
    datasets = make_series(truth, SeriesOptions(intercept=0))
    for dataset in datasets:
        dataset.add_new(0x00280120, "SS", int(truth.array[0, 0, 0]))
    assert truth.array[0, 0, 0] > -900
    save(datasets, tmp_path)
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, truth)
    assert codes(volume) == ["pixels.padding_kept"]


def test_padding_range(tmp_path: Path) -> None:
    truth = make_volume()
    datasets = make_series(truth, SeriesOptions(intercept=0))
    for dataset in datasets:
        dataset.add_new(0x00280120, "SS", -2000)
        dataset.add_new(0x00280121, "SS", -990)
    save(datasets, tmp_path)
    volume = imaging.read_volume(tmp_path)
    assert np.array_equal(volume.array, np.where(truth.array <= -990, -1024, truth.array))
    assert codes(volume) == ["pixels.padding"]


def test_trailing_bytes_are_told(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    datasets[0].PixelData += bytes(8)
    save(datasets, tmp_path)
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, make_volume())
    assert codes(volume) == ["pixels.excess"]


def test_a_derived_series_beside_its_original_is_not_read_by_default(tmp_path: Path) -> None:
    original, derived = make_volume(), make_volume(seed=2)
    write_series(original, tmp_path / "a")
    options = SeriesOptions(key="mpr", image_type=("DERIVED", "SECONDARY", "REFORMATTED"))
    write_series(derived, tmp_path / "b", options=options)
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, original)
    assert "series.derived" in message(volume, "series.others")
    line = next(info for info in imaging.list_series(tmp_path) if not info.usable)
    assert line.code == "series.derived"
    asked = imaging.read_volume(tmp_path, series=line)
    assert_right(asked, derived)
    assert codes(asked) == ["series.is_derived", "series.others"]


def test_derived_images_within_an_original_series_are_dropped(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    extra = make_series(make_volume(seed=3), SeriesOptions(image_type=("DERIVED", "SECONDARY", "AXIAL")))[:3]
    for number, dataset in enumerate(extra):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid("derived", str(number))
    save(datasets + extra, tmp_path, names=[str(number) for number in range(15)])
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, make_volume())
    assert codes(volume) == ["series.images_dropped"]


@pytest.mark.parametrize(
    "keyword",
    ["TemporalPositionIdentifier", "NominalPercentageOfCardiacPhase", "ContrastBolusAgent", "AcquisitionTime"],
)
def test_phases_are_groups_that_need_a_choice(keyword: str, tmp_path: Path) -> None:
    for phase in range(3):
        datasets = make_series(make_volume(seed=phase), SeriesOptions())
        for place, dataset in enumerate(datasets):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid("4D", str(phase), str(place))
            dataset.InstanceNumber = 3 * place + phase + 1
            value = 10.0 + phase if keyword.startswith("Nominal") else str(120000 + phase)
            setattr(dataset, keyword, value)
        save(datasets, tmp_path)
    lines = imaging.list_series(tmp_path)
    assert [line.group.split("=")[0] for line in lines] == [keyword] * 3
    assert refusal(tmp_path).code == "series.ambiguous"
    for phase, line in enumerate(lines):
        assert_right(imaging.read_volume(tmp_path, series=line), make_volume(seed=phase))


def test_phases_that_interleave_evenly_are_not_merged(tmp_path: Path) -> None:
    """Two phases shifted by half a step make one even stack of half the spacing; only the attribute betrays them."""
    first = make_volume(spacing_mm=(2.5, 0.7, 0.7))
    second = make_volume(spacing_mm=(2.5, 0.7, 0.7), origin_mm=(-61.5, -180.25, -249.25), seed=1)
    for phase, volume in enumerate((first, second)):
        datasets = make_series(volume)
        for place, dataset in enumerate(datasets):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid("half", str(phase), str(place))
            dataset.TemporalPositionIdentifier = phase + 1
        save(datasets, tmp_path / str(phase))
    assert refusal(tmp_path).code == "series.ambiguous"
    assert_right(imaging.read_volume(tmp_path, series=imaging.list_series(tmp_path)[1]), second)


def test_two_acquisitions_that_interleave_are_told(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    for place, dataset in enumerate(datasets):
        dataset.AcquisitionNumber = 1 + place % 2
    save(datasets, tmp_path)
    assert codes(imaging.read_volume(tmp_path)) == ["series.acquisitions"]


def test_a_change_of_kernel_along_the_stack_is_told(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    for dataset in datasets[6:]:
        dataset.ConvolutionKernel = "B70f"
    save(datasets, tmp_path)
    assert codes(imaging.read_volume(tmp_path)) == ["series.mixed_settings"]


def test_enhanced_phases_are_groups(tmp_path: Path) -> None:
    datasets = []
    for phase in (1, 2):
        dataset = make_enhanced(make_volume(seed=phase), SeriesOptions(), numbers=list(range(1, 13)))
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid("phase", str(phase))
        for item in dataset.PerFrameFunctionalGroupsSequence:
            item.FrameContentSequence[0].TemporalPositionIndex = phase
        datasets.append(dataset)
    save(datasets, tmp_path, names=["1", "2"])
    assert refusal(tmp_path).code == "series.ambiguous"
    for phase, line in enumerate(imaging.list_series(tmp_path)):
        assert_right(imaging.read_volume(tmp_path, series=line), make_volume(seed=phase + 1))


def test_enhanced_spread_over_several_files(tmp_path: Path) -> None:
    truth = make_volume()
    parts = []
    for number, places in enumerate((slice(0, 5), slice(5, 12))):
        grid = type(truth.grid)((places.stop - places.start, 24, 20), moved(truth, places.start))
        part = make_enhanced(Volume(truth.array[places], grid), SeriesOptions(), numbers=range(1, grid.shape[0] + 1))
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = uid("part", str(number))
        parts.append(part)
    save(parts, tmp_path, names=["1", "2"])
    assert_right(imaging.read_volume(tmp_path), truth)


def moved(volume: Volume, place: int) -> np.ndarray:
    affine = volume.grid.affine.copy()
    affine[:3, 3] = volume.grid.to_mm((place, 0, 0))
    return affine


def test_an_unknown_series_is_a_usage_error(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path)
    with pytest.raises(UsageError) as caught:
        imaging.read_volume(tmp_path, series="1.2.3")
    assert caught.value.code == "series.unknown"


def test_a_nifti_and_a_dicom_series_in_one_folder_are_two(tmp_path: Path) -> None:
    truth = make_volume()
    write_series(truth, tmp_path / "dicom")
    write_nifti(truth.array, truth.grid, tmp_path / "ct.nii.gz")
    lines = imaging.list_series(tmp_path)
    assert sorted(line.format for line in lines) == ["dicom", "nifti"]
    assert refusal(tmp_path).code == "series.ambiguous"
    for line in lines:
        assert_right(imaging.read_volume(tmp_path, series=line), truth)
    nifti = next(line for line in lines if line.format == "nifti")
    assert nifti.seriesuid.startswith("sha256:")
    assert imaging.read_volume(tmp_path, series=nifti.seriesuid).seriesuid == nifti.seriesuid


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    assert refusal(tmp_path).code == "input.not_image"
    save([report(SR, "SR"), report(DOSE_SR, "SR", SeriesInstanceUID=uid("2"))], tmp_path, names=["1", "2"])
    assert refusal(tmp_path).code == "series.no_volume"


def test_two_broken_series_are_both_named(tmp_path: Path) -> None:
    for key, places in (("a", slice(0, 1)), ("b", slice(0, 12, 5))):
        datasets = make_series(make_volume(), SeriesOptions(key=key))
        for dataset in datasets:
            if key == "b":
                del dataset.PixelSpacing
        save(datasets[places], tmp_path / key)
    save(alter(RescaleSlope="0")(make_series(make_volume(), SeriesOptions(key="c"))), tmp_path / "c")
    error = refusal(tmp_path)
    assert error.code == "series.none_usable"
    assert "dicom.missing" in error.message
    assert "dicom.rescale" in error.message


def test_the_cap_on_voxels(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path)
    assert refusal(tmp_path, limits=Limits(voxels=12 * 24 * 20 - 1)).code == "input.too_large"
    assert imaging.read_volume(tmp_path, limits=Limits(voxels=12 * 24 * 20)).array.shape == (12, 24, 20)


def test_progress_counts_slices_and_can_cancel(tmp_path: Path) -> None:
    write_series(make_volume(), tmp_path)
    seen: list[tuple[int, int]] = []
    imaging.read_volume(tmp_path, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 12) for number in range(1, 13)]

    def cancel(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imaging.read_volume(tmp_path, on_progress=cancel)


def test_every_notice_is_a_notice(tmp_path: Path) -> None:
    datasets = make_series(make_volume())
    datasets[0].PixelData += bytes(8)
    save(datasets, tmp_path)
    assert all(isinstance(notice, Notice) and notice.message for notice in imaging.read_volume(tmp_path).warnings)


@pytest.mark.shared
@pytest.mark.parametrize(("name", "slices", "place_mm"), [("0001", 133, -340.0), ("0132", 116, -366.5)])
def test_real_cts(name: str, slices: int, place_mm: float, shared_data: Path) -> None:
    """Against a plain loop over the files with pydicom."""
    import io

    from pydicom import dcmread

    path = shared_data / "ct" / f"LIDC-IDRI-{name}.zip"
    volume = imaging.read_volume(path)
    assert volume.array.shape == (slices, 512, 512)
    assert volume.grid.to_mm((0, 0, 0))[2] == pytest.approx(place_mm)
    assert volume.warnings == ()
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist()[::20]:
            dataset = dcmread(io.BytesIO(archive.read(member)))
            index = volume.grid.to_index(np.array(dataset.ImagePositionPatient, dtype=float))
            assert np.abs(index - np.rint(index)).max() < 1e-6
            hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
            assert np.array_equal(volume.array[round(index[0])], hu)


def test_a_series_exported_twice_is_read_once(tmp_path: Path) -> None:
    """The same images under new instance UIDs, and a folder copied as it is."""
    save(make_series(make_volume()), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    again = make_series(make_volume())
    for place, dataset in enumerate(again):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid("again", str(place))
    save(again, tmp_path / "c")
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, make_volume())
    assert codes(volume) == ["dicom.duplicates"]
    (info,) = imaging.list_series(tmp_path)
    assert info.usable


def test_legacy_converted_enhanced_of_another_writer(tmp_path: Path) -> None:
    """highdicom turns the single images into one legacy converted enhanced CT."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    truth = make_volume()
    datasets = make_series(truth)
    for dataset in datasets:
        dataset.LargestImagePixelValue = dataset.SmallestImagePixelValue = 0
        del dataset.LargestImagePixelValue, dataset.SmallestImagePixelValue
    converted = LegacyConvertedEnhancedCTImage(
        datasets,
        series_instance_uid=uid("legacy"),
        series_number=2,
        sop_instance_uid=uid("legacy", "1"),
        instance_number=1,
    )
    converted.save_as(tmp_path / "legacy")
    assert_right(imaging.read_volume(tmp_path), truth)
