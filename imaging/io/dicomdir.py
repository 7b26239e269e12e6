"""DICOMDIR, the table of contents of a medium: never followed, but what it names and is not there is told.

Source: DICOM PS3.10 8.6 and PS3.3 F.3.2.2 (directory information object, ReferencedFileID).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from contextlib import suppress

from imaging.errors import InputError, Notice, printable
from imaging.io.entries import Entry

_UID = b"1.2.840.10008.1.3.10"
#: (0004,1500) ReferencedFileID; a DICOMDIR is explicit little endian by definition.
_REFERENCED_FILE = re.compile(rb"\x04\x00\x00\x15CS(..)", re.DOTALL)
#: No more of a directory is searched; some 100,000 images.
_MOST_BYTES = 64 * 2**20


def is_dicomdir(name: str, head: bytes) -> bool:
    """Whether a file is a DICOM media directory, by its name or by its meta header."""
    return has_the_name(name) or (head[128:132] == b"DICM" and _UID + b"\0" in head)


def has_the_name(name: str) -> bool:
    """Whether a file is called DICOMDIR, in whatever folder."""
    return name.rpartition("/")[2].casefold() == "dicomdir"


def missing_files(directories: Iterable[Entry], entries: Iterable[Entry]) -> list[Notice]:
    """A notice for each directory that names files which are not there: the CT may be longer than what is left of it.

    Args:
        directories: the DICOMDIRs of a source.
        entries: everything else in it.
    """
    there = {_key(entry.name) for entry in entries}
    notices = []
    for directory in directories:
        folder = directory.name.rpartition("/")[0]
        names = _referenced(directory)
        missing = [name for name in names if _key(f"{folder}/{name}" if folder else name) not in there]
        if missing:
            text = f"{directory.name} names {len(names)} files, {len(missing)} of which are not there, such as "
            notices.append(Notice("source.dicomdir", text + printable(missing[0])))
    return notices


def _referenced(directory: Entry) -> list[str]:
    """The files that a directory names, "/" between folders; none if it cannot be read."""
    content = b""
    with suppress(InputError):
        content = directory.head(_MOST_BYTES)
    names: dict[str, None] = {}
    for found in _REFERENCED_FILE.finditer(content):
        (length,) = struct.unpack("<H", found.group(1))
        value = content[found.end() : found.end() + length].decode("ascii", "replace")
        parts = [part.strip(" \0") for part in value.split("\\")]
        names["/".join(part for part in parts if part)] = None
    return list(names)


def _key(name: str) -> str:
    """A name as it may come back from an ISO 9660 medium: any case, a version or a bare full stop at its end."""
    return name.casefold().partition(";")[0].rstrip(".")
