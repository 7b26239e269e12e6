"""Files that mean harm, or were harmed: refused with a code, soon and in little memory; nothing else is ever raised."""

from __future__ import annotations

import time
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import assert_right, make_volume

import imaging
from imaging.errors import ImagingError, InputError
from imaging.simulation.dicom_enhanced import make_enhanced
from imaging.simulation.dicom_series import SeriesOptions, make_series, save, write_series

SMALL = (3, 8, 6)
MEGABYTE = 2**20


def refused(path: Path, *, megabytes: float = 40.0, seconds: float = 20.0) -> InputError:
    """The refusal; it must come soon and cost little memory."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(InputError) as caught:
            imaging.read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.perf_counter() - start < seconds
    assert peak < megabytes * MEGABYTE
    return caught.value


@pytest.mark.parametrize("syntax", ["explicit", "jpeg-ls", "deflated"])
@pytest.mark.parametrize(("rows", "columns"), [(65535, 65535), (65535, 6), (0, 6)])
def test_absurd_sizes(rows: int, columns: int, syntax: str, tmp_path: Path) -> None:
    datasets = make_series(make_volume(SMALL), SeriesOptions(transfer_syntax=syntax))
    for dataset in datasets:
        dataset.Rows, dataset.Columns = rows, columns
    save(datasets, tmp_path)
    assert refused(tmp_path).code in ("input.too_large", "dicom.pixel_format", "dicom.value", "dicom.damaged")


@pytest.mark.parametrize("frames", [0, -1, 2, 10**9, 2**62])
@pytest.mark.parametrize("enhanced", [False, True])
def test_absurd_numbers_of_frames(enhanced: bool, frames: int, tmp_path: Path) -> None:
    volume = make_volume(SMALL)
    datasets = [make_enhanced(volume, SeriesOptions(), numbers=[1, 2, 3])] if enhanced else make_series(volume)
    for dataset in datasets:
        dataset.NumberOfFrames = "7" * 12
    paths = save(datasets, tmp_path)
    for path in paths:
        path.write_bytes(path.read_bytes().replace(b"7" * 12, str(frames).encode()[:12].ljust(12)))
    assert refused(tmp_path).code in ("dicom.value", "dicom.pixel_format", "input.too_large")


def test_deflate_bomb_in_the_pixels(tmp_path: Path) -> None:
    """A gigabyte of zeros after a small image: no more than the image is inflated."""
    paths = save(make_series(make_volume(SMALL), SeriesOptions(transfer_syntax="deflated")), tmp_path)
    for path in paths:
        bomb(path, b"", after=256 * MEGABYTE)
    volume_or_refusal(tmp_path, megabytes=60)


def test_deflate_bomb_in_the_header(tmp_path: Path) -> None:
    """A private element of 600 MB before the pixels."""
    paths = save(make_series(make_volume(SMALL), SeriesOptions(transfer_syntax="deflated")), tmp_path)
    bomb(paths[0], b"\x09\x00\x01\x10OB\0\0" + (600 * MEGABYTE).to_bytes(4, "little"), before=600 * MEGABYTE)
    error = refused(tmp_path, megabytes=1200, seconds=60)
    assert error.code in ("input.too_large", "dicom.damaged")


def bomb(path: Path, element: bytes, *, before: int = 0, after: int = 0) -> None:
    data = path.read_bytes()
    start = 144 + int.from_bytes(data[140:144], "little")
    plain = zlib.decompressobj(-15).decompress(data[start:])
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    at = plain.index(b"\x10\x00\x10\x00PN")
    parts = [packer.compress(plain[:at] + element)]
    parts += [packer.compress(bytes(MEGABYTE)) for _ in range(before // MEGABYTE)]
    parts += [packer.compress(plain[at:])]
    parts += [packer.compress(bytes(MEGABYTE)) for _ in range(after // MEGABYTE)]
    path.write_bytes(data[:start] + b"".join(parts) + packer.flush())


def volume_or_refusal(path: Path, *, megabytes: float) -> None:
    tracemalloc.start()
    try:
        imaging.read_volume(path)
    except InputError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < megabytes * MEGABYTE


def test_a_header_longer_than_the_first_read(tmp_path: Path) -> None:
    """A long private sequence of undefined length before the pixels, across the edge of what is read first."""
    from pydicom.dataset import Dataset

    truth = make_volume(SMALL)
    for count in (1, 40, 400):
        datasets = make_series(truth)
        for dataset in datasets:
            block = dataset.private_block(0x0019, "NODULUS TEST", create=True)
            item = Dataset()
            item.ImageComments = "x" * 500
            block.add_new(1, "SQ", [item] * count)
            block.add_new(2, "UN", bytes(40000))
            dataset[block.get_tag(1)].is_undefined_length = True
        save(datasets, tmp_path / str(count))
        assert_right(imaging.read_volume(tmp_path / str(count)), truth)


def test_sequences_nested_without_end(tmp_path: Path) -> None:
    paths = write_series(make_volume(SMALL), tmp_path)
    data = paths[0].read_bytes()
    at = data.index(b"\x10\x00\x10\x00PN")
    nest = b"\x08\x00\x11\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 20000
    paths[0].write_bytes(data[:at] + nest + data[at:])
    assert refused(tmp_path, megabytes=200).code == "dicom.damaged"


def test_fragments_longer_than_the_file(tmp_path: Path) -> None:
    paths = write_series(make_volume(SMALL), tmp_path, options=SeriesOptions(transfer_syntax="jpeg-ls"))
    data = paths[0].read_bytes()
    at = data.rindex(b"\xfe\xff\x00\xe0")
    paths[0].write_bytes(data[: at + 4] + b"\xf0\xff\xff\xff" + data[at + 8 :])
    assert refused(tmp_path).code == "dicom.damaged"


@pytest.mark.parametrize("enhanced", [False, True])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    syntax=st.sampled_from(["explicit", "implicit", "big-endian", "deflated", "rle"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
)
def test_damaged_bytes_raise_only_refusals(
    enhanced: bool, syntax: str, edits: list[tuple[float, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    options = SeriesOptions(transfer_syntax=syntax)
    paths = write_series(make_volume(SMALL), folder, options=options, enhanced=enhanced)
    data = bytearray(paths[-1].read_bytes())
    for place, value in edits:
        at = 128 + int(place * (len(data) - 128 - len(value)))
        data[at : at + len(value)] = value
    paths[-1].write_bytes(data)
    with suppress(ImagingError):
        for info in imaging.list_series(folder):
            assert info.usable or info.code
        imaging.read_volume(folder)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(min_size=0, max_size=400), prefix=st.sampled_from([b"", bytes(128) + b"DICM", b"\x08\0", b"\0\x08"])
)
def test_noise_raises_only_refusals(prefix: bytes, data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("noise") / "file"
    path.write_bytes(prefix + data)
    with pytest.raises(ImagingError):
        imaging.read_volume(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keyword=st.sampled_from(
        ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"]
    ),
    text=st.one_of(
        st.text("0123456789.+-eE\\ ", max_size=12),
        st.sampled_from(
            ["nan", "inf\\0\\0", "1e300\\0\\0", "1e-300\\1e-300", "1\\0\\0\\0\\1\\0", "1e38", "-1e20\\0\\5"]
        ),
    ),
)
def test_absurd_numbers_raise_only_refusals(keyword: str, text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    datasets = make_series(make_volume(SMALL))
    paths = save(datasets, folder)
    for place, path in enumerate(paths):
        element = datasets[place][keyword]
        old = "\\".join(str(v) for v in element.value) if element.VM > 1 else str(element.value)
        old += " " * (len(old) % 2)
        new = text.encode().ljust(len(text) + len(text) % 2)
        raw = path.read_bytes()
        tag = element.tag.group.to_bytes(2, "little") + element.tag.element.to_bytes(2, "little") + b"DS"
        before = tag + len(old).to_bytes(2, "little") + old.encode()
        assert raw.count(before) == 1
        path.write_bytes(raw.replace(before, tag + len(new).to_bytes(2, "little") + new))
    with suppress(ImagingError):
        volume = imaging.read_volume(folder)
        assert np.isfinite(volume.grid.affine).all()
