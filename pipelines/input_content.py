"""What an input consists of, so that work already done is known again, and is done again once a byte has changed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from imaging.errors import ImagingError


def content_sha256(path: Path) -> str:
    """Hash of the names and bytes of all files of an input; see `input_files`."""
    from imaging.provenance import file_sha256

    digest = hashlib.sha256()
    for file in input_files(path):
        digest.update(os.fsencode(f"{file.relative_to(path.parent)}\0{file_sha256(file)}\n"))
    return digest.hexdigest()


def fingerprint(path: Path) -> str:
    """Hash of names, sizes and times of change: the same where nothing was touched, and cheap."""
    digest = hashlib.sha256()
    for file in input_files(path):
        facts = file.stat()
        digest.update(os.fsencode(f"{file.relative_to(path.parent)}\0{facts.st_size}\0{facts.st_mtime_ns}\n"))
    return digest.hexdigest()


def input_files(path: Path) -> list[Path]:
    """All files below a folder, or a file with those that its header names; in the order of their names."""
    if path.is_file():
        return sorted({path, *_named_in_header(path)})
    return sorted(file for file in path.rglob("*") if file.is_file())


def _named_in_header(path: Path) -> list[Path]:
    """The files with the voxels of an .mhd or .nhdr; none where the header is refused, for then nothing is read."""
    from imaging.io.metaimage import read_metaimage_header
    from imaging.io.nrrd import read_nrrd_header

    readers = {".mhd": read_metaimage_header, ".nhdr": read_nrrd_header}
    reader = readers.get(path.suffix.lower())
    try:
        entries = () if reader is None else reader(path).entries
    except ImagingError:
        return []
    return [entry.path for entry in entries if entry.path is not None]
