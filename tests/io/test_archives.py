"""Hostile zips, each made byte by byte, are refused before anything is unpacked; honest ones are read."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from imaging.errors import InputError
from imaging.io.limits import Limits
from imaging.io.sources import open_source


def archive(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytearray:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as opened:
        for name, content in members:
            info = zipfile.ZipInfo("x")
            info.filename, info.compress_type = name, method
            opened.writestr(info, content)
    return bytearray(stream.getvalue())


def refusal(folder: Path, content: bytes | bytearray, **limits: int) -> str:
    (folder / "ct.zip").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_all(folder / "ct.zip", Limits(**limits))
    return caught.value.code


def read_all(path: Path, limits: Limits) -> list[bytes]:
    with open_source(path, limits=limits) as source:
        return [entry.read() for entry in source.entries]


def central(content: bytearray, number: int = 0) -> int:
    """Where a member's record in the directory begins."""
    at = -1
    for _ in range(number + 1):
        at = content.index(b"PK\x01\x02", at + 1)
    return at


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "..\\evil", "C:\\evil", "c:/evil", "\\\\server\\evil"]
)
def test_paths_that_lead_out(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, archive(("IM1", b"1"), (name, b"1"))) == "archive.unsafe"


@pytest.mark.parametrize("names", [("IM1", "IM1"), ("a/IM1", "a//IM1"), ("a/IM1", "a\\IM1"), ("IM1", "./IM1")])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(tmp_path: Path, names: tuple[str, str]) -> None:
    assert refusal(tmp_path, archive(*[(name, b"1") for name in names])) == "archive.unsafe"


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010666, 0o060666])
def test_links_and_devices(tmp_path: Path, mode: int) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        info = zipfile.ZipInfo("link")
        info.create_system, info.external_attr = 3, mode << 16
        opened.writestr(info, "/etc/passwd")
    assert refusal(tmp_path, stream.getvalue()) == "archive.unsafe"


def test_encrypted_member(tmp_path: Path) -> None:
    content = archive(("IM1", b"1" * 20))
    content[central(content) + 8] |= 1
    content[6] |= 1
    assert refusal(tmp_path, content) == "archive.encrypted"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 9, 93, 99])
def test_other_methods(tmp_path: Path, method: int) -> None:
    content = archive(("IM1", b"1" * 20))
    struct.pack_into("<H", content, central(content) + 10, method)
    struct.pack_into("<H", content, 8, method)
    assert refusal(tmp_path, content) == "archive.unsupported"


def test_members_that_overlap(tmp_path: Path) -> None:
    """The second member's record points at the first's bytes: one kernel of data, unpacked as often as wished."""
    content = archive(("IM1", b"1" * 5000), ("IM2", b"1" * 5000))
    struct.pack_into("<L", content, central(content, 1) + 42, 0)
    assert refusal(tmp_path, content) == "archive.unsafe"


def test_member_that_reaches_into_the_next(tmp_path: Path) -> None:
    content = archive(("IM1", b"1" * 50), ("IM2", b"2" * 50), method=zipfile.ZIP_STORED)
    for at in (central(content) + 20, central(content) + 24):
        struct.pack_into("<L", content, at, 60)
    assert refusal(tmp_path, content) == "archive.unsafe"


def test_member_that_reaches_into_the_directory(tmp_path: Path) -> None:
    content = archive(("IM1", b"1" * 50), method=zipfile.ZIP_STORED)
    for at in (central(content) + 20, central(content) + 24):
        struct.pack_into("<L", content, at, 60)
    assert refusal(tmp_path, content) == "archive.unsafe"


def test_member_where_there_is_none(tmp_path: Path) -> None:
    content = archive(("IM1", b"1" * 50), ("IM2", b"1" * 50))
    content[content.index(b"PK\x03\x04", 4)] = 0
    assert refusal(tmp_path, content) == "archive.damaged"


def bomb(size: int) -> bytearray:
    """A zip whose one member becomes `size` zeros; made without making them."""
    packer, packed, crc, left = zlib.compressobj(9, zlib.DEFLATED, -15), b"", 0, size
    while left:
        piece = bytes(min(left, 2**24))
        packed, crc, left = packed + packer.compress(piece), zlib.crc32(piece, crc), left - len(piece)
    packed += packer.flush()
    content = archive(("IM1", b""))
    at = central(content)
    for position in (14, at + 16):
        struct.pack_into("<LLL", content, position, crc, len(packed), size)
    head = bytearray(content[:33])
    struct.pack_into("<H", head, 8, 8)
    directory = bytearray(content[at:])
    struct.pack_into("<H", directory, 10, 8)
    end = directory.index(b"PK\x05\x06")
    struct.pack_into("<L", directory, end + 16, 33 + len(packed))
    return head + packed + directory


def test_zip_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imaging.io.archives.RATIO_FREE_BYTES", 2**26)  # a bomb of some GB takes long to make
    content = bomb(100_000_000)
    tracemalloc.start()
    assert refusal(tmp_path, content) == "archive.bomb"
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_member_shorter_than_declared(tmp_path: Path) -> None:
    content = archive(("IM1", b"1" * 1000))
    struct.pack_into("<L", content, central(content) + 24, 1001)
    assert refusal(tmp_path, content) == "archive.damaged"


def test_bomb_within_a_zip(tmp_path: Path) -> None:
    """An inner archive that is nearly all zeros is not unpacked to be looked into."""
    inner = bytes(archive(("IM1", b"1"))) + bytes(100_000_000)
    (tmp_path / "ct.zip").write_bytes(archive(("inner", inner), ("IM1", b"1")))
    with open_source(tmp_path / "ct.zip") as source:
        assert [entry.name for entry in source.entries] == ["IM1"]
        assert "archive.bomb" in source.notices[0].message


def test_an_evenly_grey_picture_is_no_bomb(tmp_path: Path) -> None:
    (tmp_path / "ct.zip").write_bytes(archive(("IM1", bytes(60_000_000))))
    with open_source(tmp_path / "ct.zip") as source:
        assert source.entries[0].size == 60_000_000
        assert source.entries[0].head(4) == bytes(4)


def test_bomb_that_lies_about_its_size(tmp_path: Path) -> None:
    """100 bytes are declared, the stream would give 100 MB: reading stops, and the checksum fails."""
    content = bomb(100_000_000)
    struct.pack_into("<L", content, central(content) + 24, 100)
    tracemalloc.start()
    assert refusal(tmp_path, content) == "archive.damaged"
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_caps(tmp_path: Path) -> None:
    content = archive(*[(f"IM{number}", b"12345") for number in range(10)])
    assert refusal(tmp_path, content, files=9) == "input.too_large"
    assert refusal(tmp_path, content, unpacked=49) == "input.too_large"
    assert refusal(tmp_path, content, bytes=4) == "input.too_large"


def test_directory_with_far_more_members_than_it_says(tmp_path: Path) -> None:
    content = archive(*[(f"{number:05d}", b"") for number in range(2000)])
    struct.pack_into("<HH", content, content.rindex(b"PK\x05\x06") + 8, 1, 1)
    assert refusal(tmp_path, content, files=1000) == "input.too_large"


def test_directory_larger_than_the_file(tmp_path: Path) -> None:
    content = archive(("IM1", b"1"))
    struct.pack_into("<L", content, content.rindex(b"PK\x05\x06") + 12, 2**31)
    assert refusal(tmp_path, content) == "archive.damaged"


def test_wrong_checksum(tmp_path: Path) -> None:
    content = archive(("IM1", b"12345" * 20), method=zipfile.ZIP_STORED)
    content[60] ^= 1
    assert refusal(tmp_path, content) == "archive.damaged"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_truncation_is_refused(tmp_path: Path, method: int) -> None:
    content = archive(("a/IM1", bytes(range(100))), ("a/IM2", bytes(range(100, 200))), method=method)
    for size in range(4, len(content)):
        assert refusal(tmp_path, content[:size]) == "archive.damaged"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_flipped_bit_gives_other_bytes(tmp_path: Path, method: int) -> None:
    """Whatever bit is flipped: a refusal with a code, or the very bytes that were packed."""
    packed = {"a/IM1": bytes(range(100)), "a/IM2": bytes(range(100, 200))}
    content = archive(*packed.items(), method=method)
    for position in range(len(content)):
        for bit in (0, 3, 7):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            (tmp_path / "ct.zip").write_bytes(flipped)
            try:
                with open_source(tmp_path / "ct.zip") as source:
                    read = [entry.read() for entry in source.entries if source.kind == "zip"]
            except InputError:
                continue
            assert all(one in packed.values() for one in read)


def test_honest_zips_of_other_makers(tmp_path: Path) -> None:
    """With a data descriptor, a zip64 record, bytes before the archive, an empty folder."""
    makers: list[Callable[[zipfile.ZipFile], None]] = [
        lambda opened: opened.writestr("IM1", b"1" * 100),
        lambda opened: opened.open("IM1", "w", force_zip64=True).close(),
        lambda opened: (opened.writestr("a/", b""), opened.writestr("a/IM1", b"1"))[0],
    ]
    for make in makers:
        stream = Unseekable()
        with zipfile.ZipFile(stream, "w") as opened:
            make(opened)
        (tmp_path / "ct.zip").write_bytes(stream.content)
        with open_source(tmp_path / "ct.zip") as source:
            assert [entry.name.rpartition("/")[2] for entry in source.entries] == ["IM1"]
            source.entries[0].read()


class Unseekable(io.RawIOBase):
    """A stream to write to that makes `zipfile` use data descriptors."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, piece: bytes) -> int:  # type: ignore[override]
        self.content += bytes(piece)
        return len(piece)
