"""Whatever is fed to `list_series` and `read_volume`, only an `ImagingError` comes out, in bounded time and memory."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from imaging import ImagingError, list_series, read_volume
from imaging.geometry import Grid, Volume
from imaging.io.nifti import write_nifti
from imaging.simulation.dicom_series import SeriesOptions, write_series

SYNTAXES = (
    "explicit", "implicit", "big-endian", "deflated", "rle", "jpeg-lossless-sv1", "jpeg-ls", "jpeg-2000",
)  # fmt: skip
FILES = ("ct.nii", "ct.nii.gz", "ct.mha", "packed.mha", "ct.mhd", "ct.nrrd", "packed.nrrd", "ct.nhdr")


def small_ct() -> Volume:
    array = np.random.default_rng(0).normal(0, 10, (4, 32, 32)) + np.linspace(-1000, 200, 32)
    grid = Grid.from_spacing(array.shape, spacing_mm=(2.0, 0.7, 0.7), origin_mm=(-10, -20, 30))
    return Volume(array.round().astype(np.float32), grid)


def write_file(volume: Volume, path: Path) -> None:
    """The volume in one of the other formats; the name says which and whether it is packed."""
    if ".nii" in path.name:
        write_nifti(volume.array.astype(np.int16), volume.grid, path)
        return
    image = SimpleITK.GetImageFromArray(volume.array.astype(np.int16))
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(tuple(volume.grid.to_mm((0, 0, 0))))
    SimpleITK.WriteImage(image, str(path), useCompression=path.name.startswith("packed"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An honest input of each kind, by name."""
    root, volume = tmp_path_factory.mktemp("inputs"), small_ct()
    for syntax in SYNTAXES:
        write_series(volume, root / syntax, options=SeriesOptions(transfer_syntax=syntax))
    write_series(volume, root / "enhanced", enhanced=True)
    for name in FILES:
        (root / f"folder-{name}").mkdir()
        write_file(volume, root / f"folder-{name}" / name)
    (root / "zip").mkdir()
    with zipfile.ZipFile(root / "zip" / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((root / "explicit").iterdir()):
            archive.write(path, f"ct/{path.name}")
    return {path.name: path for path in root.iterdir()}


def outcome(path: Path) -> Volume | str:
    """The volume, or the code of the refusal; anything else fails the test that asks."""
    with suppress(ImagingError):
        list_series(path)
    try:
        return read_volume(path)
    except ImagingError as error:
        return error.code


def test_the_inputs_are_honest(inputs: dict[str, Path]) -> None:
    for name, path in inputs.items():
        volume = outcome(path)
        assert isinstance(volume, Volume), name
        assert np.array_equal(volume.array, small_ct().array), name
        assert volume.grid.same_as(small_ct().grid), name


# --- random damage ----------------------------------------------------------------------------------------------------


def spoil(content: bytes, rng: random.Random) -> bytes:
    """Cut, flip, overwrite, delete, double or insert somewhere."""
    spoilt = bytearray(content)
    at = rng.randrange(min(len(spoilt), rng.choice([400, 1500, 10**9])))
    numbers = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff", b"\0\x80"]
    match rng.randrange(7):
        case 0:
            del spoilt[at:]
        case 1:
            del spoilt[: at + 1]
        case 2:
            spoilt[at] ^= 1 << rng.randrange(8)
        case 3:
            number = rng.choice(numbers)
            spoilt[at : at + len(number)] = number
        case 4:
            del spoilt[at : at + rng.choice([1, 2, 4, 8, 100])]
        case 5:
            spoilt[at:at] = spoilt[at : at + rng.choice([1, 2, 8, 100])]
        case _:
            spoilt[at:at] = rng.randbytes(rng.choice([1, 2, 4, 16]))
    return bytes(spoilt)


@pytest.mark.parametrize("name", [*SYNTAXES, "enhanced", "zip", *(f"folder-{name}" for name in FILES)])
def test_random_damage(inputs: dict[str, Path], tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    for _ in range(25):
        case = tmp_path / "case"
        shutil.copytree(inputs[name], case)
        target = rng.choice(sorted(case.iterdir()))
        target.write_bytes(spoil(target.read_bytes(), rng))
        volume = outcome(case)
        assert isinstance(volume, str) or np.isfinite(volume.array).all()
        shutil.rmtree(case)


@pytest.mark.parametrize("name", [*(f"folder-{name}" for name in FILES), "zip", "enhanced"])
def test_truncation_is_never_read_as_whole(inputs: dict[str, Path], tmp_path: Path, name: str) -> None:
    shutil.copytree(inputs[name], tmp_path / "case")
    for target in sorted((tmp_path / "case").iterdir()):
        content = target.read_bytes()
        for size in {
            0,
            1,
            4,
            len(content) - 1,
            len(content) - 2,
            *range(100, len(content), max(1, len(content) // 25)),
        }:
            if target.suffix == ".nhdr" and size > 100:
                continue  # a text header whose voxels lie elsewhere; its own tests cut it
            target.write_bytes(content[:size])
            volume = outcome(tmp_path / "case")
            whole = target.suffix == ".mhd" and size == len(content) - 1  # its last byte is but the line's end
            assert isinstance(volume, Volume) == whole, (target.name, size)
        target.write_bytes(content)


def test_truncated_slice_is_never_read_as_whole(inputs: dict[str, Path], tmp_path: Path) -> None:
    for name in SYNTAXES:
        shutil.copytree(inputs[name], tmp_path / name)
        target = sorted((tmp_path / name).iterdir())[1]
        content = target.read_bytes()
        for size in {1, 131, 140, 300, 700, len(content) // 2, len(content) - 20}:
            target.write_bytes(content[:size])
            volume = outcome(tmp_path / name)
            assert isinstance(volume, str) or volume.warnings, (name, size)


# --- found by fuzzing -------------------------------------------------------------------------------------------------


def replaced(inputs: dict[str, Path], folder: Path, name: str, change: Callable[[bytes], bytes]) -> Volume | str:
    shutil.copytree(inputs[name], folder / name)
    target = sorted((folder / name).iterdir())[0]
    target.write_bytes(change(target.read_bytes()))
    return outcome(folder / name)


def test_rle_that_makes_the_decoder_panic(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Fragments that unpack to more than the frame end in a Rust panic, which is no `Exception`."""

    def change(content: bytes) -> bytes:
        at = content.index(b"\xfe\xff\x00\xe0", content.index(b"\xe0\x7f\x10\x00")) + 8  # after the empty offset table
        segment = at + 8 + 64
        return content[:segment] + b"\x7f" + content[segment + 1 :]

    assert isinstance(replaced(inputs, tmp_path, "rle", change), str)


def test_unknown_value_representation(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Four zeros over a VR and the length after it: pydicom reads the element late, and then fails."""

    def change(content: bytes) -> bytes:
        at = content.index(b"\x08\0\x08\0CS") + 5
        return content[:at] + bytes(4) + content[at + 4 :]

    assert isinstance(replaced(inputs, tmp_path, "explicit", change), str)


def test_header_that_keeps_a_parser_busy(tmp_path: Path) -> None:
    meta = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    for name, body in [
        ("tiny elements", b"\x09\0\x01\x10CS\0\0" * 2_000_000),
        ("zeros", bytes(50_000_000)),
        ("nested", (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff") * 50_000),
    ]:
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + meta + body)
        assert isinstance(outcome(tmp_path / name), str)


# --- odd folders ------------------------------------------------------------------------------------------------------


def test_a_ct_among_pipes_devices_links_and_odd_names(inputs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(inputs["explicit"], tmp_path / "ct")
    for number, path in enumerate(sorted((tmp_path / "ct").iterdir())):
        odd = ["Größe 肺\n", "a b;c'\"$(x)", "-rf", "\udcff\udcfe"][number]
        path.rename(path.parent / odd)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    volume = outcome(tmp_path)
    listening.close()
    assert isinstance(volume, Volume)
    assert np.array_equal(volume.array, small_ct().array)
    assert sum(notice.code == "source.skipped" for notice in volume.warnings) == 4
    for line in list_series(tmp_path):
        str(line.to_json()).encode("utf-8")


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: None, "input.missing"),
        (lambda path: path.mkdir(), "input.empty"),
        (lambda path: path.write_bytes(b""), "input.empty"),
        (lambda path: path.write_text("Dear colleague, "), "input.not_image"),
        (lambda path: path.write_bytes(os.urandom(10_000)), "input.not_image"),
        (lambda path: path.write_bytes(gzip.compress(b"text")), "archive.unsupported"),
        (lambda path: path.write_bytes(b"\x1f\x8b" + bytes(50)), "archive.unsupported"),
        (lambda path: os.mkfifo(path), "input.unreadable"),
        (lambda path: path.symlink_to("/dev/zero"), "input.unreadable"),
        (lambda path: path.symlink_to(path), "input.unreadable"),
    ],
)
def test_what_is_no_input(tmp_path: Path, make: Callable[[Path], Any], code: str) -> None:
    make(tmp_path / "in")
    assert outcome(tmp_path / "in") == code


# --- huge claims, little behind them ----------------------------------------------------------------------------------


def set_element(content: bytes, group: int, element: int, value: bytes) -> bytes:
    """Overwrite the value of a short explicit element."""
    at = content.index(struct.pack("<HH", group, element), 132)
    return content[: at + 8] + value + content[at + 8 + len(value) :]


def huge_dicom(inputs: dict[str, Path], path: Path) -> None:
    path.mkdir()
    for source in inputs["explicit"].iterdir():
        content = source.read_bytes()
        for element in (0x10, 0x11):
            content = set_element(content, 0x28, element, b"\xff\xff")
        (path / source.name).write_bytes(content)


def huge_enhanced(inputs: dict[str, Path], path: Path) -> None:
    content = next(inputs["enhanced"].iterdir()).read_bytes()
    at = content.index(b"\x28\0\x08\0IS")
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    path.write_bytes(content[: at + 8] + b"9" * length + content[at + 8 + length :])


def deflate_bomb(inputs: dict[str, Path], path: Path) -> None:
    """A deflated data set: a header, then 512 MB of zeros in half a MB."""
    content = next(inputs["deflated"].iterdir()).read_bytes()
    start = content.index(b"1.2.840.10008.1.2.1.99") + 22
    while content[start : start + 2] == b"\x02\0":
        start += 8 + int.from_bytes(content[start + 6 : start + 8], "little")
    header = zlib.decompress(content[start:], -15).partition(b"\xe0\x7f\x10\x00")[0]
    path.write_bytes(content[:start] + zeros(header, 2**29, -15))


def zeros(first: bytes, count: int, bits: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, bits)
    packed = packer.compress(first)
    for _ in range(count // 2**24):
        packed += packer.compress(bytes(2**24))
    return packed + packer.flush()


def nifti_header(sizes: tuple[int, int, int]) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *sizes, 1, 1, 1, 1)
    struct.pack_into("<hh", header, 70, 4, 16)
    struct.pack_into("<8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", header, 108, 352)
    struct.pack_into("<hh", header, 252, 1, 0)
    header[344:348] = b"n+1\0"
    return bytes(header)


MHA = "NDims = 3\nDimSize = {}\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n{}ElementDataFile = LOCAL\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: {}\nendian: little\nencoding: {}\nspacings: 1 1 1\n\n"


def zip_of(path: Path, members: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)


def zip_that_grows(inputs: dict[str, Path], path: Path) -> None:
    """A CT of four files of which one goes on for 256 MB of zeros after its pixels, packed to almost nothing."""
    files = sorted(inputs["explicit"].iterdir())
    zip_of(path, [(file.name, file.read_bytes() + bytes(2**28) * (file == files[1])) for file in files])


def zip_of_one_kernel(_: dict[str, Path], path: Path) -> None:
    """20,000 members in the directory, all of them the same 8 MB of zeros."""
    zip_of(path, [(f"IM{number:05d}", bytes(2**23) if not number else b"") for number in range(20_000)])
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02")
    sizes, at = bytes(content[first + 16 : first + 28]), first
    while (at := content.find(b"PK\x01\x02", at + 1)) >= 0:
        content[at + 16 : at + 28] = sizes  # checksum and both sizes
        content[at + 10 : at + 12] = b"\x08\0"
        content[at + 42 : at + 46] = bytes(4)  # where its bytes begin
    path.write_bytes(content)


def zips_in_zips(_: dict[str, Path], path: Path) -> None:
    """Six levels of ten copies: a million bombs of 4 MB."""
    content = zeros(b"", 2**22 * 4, -15)
    for level in range(6):
        zip_of(path, [(f"{level}{copy}.zip", content) for copy in range(10)])
        content = path.read_bytes()


def zip_that_leads_out(inputs: dict[str, Path], path: Path) -> None:
    zip_of(path, [(f"../../{file.name}", file.read_bytes()) for file in sorted(inputs["explicit"].iterdir())])


def zip_with_a_nifti_bomb(_: dict[str, Path], path: Path) -> None:
    zip_of(path, [("ct.nii.gz", zeros(nifti_header((8, 8, 8)), 2**29, 31))])


HOSTILE: dict[str, Callable[[dict[str, Path], Path], Any]] = {
    "dicom rows and columns": huge_dicom,
    "dicom frames": huge_enhanced,
    "dicom deflate bomb": deflate_bomb,
    "zip that grows": zip_that_grows,
    "zip of one kernel": zip_of_one_kernel,
    "zips in zips": zips_in_zips,
    "zip that leads out": zip_that_leads_out,
    "zip of a nifti bomb": zip_with_a_nifti_bomb,
    "nifti sizes": lambda _, path: path.write_bytes(nifti_header((32767, 32767, 32767))),
    "nifti beyond its file": lambda _, path: path.write_bytes(nifti_header((1024, 1024, 800))),
    "nifti packed beyond its file": lambda _, path: path.write_bytes(gzip.compress(nifti_header((1024, 1024, 800)))),
    "nifti bomb after the voxels": lambda _, path: path.write_bytes(zeros(nifti_header((8, 8, 8)), 2**29, 31)),
    "gzip with an endless name": lambda _, path: path.write_bytes(b"\x1f\x8b\x08\x08" + bytes(6) + b"A" * 30_000_000),
    "metaimage sizes": lambda _, path: path.write_text(MHA.format("99999 99999 99999", "")),
    "metaimage beyond its file": lambda _, path: path.write_text(MHA.format("1024 1024 800", "")),
    "metaimage bomb": lambda _, path: path.write_bytes(
        MHA.format("8 8 8", "CompressedData = True\n").encode() + zeros(b"", 2**29, 15)
    ),
    "metaimage of one endless line": lambda _, path: path.write_text("ObjectType = " + " " * 30_000_000),
    "nrrd sizes": lambda _, path: path.write_text(NRRD.format("99999 99999 99999", "raw")),
    "nrrd beyond its file": lambda _, path: path.write_text(NRRD.format("1024 1024 800", "gzip")),
    "nrrd bomb": lambda _, path: path.write_bytes(NRRD.format("8 8 8", "gzip").encode() + zeros(b"", 2**29, 31)),
    "nrrd of many digits": lambda _, path: path.write_text(NRRD.format("9" * 900_000 + " 1 1", "raw")),
}  # fmt: skip

PROBE = """
import resource, sys, time
import pydicom, imaging, imaging.io.formats, imaging.io.dicom_volume, imaging.io.dicom_multiframe
def peak():  # of this process alone; getrusage would count what the one it was forked from held
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
def outcome(path):
    for read in (imaging.list_series, imaging.read_volume):
        try:
            read(path)
            code = "read"
        except imaging.ImagingError as error:
            code = error.code
    return code
outcome(sys.argv[1])
before, started = peak(), time.process_time()
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 2**30,) * 2)  # beyond it: MemoryError, which is no refusal
resource.setrlimit(resource.RLIMIT_CPU, (int(started) + 60,) * 2)  # beyond it: killed
print(outcome(sys.argv[2]), peak() - before, time.process_time() - started)
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_huge_claims_cost_little(inputs: dict[str, Path], tmp_path: Path, name: str) -> None:
    """In a process of its own: refused, with at most 256 MB over an honest reading and 20 s of the processor.

    What comes after the pixels is never looked at, so a CT with a bomb behind one is read, at no cost either.
    """
    HOSTILE[name](inputs, tmp_path / "in")
    command = [sys.executable, "-c", PROBE, inputs["explicit"], tmp_path / "in"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    code, megabytes, seconds = done.stdout.split()
    assert (code == "read") == (name == "zip that grows")
    assert int(megabytes) < 256
    assert float(seconds) < 20


def test_sizes_that_are_ordinary_are_read(tmp_path: Path) -> None:
    """As many slices as a thin whole-body CT; small ones, because the count is the point, and the cap is by voxels."""
    array = np.full((1500, 16, 16), -1000, np.float32)
    array[:, 4:12, 4:12] = 40
    grid = Grid.from_spacing(array.shape, spacing_mm=(0.5, 0.7, 0.7))
    write_nifti(array.astype(np.int16), grid, tmp_path / "ct.nii.gz")
    assert read_volume(tmp_path / "ct.nii.gz").array.shape == (1500, 16, 16)


def test_beyond_the_cap(inputs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODULUS_MAX_VOXELS", str(4 * 32 * 32 - 1))
    for name, path in inputs.items():
        assert outcome(path) == "input.too_large", name
    monkeypatch.setenv("NODULUS_MAX_VOXELS", str(4 * 32 * 32))
    for name, path in inputs.items():
        assert isinstance(outcome(path), Volume), name
