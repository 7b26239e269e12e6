"""One DICOM file up to its pixel data: which image it holds, where, in which encoding. No pixel is read here.

A header becomes a `DicomFile`: attribute keywords with their values as text, whatever the encoding was (``\\`` between
values, as in the file), and the place of the pixel data. A `Slice` is one image plane: one for an ordinary CT, one for
each frame of an enhanced one (`imaging.io.dicom_multiframe`), so everything after this module treats both alike.
"""

from __future__ import annotations

import itertools
import struct
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

from imaging.errors import InputError
from imaging.io.dicom_slices import DicomFile, Slice, damaged
from imaging.io.dicom_stream import open_dataset
from imaging.io.dicom_tags import (
    DEFLATED,
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    FLOAT_TAGS,
    FRAME_GROUPS,
    IMPLICIT_LITTLE,
    MODALITY_LUT,
    NUMBER_TAGS,
    PIXEL_TAGS,
    SHARED_GROUPS,
    TEXT_TAGS,
    WANTED_TAGS,
)
from imaging.io.entries import Entry

#: What is read first; few headers of single images are longer.
FIRST_BYTES = 16 * 2**10
#: A header beyond this is no CT's (an enhanced one of 3,000 frames has about 10 MB).
_HEADER_BYTES = 64 * 2**20
#: More elements than this, sequences counted as one, are no header but a way to keep a parser busy.
_MAX_ELEMENTS = 20_000


@dataclass(frozen=True)
class Header:
    """What one entry turned out to be.

    Args:
        slices: its image planes; empty if it is no image.
        tags: what identifies it (SOP class, series ...), as far as it was read.
        problem: why a file that begins as DICOM cannot be used, or None.
    """

    slices: tuple[Slice, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    problem: InputError | None = None


@dataclass(frozen=True)
class _Start:
    """How a file begins: its file meta information."""

    tags: Mapping[int, str]
    dataset_at: int
    has_preamble: bool


def read_header(entry: Entry, head: bytes) -> Header | None:
    """What a file is, from its header alone; None if it is not DICOM.

    Never raises for a damaged file: `Header.problem` holds the refusal, so that a listing can go on.

    Args:
        entry: the file.
        head: its first `FIRST_BYTES` bytes.
    """
    try:
        start = _read_start(head, entry)
        return None if start is None else _read(entry, head, start)
    except InputError as error:
        return Header(problem=error) if head[128:132] == b"DICM" else None


def _read_start(head: bytes, entry: Entry) -> _Start | None:
    if head[128:132] == b"DICM":
        return _read_meta(head, 132, entry)
    if head[:2] == b"\x02\0" and head[4:6].isalpha():
        return replace(_read_meta(head, 0, entry), has_preamble=False)
    return _without_preamble(head)


def _without_preamble(head: bytes) -> _Start | None:
    """A bare data set: it must begin with a short element of group 0008."""
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    little, big = head[:2] == b"\x08\0", head[:2] == b"\0\x08"
    if len(head) < 16 or not (little or (big and explicit)):
        return None
    if not explicit and int.from_bytes(head[4:8], "little") > 1024:
        return None
    syntax = EXPLICIT_BIG if big else EXPLICIT_LITTLE if explicit else IMPLICIT_LITTLE
    return _Start({0x00020010: syntax}, 0, False)


def _read_meta(head: bytes, at: int, entry: Entry) -> _Start:
    """The file meta information (group 0002), which is explicit little endian in every file."""
    tags: dict[int, str] = {}
    while head[at : at + 2] == b"\x02\0":
        long_form = head[at + 4 : at + 6] in (b"OB", b"OW", b"UN", b"UT", b"SQ")
        value_at = at + (12 if long_form else 8)
        length = int.from_bytes(head[at + 8 : at + 12] if long_form else head[at + 6 : at + 8], "little")
        element = int.from_bytes(head[at + 2 : at + 4], "little")
        tags[0x00020000 | element] = _text(head[value_at : value_at + length])
        at = value_at + length
    if at > len(head) or (at == len(head) and at >= entry.size):
        raise damaged("the file ends within its meta information", entry.name)
    return _Start(tags, at, True)


def _read(entry: Entry, head: bytes, start: _Start) -> Header | None:
    syntax = start.tags.get(0x00020010, "") or _guess_syntax(head[start.dataset_at :])
    meta = {"SOPClassUID": start.tags.get(0x00020002, ""), "SOPInstanceUID": start.tags.get(0x00020003, "")}
    dataset, data, at = _parse(entry, head, start.dataset_at, syntax)
    little = syntax != EXPLICIT_BIG
    tags = {keyword: text for keyword, text in meta.items() if text} | _texts(dataset, little)
    if not start.has_preamble and not {"SOPClassUID", "SeriesInstanceUID"} & tags.keys():
        return None
    file = DicomFile(entry, syntax, little, tags, start.dataset_at, None, None, has_preamble=start.has_preamble)
    if at is None:
        return _without_pixels(file, meta["SOPClassUID"])
    return _image(_place_pixels(file, data, at), dataset)


def _image(file: DicomFile, dataset: Any) -> Header:
    try:
        is_ct = file.tags.get("Modality", "CT").upper() == "CT"
        if is_ct and (SHARED_GROUPS in dataset or FRAME_GROUPS in dataset):
            from imaging.io.dicom_multiframe import frame_slices

            return Header(frame_slices(file, dataset), file.tags)
        return Header((Slice(file, file.tags),), file.tags)
    except InputError as error:
        return Header(tags=file.tags, problem=error)


def _without_pixels(file: DicomFile, meta_class: str) -> Header:
    """A report, a directory ... or an image that lost its end."""
    from pydicom.uid import UID

    sop_class = UID(meta_class or file.tags.get("SOPClassUID", ""))
    kind = sop_class.name
    if not kind or (kind == sop_class and kind.startswith("1.2.840.10008.")):
        return Header(problem=damaged("the file ends before it names its SOP class", file.name))
    if "Image Storage" in kind or {"Rows", "Columns"} & file.tags.keys():
        tags = dict(file.tags)
        if not {"InstanceNumber", "ImagePositionPatient", "Rows"} & tags.keys():
            tags.pop("SeriesInstanceUID", None)  # the file may have ended within it
            if "CT Image" not in kind:
                return Header(tags=tags)
        return Header(tags=tags, problem=damaged(f"the file ends before its pixel data ({kind})", file.name))
    return Header(tags=file.tags)


def _guess_syntax(data: bytes) -> str:
    return EXPLICIT_LITTLE if data[4:6].isalpha() and data[4:6].isupper() else IMPLICIT_LITTLE


def _parse(entry: Entry, head: bytes, start: int, syntax: str) -> tuple[Any, bytes, int | None]:
    """The wanted elements, the bytes they were parsed from, and where in them the pixel data's element begins.

    Reads no more than it takes: the beginning is parsed, and if the pixel data has not been reached, more of the file.
    """
    count = FIRST_BYTES
    while True:
        data = _beginning(entry, head, start, syntax, count)
        whole = len(data) < count - (0 if syntax == DEFLATED else start)
        try:
            dataset, at = _elements(data, syntax, entry)
        except InputError:
            if whole:
                raise
        else:
            if whole or at is not None:
                return dataset, data, at
        if count >= _HEADER_BYTES:
            raise InputError(
                "input.too_large", f"more than {_HEADER_BYTES:,} bytes before the pixel data", where=entry.name
            )
        count *= 8


def _beginning(entry: Entry, head: bytes, start: int, syntax: str, count: int) -> bytes:
    """The first bytes of the data set: of the file's first `count`, or `count` inflated ones."""
    if syntax != DEFLATED:
        return (head if count <= len(head) else entry.head(count))[start:]
    with closing(open_dataset(entry, start, syntax)) as stream:
        return stream.read(count)


def _elements(data: bytes, syntax: str, entry: Entry) -> tuple[Any, int | None]:
    from pydicom.filereader import read_dataset

    stream = BytesIO(data)
    found: list[int] = []
    count = itertools.count(1)

    def at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if next(count) > _MAX_ELEMENTS:
            raise ValueError(f"more than {_MAX_ELEMENTS:,} elements")
        if tag in PIXEL_TAGS:
            found.append(tag)
        return bool(found)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = read_dataset(
                stream,
                syntax == IMPLICIT_LITTLE,
                syntax != EXPLICIT_BIG,
                stop_when=at_pixels,
                specific_tags=WANTED_TAGS,
            )
            for tag in list(dataset.keys()):
                dataset.get_item(tag)  # an element without a known VR fails here
    except Exception as error:  # pydicom raises what the bytes provoke: struct.error, KeyError, RecursionError ...
        raise damaged(f"the header cannot be parsed ({type(error).__name__}: {error})", entry.name) from error
    return dataset, stream.tell() if found else None


def _place_pixels(file: DicomFile, data: bytes, at: int) -> DicomFile:
    order = "little" if file.little_endian else "big"
    tag = int.from_bytes(data[at : at + 2], order) << 16 | int.from_bytes(data[at + 2 : at + 4], order)  # type: ignore[arg-type]
    explicit = data[at + 4 : at + 6] in (b"OB", b"OW", b"OF", b"OD", b"UN")
    length_at = at + (8 if explicit else 4)
    if len(data) < length_at + 4:
        raise damaged("the file ends at the head of its pixel data", file.name)
    length = int.from_bytes(data[length_at : length_at + 4], order)  # type: ignore[arg-type]
    return replace(
        file,
        pixels_at=length_at + 4,
        pixel_bytes=None if length == 0xFFFFFFFF else length,
        pixel_keyword=PIXEL_TAGS.get(tag, "PixelData"),
    )


def _texts(dataset: Any, little: bool) -> dict[str, str]:
    tags: dict[str, str] = {}
    for tag in dataset.keys():  # noqa: SIM118 - iterating a data set itself converts each element
        number = int(tag)
        element = dataset.get_item(tag)
        if number == MODALITY_LUT:
            tags["ModalityLUTSequence"] = "present"
        value = getattr(element, "value", None)
        if not isinstance(value, bytes) or not value:
            continue
        if number in NUMBER_TAGS and element.VR not in ("IS", "DS"):
            tags[NUMBER_TAGS[number]] = str(int.from_bytes(value[:4], "little" if little else "big"))
        elif number in FLOAT_TAGS:
            if len(value) >= 4:
                tags[FLOAT_TAGS[number]] = f"{struct.unpack_from('<f' if little else '>f', value)[0]:g}"
        elif text := _text(value):
            keyword = NUMBER_TAGS.get(number) or TEXT_TAGS.get(number)
            if keyword:
                tags[keyword] = text
    return tags


def _text(value: bytes) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return "\\".join(part.strip(" \0") for part in text.split("\\")) if "\\" in text else text.strip(" \0")
