"""Paths become entries: files, folders of any shape, zips; nothing that blocks, circles or leads astray."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import socket
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet
from strategies import make_volume

import imaging
from imaging.errors import InputError, UsageError
from imaging.io.limits import Limits
from imaging.io.sources import Source, open_source
from imaging.simulation.dicom_series import write_series


def names(source: Source) -> list[str]:
    return [entry.name for entry in source.entries]


def refusal(path: str | Path, **limits: int) -> str:
    with pytest.raises(InputError) as caught:
        open_source(path, limits=Limits(**limits))
    return caught.value.code


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)
    return stream.getvalue()


def test_one_file(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(b"0123456789")
    with open_source(tmp_path / "IM1") as source:
        (entry,) = source.entries
        assert (source.kind, entry.name, entry.size, entry.path) == ("file", "IM1", 10, tmp_path / "IM1")
        assert (entry.read(), entry.head(3)) == (b"0123456789", b"012")
        with entry.open() as stream:
            stream.seek(5)
            assert stream.read() == b"56789"


def test_folder_at_any_depth_with_any_names(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * 60)
    deep.mkdir(parents=True)
    (deep / "without suffix").write_bytes(b"1")
    (tmp_path / "Größe 肺.dcm").write_bytes(b"2")
    (tmp_path / "new\nline").write_bytes(b"3")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/not-\xff-utf8"))).write_bytes(b"4")
    with open_source(tmp_path) as source:
        assert names(source) == [
            "Größe 肺.dcm", "d/" * 60 + "without suffix", "new\\nline", "not-\\udcff-utf8",
        ]  # fmt: skip
        assert sorted(entry.read() for entry in source.entries) == [b"1", b"2", b"3", b"4"]
        for entry in source.entries:
            entry.name.encode("utf-8")


def test_missing_path(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent") == "input.missing"
    (tmp_path / "file").write_bytes(b"1")
    assert refusal(tmp_path / "file" / "below") == "input.missing"
    assert refusal("") == "input.empty" if not any(Path().iterdir()) else True
    assert refusal("with\0null") == "input.unreadable"
    assert refusal(tmp_path / ("x" * 5000)) == "input.unreadable"


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(InputError) as caught:
        open_source("")
    assert caught.value.code == "input.missing"


def test_empty_inputs(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "empty.zip").write_bytes(zipped())
    assert refusal(tmp_path / "empty") == "input.empty"
    assert refusal(tmp_path / "folder") == "input.empty"
    assert refusal(tmp_path / "empty.zip") == "input.empty"


def test_links_in_circles_are_walked_once(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "IM1").write_bytes(b"1")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "broken").symlink_to(tmp_path / "absent")
    with open_source(tmp_path) as source:
        assert names(source) == ["a/IM1"]
        assert [notice.code for notice in source.notices] == ["source.skipped"] * 2


def test_links_to_files_are_followed(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "object").write_bytes(b"1")
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "IM1").symlink_to(tmp_path / "store" / "object")
    with open_source(tmp_path / "case") as source:
        assert source.entries[0].read() == b"1"


def test_pipes_sockets_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    (tmp_path / "zero").symlink_to("/dev/zero")
    assert refusal(tmp_path) == "input.empty"
    for name in ("pipe", "socket", "zero"):
        assert refusal(tmp_path / name) == "input.unreadable"
    (tmp_path / "IM1").write_bytes(b"1")
    with open_source(tmp_path) as source:
        assert names(source) == ["IM1"]
        assert len(source.notices) == 3
    listening.close()


def test_a_pipe_that_takes_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(b"1")
    with open_source(tmp_path) as source:
        (tmp_path / "IM1").unlink()
        os.mkfifo(tmp_path / "IM1")
        with pytest.raises(InputError) as caught:
            source.entries[0].read()
    assert caught.value.code == "input.unreadable"


def test_a_file_that_vanishes(tmp_path: Path) -> None:
    (tmp_path / "IM1").write_bytes(b"1")
    with open_source(tmp_path) as source:
        (tmp_path / "IM1").unlink()
        with pytest.raises(InputError) as caught:
            source.entries[0].open()
    assert caught.value.code == "input.unreadable"


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of somebody who may not read everything, even where the tests run as the superuser."""
    folder = Path(tempfile.mkdtemp())
    superuser = os.geteuid() == 0
    if superuser:
        os.chown(folder, 65534, -1)
        os.seteuid(65534)
    yield folder
    if superuser:
        os.seteuid(0)
    shutil.rmtree(folder)


def test_closed_files_and_folders(ordinary_user: Path) -> None:
    closed, file = ordinary_user / "closed", ordinary_user / "IM1"
    closed.mkdir()
    file.write_bytes(b"1")
    file.chmod(0)
    closed.chmod(0)
    with open_source(ordinary_user) as source:
        assert [notice.code for notice in source.notices] == ["source.skipped"]
        with pytest.raises(InputError) as caught:
            source.entries[0].read()
    assert caught.value.code == "input.unreadable"
    assert refusal(closed) == "input.unreadable"
    assert refusal(file) == "input.unreadable"
    assert refusal(closed / "below") == "input.unreadable"
    closed.chmod(0o700)


def test_dicomdir_is_only_a_hint(tmp_path: Path) -> None:
    (tmp_path / "DICOM").mkdir()
    (tmp_path / "DICOM" / "IM1").write_bytes(b"1")
    (tmp_path / "DICOMDIR").write_bytes(b"anything")
    renamed = tmp_path / "index"
    renamed.write_bytes(bytes(128) + b"DICM\x02\0\x02\0UI\x14\x001.2.840.10008.1.3.10\0")
    for path in (tmp_path, tmp_path / "DICOMDIR", renamed):
        with open_source(path) as source:
            assert source.kind == "folder"
            assert "DICOM/IM1" in names(source)
            assert "DICOMDIR" not in names(source)


def write_dicomdir(folder: Path, images: list[str]) -> None:
    """A directory of a medium that names these images; a record here is no more than its reference."""
    references = b""
    for image in images:
        value = image.replace("/", "\\").encode()
        value += b" " * (len(value) % 2)
        references += b"\x04\x00\x00\x15CS" + len(value).to_bytes(2, "little") + value
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + references)


def test_dicomdir_that_names_missing_files_is_told(tmp_path: Path) -> None:
    """Names on a medium are in capitals; what a file system makes of them may not be."""
    medium = tmp_path / "cd"
    (medium / "dicom").mkdir(parents=True)
    for name in ("im1", "IM2.", "IM3;1"):
        (medium / "dicom" / name).write_bytes(b"1")
    write_dicomdir(medium, ["DICOM/IM1", "DICOM/IM2", "DICOM/IM3"])
    with open_source(tmp_path) as source:
        assert source.notices == ()
    write_dicomdir(medium, ["DICOM/IM1", "DICOM/IM2", "DICOM/IM3", "DICOM/IM4", "../../etc/passwd"])
    with open_source(tmp_path) as source:
        assert [notice.code for notice in source.notices] == ["source.dicomdir"]
        assert "cd/DICOMDIR names 5 files, 2 of which are not there, such as DICOM/IM4" in source.notices[0].message
        assert len(source.entries) == 3


def test_dicomdir_alone_says_that_the_images_are_missing(tmp_path: Path) -> None:
    write_dicomdir(tmp_path, ["DICOM/IM1", "DICOM/IM2"])
    for path in (tmp_path, tmp_path / "DICOMDIR"):
        with pytest.raises(InputError) as caught:
            open_source(path)
        assert caught.value.code == "input.empty"
        assert "names 2 files, 2 of which are not there" in caught.value.message
        assert "copy the whole medium" in caught.value.remedy


def test_dicomdir_as_pydicom_writes_it(tmp_path: Path) -> None:
    files = FileSet()
    for path in write_series(make_volume(), tmp_path / "loose"):
        files.add(path)
    files.write(tmp_path / "medium")
    assert imaging.read_volume(tmp_path / "medium").warnings == ()
    volume = imaging.read_volume(tmp_path / "medium")
    assert volume.origin is not None
    first = volume.origin.instances[0].sop_instance_uid  # an end of the stack, which leaves no gap behind
    (path,) = (path for path in tmp_path.glob("medium/**/IM*") if dcmread(path).SOPInstanceUID == first)
    path.unlink()
    (notice,) = imaging.read_volume(tmp_path / "medium").warnings
    assert notice.code == "source.dicomdir"
    assert notice.message.endswith(path.relative_to(tmp_path / "medium").as_posix())


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (bytes(257) + b"ustar\x0000" + bytes(300), "tar"),
        (gzip.compress(b"DICM" * 100, mtime=0), "gzip"),
        (bz2.compress(bytes(300)), "bzip2"),
        (lzma.compress(bytes(300)), "xz"),
        (b"\x28\xb5\x2f\xfd" + bytes(300), "zstd"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(300), "7z"),
        (b"Rar!\x1a\x07\x01\0" + bytes(300), "rar"),
    ],
)
def test_other_archives_are_told_by_kind(tmp_path: Path, content: bytes, kind: str) -> None:
    (tmp_path / "study").write_bytes(content)
    for path in (tmp_path, tmp_path / "study"):
        with pytest.raises(InputError) as caught:
            imaging.list_series(path)
        assert caught.value.code == "archive.unsupported"
        assert kind in caught.value.message
        assert "unpack it" in caught.value.remedy


def test_archives_too_deep_say_what_to_do(tmp_path: Path) -> None:
    content = b"an image"
    for name in ("ct", "inner.zip", "middle.zip"):
        path = tmp_path / f"{name}.packed"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
        content = path.read_bytes()
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "middle.zip.packed")
    assert caught.value.code == "input.empty"
    assert "NODULUS_MAX_NESTING" in caught.value.remedy


def test_sibling_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "case" / "sub").mkdir(parents=True)
    for name in ("secret", "case/ct.mhd", "case/ct.raw", "case/sub/ct.raw"):
        (tmp_path / name).write_bytes(name.encode())
    with open_source(tmp_path) as source:
        header = next(entry for entry in source.entries if entry.name == "case/ct.mhd")
        found = header.sibling("ct.raw")
        below = header.sibling("sub\\ct.raw")
        assert found is not None
        assert below is not None
        assert (found.name, found.read()) == ("case/ct.raw", b"case/ct.raw")
        assert below.read() == b"case/sub/ct.raw"
        for name in ("../secret", "/etc/passwd", "sub/../../secret", "C:\\secret", "absent", "", "a\0b", "sub"):
            assert header.sibling(name) is None


def test_zip_with_nested_folders(tmp_path: Path) -> None:
    content = zipped(a__b__IM1=b"1" * 1000, a__ct_mhd=b"2", a__ct_raw=b"3")
    (tmp_path / "ct.zip").write_bytes(content)
    (tmp_path / "no suffix").write_bytes(content)
    for name in ("ct.zip", "no suffix"):
        with open_source(tmp_path / name) as source:
            assert source.kind == "zip"
            assert names(source) == ["a/b/IM1", "a/ct_mhd", "a/ct_raw"]
            assert source.entries[0].read() == b"1" * 1000
            raw = source.entries[1].sibling("ct_raw")
            assert raw is not None
            assert raw.read() == b"3"
            assert source.entries[1].sibling("../a/ct_raw") is None
            with source.entries[0].open() as stream:
                stream.seek(900)
                assert len(stream.read()) == 100
                stream.seek(0)
                assert stream.read(2) == b"11"


def test_zip_from_old_windows(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "DICOM\\IM1"
        archive.writestr(info, b"1")
    (tmp_path / "ct.zip").write_bytes(stream.getvalue())
    with open_source(tmp_path / "ct.zip") as source:
        assert names(source) == ["DICOM/IM1"]
        assert source.entries[0].read() == b"1"


def test_zips_within_folders_and_zips(tmp_path: Path) -> None:
    inner = zipped(IM1=b"1")
    (tmp_path / "ct.zip").write_bytes(zipped(**{"inner.zip": inner, "IM2": b"2"}))
    with open_source(tmp_path) as source:
        assert names(source) == ["ct.zip/IM2"]
        assert "depth 2" in source.notices[0].message
    with open_source(tmp_path / "ct.zip") as source:
        assert names(source) == ["IM2", "inner.zip/IM1"]
        assert source.entries[1].read() == b"1"
    with open_source(tmp_path, limits=Limits(nesting=2)) as source:
        assert names(source) == ["ct.zip/IM2", "ct.zip/inner.zip/IM1"]
    with open_source(tmp_path / "ct.zip", limits=Limits(nesting=0)) as source:
        assert names(source) == ["IM2"]


def test_unsafe_zip_in_a_folder_is_passed_over_with_a_notice(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(zipped(IM1=b"1" * 50)[:-10])
    (tmp_path / "IM1").write_bytes(b"1")
    with open_source(tmp_path) as source:
        assert names(source) == ["IM1"]
        assert "archive.damaged" in source.notices[0].message


def test_too_many_files(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"IM{number}").write_bytes(b"1")
    assert refusal(tmp_path, files=5) == "input.too_large"
    assert len(open_source(tmp_path, limits=Limits(files=6)).entries) == 6


def test_file_beyond_the_cap_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as stream:
        stream.truncate(2**40)
    with open_source(tmp_path / "sparse") as source, pytest.raises(InputError) as caught:
        source.entries[0].read()
    assert caught.value.code == "input.too_large"


def test_limits_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODULUS_MAX_VOXELS", "1000")
    assert Limits().voxels == 1000
    assert Limits(voxels=5).voxels == 5
    monkeypatch.setenv("NODULUS_MAX_VOXELS", "-1")
    with pytest.raises(UsageError) as caught:
        Limits()
    assert caught.value.code == "usage.option"
