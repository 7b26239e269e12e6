"""What a file is, by its first bytes and never by its name; the table of formats that hold a volume in one file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from imaging.errors import InputError
from imaging.io.entries import Entry
from imaging.io.files import FileHeader, Format
from imaging.io.metaimage import looks_like_metaimage, read_metaimage_header
from imaging.io.nifti import looks_like_nifti, read_nifti_header
from imaging.io.nrrd import looks_like_nrrd, read_nrrd_header
from imaging.io.voxels import gunzipped_head

#: Reads and checks the header of each format; `imaging.io.files.read_volume` then reads the voxels.
HEADER_READERS: Final[dict[Format, Callable[[Entry], FileHeader]]] = {
    "nifti": read_nifti_header,
    "metaimage": read_metaimage_header,
    "nrrd": read_nrrd_header,
}
_GZIP = b"\x1f\x8b"


def sniff(entry: Entry) -> Format | Literal["dicom"] | None:
    """The format of a file, or None if it is none that is read.

    ``dicom`` here means the preamble and the letters DICM; data sets without them are for the DICOM reader to try.

    Raises:
        InputError: ``input.unreadable`` or ``archive.damaged`` if not even the first bytes can be had.
    """
    head = entry.head(512)
    if head[128:132] == b"DICM":
        return "dicom"
    if looks_like_nrrd(head):
        return "nrrd"
    if looks_like_metaimage(head):
        return "metaimage"
    if looks_like_nifti(_inflated(entry, head)):
        return "nifti"
    return None


def read_file_header(entry: Entry) -> FileHeader:
    """The checked header of a file in any of the formats.

    Raises:
        InputError: ``input.not_image`` if it is none of them; else what the format's reader raises.
    """
    form = sniff(entry)
    if form is None or form == "dicom":
        raise InputError("input.not_image", "neither NIfTI nor MetaImage nor NRRD", where=entry.name)
    return HEADER_READERS[form](entry)


def _inflated(entry: Entry, head: bytes) -> bytes:
    """The first bytes, inflated if need be; a broken gzip file whose first bytes cannot be had looks like nothing."""
    if not head.startswith(_GZIP):
        return head
    try:
        return gunzipped_head(entry, 4)
    except InputError:
        return b""
