"""Zip archives as entries, read member by member into memory; hostile ones are refused before anything is unpacked.

Python's `zipfile` inflates; the guards stand here, because not every supported Python has them: the directory is
measured before it is parsed, and no member may lie outside the archive's tree, be a link, be encrypted, exist twice,
share bytes with another, or grow beyond reason.

Source: the .ZIP file format specification (APPNOTE 6.3), sections 4.3 and 4.4; CVE-2024-0450 for overlaps.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import PurePosixPath
from typing import IO, BinaryIO, cast

from imaging.errors import InputError, printable
from imaging.io.entries import Entry, reason, too_many_files
from imaging.io.limits import RATIO_FREE_BYTES, Limits

#: What a zip begins with: a member, no member at all, or a part of several.
ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")

_END, _END64, _LOCATOR64, _MEMBER = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
#: Bytes of directory that one member may take on average: its 46 fixed ones, name, extra fields and comment.
_DIRECTORY_BYTES_PER_MEMBER = 1024
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_IN_MEMORY_BYTES = 64 * 2**20
#: An archive within an archive is packed already, so it hardly shrinks again.
_RATIO_OF_ARCHIVES = 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError, ValueError, OSError)


def open_zip(entry: Entry, limits: Limits, closing: ExitStack, *, prefix: str = "") -> list[Entry]:
    """The members of a zip as entries, after every guard.

    Args:
        entry: the archive; a member of another archive is first copied to memory, or beyond 64 MiB to a temporary file.
        closing: closes the archive when the source is closed.
        prefix: put before each member's name.

    Raises:
        InputError: ``archive.unsafe``, ``archive.encrypted``, ``archive.damaged``, ``archive.bomb``,
            ``archive.unsupported``, ``input.too_large``.
    """
    with ExitStack() as opened:
        stream = opened.enter_context(entry.open() if entry.path is not None else _unpacked(entry, limits))
        try:
            _check_directory(stream, entry.name, limits)
            archive = opened.enter_context(zipfile.ZipFile(stream))
        except _DAMAGE as error:
            raise _damaged(error, entry.name) from error
        members = [info for info in archive.infolist() if not (info.is_dir() or stat.S_ISDIR(info.external_attr >> 16))]
        _check_members(members, entry.name, limits)
        _check_places(stream, archive, entry.name)
        found = {_member_path(info): info for info in members}
        entries = [_member_entry(archive, path, found, prefix, limits) for path in found]
        closing.push(opened.pop_all())
    return entries


def _unpacked(entry: Entry, limits: Limits) -> IO[bytes]:
    """A seekable copy of an archive that is itself a member."""
    limits.check_bytes(entry.size, where=entry.name)
    if entry.size > max(_IN_MEMORY_BYTES, _RATIO_OF_ARCHIVES * entry.packed):
        text = f"an archive of {entry.size:,} bytes within {entry.packed:,} packed ones"
        raise InputError("archive.bomb", text, where=entry.name)
    copy = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - the caller closes it
    with entry.open() as stream:
        while piece := stream.read(2**20):
            copy.write(piece)
    copy.seek(0)
    return cast("IO[bytes]", copy)


def _check_directory(stream: IO[bytes], name: str, limits: Limits) -> None:
    """Refuse a directory that is too large to parse, before it is parsed.

    The end record says where the directory lies; its claim about the number of members is not trusted, so the
    signatures themselves are counted.
    """
    size = stream.seek(0, os.SEEK_END)
    start = stream.seek(max(0, size - 65557))
    tail = stream.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) < at + 22:
        raise zipfile.BadZipFile("no end-of-directory record: the archive is truncated or not a zip")
    directory = struct.unpack_from("<L", tail, at + 12)[0]
    locator = tail[max(0, at - 20) : at]
    if locator.startswith(_LOCATOR64):
        stream.seek(struct.unpack_from("<Q", locator, 8)[0])
        record = stream.read(56)
        if not record.startswith(_END64):
            raise zipfile.BadZipFile("the zip64 end-of-directory record is not where it should be")
        directory = struct.unpack_from("<Q", record, 40)[0]
    if directory > min(size, limits.files * _DIRECTORY_BYTES_PER_MEMBER):
        if directory > size:
            raise zipfile.BadZipFile(f"its directory would be {directory:,} bytes, the file is {size:,}")
        raise too_many_files(limits, name)
    if directory // 46 > limits.files:
        stream.seek(max(0, start + at - directory - 76))
        if stream.read(directory + 76).count(_MEMBER) > limits.files:
            raise too_many_files(limits, name)


def _check_members(members: Sequence[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    if len(members) > limits.files:
        raise too_many_files(limits, name)
    paths: set[str] = set()
    for info in members:
        where = f"{name}/{printable(info.filename)}"
        path = _member_path(info)
        _check_path(info, path, where)
        if path in paths:
            raise InputError("archive.unsafe", "two members have this name", where=where)
        paths.add(path)
        _check_member(info, where, limits)
    total = sum(info.file_size for info in members)
    if total > limits.unpacked:
        raise InputError(
            "input.too_large",
            f"{total:,} bytes unpacked; the limit is {limits.unpacked:,} (NODULUS_MAX_UNPACKED)",
            where=name,
        )


def _member_path(info: zipfile.ZipInfo) -> str:
    """The member's path with "/" between folders (old Windows archives have backslashes), without empty steps."""
    return str(PurePosixPath(info.filename.replace("\\", "/")))


def _check_path(info: zipfile.ZipInfo, path: str, where: str) -> None:
    drive = len(path) > 1 and path[1] == ":" and path[0].isalpha()
    if path.startswith("/") or drive or "\0" in info.orig_filename:
        raise InputError("archive.unsafe", "a member has an absolute or broken path", where=where)
    if ".." in path.split("/"):
        raise InputError("archive.unsafe", "a member's path leads out of the archive", where=where)


def _check_member(info: zipfile.ZipInfo, where: str, limits: Limits) -> None:
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise InputError("archive.unsafe", "a member is a link or a device", where=where)
    if info.flag_bits & 0x2041:
        raise InputError("archive.encrypted", "a member is encrypted", where=where)
    if info.compress_type not in _METHODS:
        raise InputError("archive.unsupported", f"a member uses compression method {info.compress_type}", where=where)
    if info.flag_bits & 0x20:
        raise InputError("archive.unsupported", "a member is a patch of another file", where=where)
    limits.check_bytes(info.file_size, where=where)
    if info.file_size > max(RATIO_FREE_BYTES, limits.ratio * info.compress_size):
        raise InputError(
            "archive.bomb",
            f"{info.compress_size:,} bytes would become {info.file_size:,}, more than {limits.ratio} times as many "
            "(NODULUS_MAX_RATIO)",
            where=where,
        )
    if info.compress_type == zipfile.ZIP_STORED and info.file_size != info.compress_size:
        raise InputError("archive.damaged", "a stored member has two sizes", where=where)


def _check_places(stream: IO[bytes], archive: zipfile.ZipFile, name: str) -> None:
    """Refuse members that share bytes, or reach into the directory: each byte of an archive may be unpacked once."""
    reached, previous = 0, ""
    for info in sorted(archive.infolist(), key=lambda member: member.header_offset):
        if info.header_offset < reached:
            raise InputError(
                "archive.unsafe", f"members overlap: {previous} and {printable(info.filename)}", where=name
            )
        try:
            stream.seek(info.header_offset)
            local = stream.read(30)
        except _DAMAGE as error:
            raise _damaged(error, name) from error
        if len(local) < 30 or not local.startswith(b"PK\x03\x04"):
            raise InputError("archive.damaged", "a member is not where the directory says", where=name)
        name_bytes, extra_bytes = struct.unpack_from("<HH", local, 26)
        reached = info.header_offset + 30 + name_bytes + extra_bytes + info.compress_size
        previous = printable(info.filename)
    if reached > archive.start_dir:
        raise InputError("archive.unsafe", f"a member overlaps the directory: {previous}", where=name)


def _member_entry(
    archive: zipfile.ZipFile, path: str, found: dict[str, zipfile.ZipInfo], prefix: str, limits: Limits
) -> Entry:
    info = found[path]
    name = prefix + printable(path)

    def find(other: str) -> Entry | None:
        wanted = str(PurePosixPath(path).parent / other)
        return _member_entry(archive, wanted, found, prefix, limits) if wanted in found else None

    return Entry(
        name, info.file_size, None, limits, lambda: _open_member(archive, info, name), find, packed=info.compress_size
    )


def _open_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> BinaryIO:
    try:
        return io.BufferedReader(_Member(archive.open(info), name, info.file_size), 2**16)
    except (*_DAMAGE, RuntimeError) as error:
        raise _damaged(error, name) from error


class _Member(io.RawIOBase):
    """A member's unpacked bytes; damage that shows while reading is an `InputError` too."""

    def __init__(self, stream: IO[bytes], name: str, size: int) -> None:
        self._stream, self._name, self._size = stream, name, size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            piece = self._stream.read(len(buffer))
        except _DAMAGE as error:
            raise _damaged(error, self._name) from error
        if not piece and len(buffer) and self._stream.tell() < self._size:
            raise InputError("archive.damaged", f"a member ends before its {self._size:,} bytes", where=self._name)
        buffer[: len(piece)] = piece
        return len(piece)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._stream.seek(offset, whence)
        except _DAMAGE as error:
            raise _damaged(error, self._name) from error

    def tell(self) -> int:
        return self._stream.tell()

    def close(self) -> None:
        self._stream.close()
        super().close()


def _damaged(error: Exception, name: str) -> InputError:
    if isinstance(error, InputError):
        return error
    return InputError("archive.damaged", reason(error), where=name)
