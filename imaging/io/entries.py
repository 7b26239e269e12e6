"""One file or archive member, not yet opened: what every reader of a format is given."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from imaging.errors import InputError, printable
from imaging.io.limits import Limits

# Without blocking, where the system knows it: a pipe without a writer would make opening wait for ever.
_OPEN_FLAGS = os.O_RDONLY
for _name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
    _OPEN_FLAGS |= getattr(os, _name, 0)


@dataclass(frozen=True, eq=False)
class Entry:
    """One file or archive member, not yet opened.

    Args:
        name: relative to the source, with "/" between folders; unprintable characters are escaped, so that it can stand
            in messages and reports. Within an inner archive: ``inner.zip/member``.
        size: bytes, unpacked.
        path: the file on the disk, or None for a member of an archive.
        limits: the caps that `read` keeps.
        opener: opens the bytes; may raise `InputError`.
        finder: gives the entry of a plain relative name in the same folder, or None.
        packed: bytes that it takes up in its archive; without meaning for a file on the disk.
    """

    name: str
    size: int
    path: Path | None
    limits: Limits = field(repr=False)
    opener: Callable[[], BinaryIO] = field(repr=False)
    finder: Callable[[str], Entry | None] = field(repr=False)
    packed: int = field(default=0, repr=False)

    def open(self) -> BinaryIO:
        """The bytes as a buffered, seekable stream; close it after use.

        Raises:
            InputError: ``input.unreadable`` or ``archive.damaged``; reading a damaged member can raise it later too.
        """
        return self.opener()

    def read(self) -> bytes:
        """All bytes, their checksum verified where the source has one.

        Raises:
            InputError: ``input.too_large``, ``input.unreadable``, ``archive.damaged``.
        """
        self.limits.check_bytes(self.size, where=self.name)
        return self._read(self.size + 1)

    def head(self, count: int = 1024) -> bytes:
        """The first `count` bytes, or fewer if there are no more."""
        return self._read(count)

    def _read(self, count: int) -> bytes:
        try:
            with self.open() as stream:
                return stream.read(count) or b""  # None where the system has nothing to give without waiting
        except OSError as error:
            raise unreadable(error, self.name) from error

    def sibling(self, name: str) -> Entry | None:
        """The entry called `name` in the same folder or below it, or None; never one outside.

        Headers name the file with their voxels this way (.mhd, .nhdr); they cannot reach out of the folder or archive.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        if not name or parts.is_absolute() or ".." in parts.parts or "\0" in name or ":" in parts.parts[0]:
            return None
        return self.finder(str(parts))


def file_entry(path: Path, name: str, limits: Limits) -> Entry:
    """The entry of one file on the disk.

    Raises:
        InputError: ``input.unreadable`` if it is not an ordinary file, or not to be had.
    """
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise unreadable(error, printable(path)) from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError("input.unreadable", "not an ordinary file", where=printable(path))
    return disk_entry(path, name, status.st_size, limits)


def disk_entry(path: Path, name: str, size: int, limits: Limits) -> Entry:
    """The entry of an ordinary file whose size is known already."""

    def find(other: str) -> Entry | None:
        try:
            return file_entry(path.parent / other, name[: len(name) - len(path.name)] + other, limits)
        except InputError:
            return None

    return Entry(printable(name), size, path, limits, lambda: open_file(path), find)


def open_file(path: Path) -> BinaryIO:
    """Open an ordinary file for reading; a pipe or device that took its place meanwhile does not block.

    Raises:
        InputError: ``input.unreadable``.
    """
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
        stream = os.fdopen(descriptor, "rb")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            stream.close()
            raise InputError("input.unreadable", "not an ordinary file", where=printable(path))
    except OSError as error:
        raise unreadable(error, printable(path)) from error
    return stream


def unreadable(error: Exception, where: str) -> InputError:
    """The refusal for something that the operating system would not let be read."""
    return InputError("input.unreadable", reason(error), where=where)


def too_many_files(limits: Limits, where: str) -> InputError:
    """The refusal for a folder or archive with more files than the limit."""
    return InputError("input.too_large", f"more than {limits.files:,} files (NODULUS_MAX_FILES)", where=where)


def reason(error: Exception) -> str:
    """What the operating system said, without the path that it repeats."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
