"""Transfer syntaxes: what is decoded is exact, what is not is refused by its name, and no codestream is trusted."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from strategies import assert_right, make_volume

import imaging
from imaging.errors import InputError
from imaging.geometry import Grid, Volume
from imaging.io.dicom_codecs import CODECS
from imaging.simulation.dicom_encoding import TRANSFER_SYNTAXES
from imaging.simulation.dicom_enhanced import make_enhanced
from imaging.simulation.dicom_series import SeriesOptions, make_series, save, stored_values

# 32 x 32 of 16 bits, 1000 + 40 * column + 25 * row, written losslessly by OpenJPH 0.26.3.
HTJ2K = base64.b64decode(
    "/0//UQApQAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
    "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAALoAAf+TwAAmifMFB3QAwAATQAASgLb9Aod0"
    "AJACB3QAwAATwAATANq0/QICdADIkQBjVADAABUwAAVQbGxsbKpxgnUA4mKx+MAhAey2AMAAFfAABaAymUwmk8lk58p6enECeABu"
    "13Vd13X9hCB79hCB7LoAwAAtmAAFuo7jOI7jOI7jOI7jOPn/Cnp6enp6enCCfQAwhBBCCCGEEEII/3hgAAe/YAAe/YAAe/YAAeyz"
    "Af/Z"
)
BIG_ENOUGH = (4, 40, 36)


def ramp() -> Volume:
    rows, columns = np.mgrid[:32, :32]
    image = (40 * columns + 25 * rows - 24).astype(np.float32)
    return Volume(np.stack([image] * 3), Grid.from_spacing((3, 32, 32), spacing_mm=(2.0, 0.7, 0.7)))


def put(datasets: list[Dataset], syntax: str, codestream: bytes, **attributes: object) -> list[Dataset]:
    for dataset in datasets:
        dataset.PixelData = encapsulate([codestream])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = syntax
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
    return datasets


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        imaging.read_volume(path)
    return caught.value


@pytest.mark.parametrize("enhanced", [False, True], ids=["single", "enhanced"])
@pytest.mark.parametrize(("bits", "signed"), [(16, True), (12, False), (16, False), (12, True)])
@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
def test_lossless_syntaxes_are_exact(syntax: str, bits: int, signed: bool, enhanced: bool, tmp_path: Path) -> None:
    truth = make_volume(BIG_ENOUGH)
    intercept = 0.0 if bits == 12 and signed else -1024.0
    options = SeriesOptions(transfer_syntax=syntax, bits_stored=bits, signed=signed, intercept=intercept)
    datasets = [make_enhanced(truth, options, numbers=[2, 4, 1, 3])] if enhanced else make_series(truth, options)
    save(datasets, tmp_path)
    volume = imaging.read_volume(tmp_path)
    assert_right(volume, truth)
    assert volume.warnings == ()


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"])
def test_htj2k(syntax: str, tmp_path: Path) -> None:
    save(put(make_series(ramp(), SeriesOptions(signed=False)), syntax, HTJ2K), tmp_path)
    assert_right(imaging.read_volume(tmp_path), ramp())


@pytest.mark.parametrize("said", [{"LossyImageCompression": "01"}, {}], ids=["said", "not said"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"])
def test_jpeg_with_loss_is_read_with_a_warning(syntax: str, said: dict[str, str], tmp_path: Path) -> None:
    """Eight bits, as JPEG baseline has; the encoder is Pillow's, the judge is Pillow's decoder."""
    truth = ramp()
    buffer = io.BytesIO()
    Image.fromarray(((truth.array[0] + 24) / 9).astype(np.uint8)).save(buffer, "JPEG", quality=95)
    decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
    options = SeriesOptions(signed=False, slope=9.0)
    eight = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7} | said
    save(put(make_series(truth, options), syntax, buffer.getvalue(), **eight), tmp_path)
    volume = imaging.read_volume(tmp_path)
    assert np.abs(volume.array[0] - (decoded * 9.0 - 1024)).max() <= 9.0
    assert [notice.code for notice in volume.warnings] == ["pixels.lossy"]


def test_jpeg_ls_near_lossless(tmp_path: Path) -> None:
    import jpeg_ls

    truth = make_volume(BIG_ENOUGH)
    options = SeriesOptions(signed=False, bits_stored=12)
    datasets = make_series(truth, options)
    for dataset, image in zip(datasets, truth.array, strict=True):
        words = np.ascontiguousarray(stored_values(image, options))
        put([dataset], "1.2.840.10008.1.2.4.81", bytes(jpeg_ls.encode_array(words, lossy_error=1)))
    save(datasets, tmp_path)
    assert_right(imaging.read_volume(tmp_path), truth)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.113619.5.2", "GE private"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL Lossless"),
        ("1.2.840.10008.1.2.4.111", "JPEG XL JPEG Recompression"),
        ("1.2.840.10008.1.2.4.112", "JPEG XL"),
        ("1.2.840.10008.1.2.8.1", "Deflated Image Frame Compression"),
        ("1.2.840.10008.1.2.4.100", "MPEG2"),
        ("1.2.840.10008.1.2.4.52", "JPEG"),
        ("1.2.3.4.5", "unknown"),
    ],
)
def test_syntaxes_without_a_decoder_are_refused_by_name(syntax: str, name: str, tmp_path: Path) -> None:
    stand_in = "1." + "3" * (len(syntax) - 2)  # no writer takes a syntax that it does not know
    for number, dataset in enumerate(put(make_series(ramp()), stand_in, HTJ2K)):
        path = tmp_path / str(number)
        dataset.save_as(path, implicit_vr=False, little_endian=True, enforce_file_format=True)
        path.write_bytes(path.read_bytes().replace(stand_in.encode(), syntax.encode()))
    error = refusal(tmp_path)
    assert error.code == "dicom.transfer_syntax"
    assert name in error.message
    assert syntax in error.message
    assert not imaging.list_series(tmp_path)[0].usable


def test_jpeg_extended_of_12_bits_is_refused_by_name(tmp_path: Path) -> None:
    datasets = make_series(ramp(), SeriesOptions(signed=False, bits_stored=12))
    save(put(datasets, "1.2.840.10008.1.2.4.51", b"\xff\xd8\xff\xd9"), tmp_path)
    error = refusal(tmp_path)
    assert error.code == "dicom.transfer_syntax"
    assert "JPEG Extended" in error.message


@pytest.mark.parametrize("syntax", [name for name in TRANSFER_SYNTAXES if TRANSFER_SYNTAXES[name] in CODECS])
def test_codestream_of_another_size_is_refused(syntax: str, tmp_path: Path) -> None:
    datasets = make_series(make_volume(BIG_ENOUGH), SeriesOptions(transfer_syntax=syntax))
    for dataset in datasets:
        dataset.Columns = 72
    save(datasets, tmp_path)
    assert refusal(tmp_path).code in ("dicom.pixel_format", "dicom.damaged")


@pytest.mark.parametrize("syntax", [name for name in TRANSFER_SYNTAXES if TRANSFER_SYNTAXES[name] in CODECS])
def test_codestream_whose_end_is_lost_is_refused(syntax: str, tmp_path: Path) -> None:
    """The file is whole, the codestream in it is not."""
    datasets = make_series(make_volume(BIG_ENOUGH), SeriesOptions(transfer_syntax=syntax))
    (codestream,) = frames(datasets[1])
    datasets[1].PixelData = encapsulate([codestream[: len(codestream) // 2]])
    save(datasets, tmp_path)
    error = refusal(tmp_path)
    assert error.code == "dicom.damaged"
    assert "IM00002" in str(error)


@pytest.mark.parametrize("syntax", ["rle", "jpeg-ls", "jpeg-lossless-sv1", "jpeg-2000", "deflated", "implicit"])
def test_truncated_anywhere(syntax: str, tmp_path: Path) -> None:
    paths = save(make_series(make_volume((3, 40, 36)), SeriesOptions(transfer_syntax=syntax)), tmp_path)
    whole = paths[0].read_bytes()
    sizes = np.unique(np.r_[np.linspace(132, len(whole) - 1, 24).astype(int), range(len(whole) - 9, len(whole) - 1)])
    for size in sizes.tolist():
        paths[0].write_bytes(whole[:size])
        error = refusal(tmp_path)
        assert error.code in ("dicom.damaged", "dicom.pixel_format"), f"cut at {size} of {len(whole)}: {error}"
        assert "IM00001" in str(error)


def test_several_fragments_a_frame(tmp_path: Path) -> None:
    truth = make_volume(BIG_ENOUGH)
    datasets = make_series(truth, SeriesOptions(transfer_syntax="jpeg-ls"))
    for dataset in datasets:
        (codestream,) = frames(dataset)
        dataset.PixelData = encapsulate([codestream], fragments_per_frame=3)
    save(datasets, tmp_path / "single")
    assert_right(imaging.read_volume(tmp_path / "single"), truth)
    enhanced = make_enhanced(truth, SeriesOptions(transfer_syntax="jpeg-ls"), numbers=[1, 2, 3, 4])
    enhanced.PixelData = encapsulate(list(frames(enhanced)), fragments_per_frame=2)
    save([enhanced], tmp_path / "enhanced")
    assert_right(imaging.read_volume(tmp_path / "enhanced"), truth)
    enhanced.PixelData = encapsulate(list(frames(enhanced)), fragments_per_frame=2, has_bot=False)
    save([enhanced], tmp_path / "no table")
    assert refusal(tmp_path / "no table").code == "dicom.pixel_format"


def frames(dataset: Dataset) -> list[bytes]:
    from pydicom.encaps import generate_frames

    return list(generate_frames(dataset.PixelData, number_of_frames=int(dataset.get("NumberOfFrames", 1))))
