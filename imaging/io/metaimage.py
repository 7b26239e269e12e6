"""MetaImage: .mha, and .mhd with its voxels in another file; every field that places or scales a voxel is honoured.

Source: https://github.com/Kitware/MetaIO/blob/master/doc/MetaIO-File-Format-spec.md (field names and defaults).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from imaging.errors import InputError, Notice
from imaging.geometry.grid import Floats
from imaging.geometry.volume import Volume
from imaging.io.entries import Entry
from imaging.io.files import FileHeader, as_entry, grid_of, read_volume, volume_shape
from imaging.io.limits import Limits
from imaging.io.orientation_letters import contradicts
from imaging.io.text_header import (
    HEADER_BYTES,
    bad_header,
    data_file,
    millimetres,
    numbers,
    unit_columns,
    whole_numbers,
)
from imaging.io.voxels import Layout

#: Stored types by MetaImage's name; its "long" has four bytes on every machine.
DTYPES = {
    "MET_CHAR": "i1", "MET_ASCII_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
#: The fields that place a voxel, each with all its names; an element's size stands in for a spacing that is not there.
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_OFFSET = ("Offset", "Position", "Origin")
_SPACING = ("ElementSpacing", "ElementSize")
_START = re.compile(rb"\s*(ObjectType|Comment|ObjectSubType|NDims|Name|ID|BinaryData|DimSize|ElementType)[ \t]*=")


def looks_like_metaimage(head: bytes) -> bool:
    """Whether bytes begin as a MetaImage header does."""
    return _START.match(head) is not None


def read_metaimage(source: Entry | str | Path, *, limits: Limits | None = None) -> Volume:
    """The CT in a MetaImage; its values are taken for HU unless they clearly are not (see `Volume.is_hu`).

    Raises:
        InputError: ``file.*``, ``geometry.singular``, ``input.*``, ``archive.damaged``.
    """
    return read_volume(read_metaimage_header(source, limits=limits))


def read_metaimage_header(source: Entry | str | Path, *, limits: Limits | None = None) -> FileHeader:
    """What a MetaImage header says, checked against the file's size and against itself.

    Raises:
        InputError: ``file.header``, ``file.dimensions``, ``file.unsupported``, ``file.geometry``, ``file.truncated``,
            ``file.surplus``, ``file.data_missing``, ``geometry.singular``, ``input.too_large``, ``input.unreadable``.
    """
    entry = as_entry(source, limits)
    fields, end = _parse(entry.head(HEADER_BYTES), entry)
    if (kind := fields.get("ObjectType", "Image")) != "Image":
        raise InputError("file.unsupported", f"ObjectType {kind[:40]!r} is not Image", where=entry.name)
    sizes = whole_numbers(_required(fields, "DimSize", entry), "DimSize", entry)
    if whole_numbers(_required(fields, "NDims", entry), "NDims", entry) != [len(sizes)]:
        raise bad_header(entry, f"NDims {fields['NDims']} contradicts DimSize {fields['DimSize']}")
    shape = volume_shape(sizes, entry, entry.limits, field="DimSize")
    layout, layout_notices = _layout(fields, end, shape, entry)
    layout.check_size()
    affine, place_notices = _place(fields, len(sizes), entry)
    grid, grid_notices = grid_of(affine, shape, entry, fields=_placing_fields(fields))
    entries = (entry,) if layout.entry is entry else (entry, layout.entry)
    notices = place_notices + grid_notices + layout_notices
    modality = fields.get("Modality", "MET_MOD_CT").upper()
    if modality in ("MET_MOD_CT", "MET_MOD_UNKNOWN", "MET_MOD_OTHER"):
        return FileHeader("metaimage", grid, layout, entries, notices)
    notices += (Notice("file.not_hu", f"Modality is {modality[:40]}, not MET_MOD_CT"),)
    return FileHeader("metaimage", grid, layout, entries, notices, is_hu=False)


def _placing_fields(fields: dict[str, str]) -> str:
    """The fields that `_place` goes by, as the header has them, for a refusal."""
    names = (*_MATRIX, *_SPACING, *_OFFSET)
    return "; ".join(f"{name} = {fields[name][:120]}" for name in names if name in fields)


def _parse(head: bytes, entry: Entry) -> tuple[dict[str, str], int]:
    """The fields, and where the header ends; ElementDataFile is always the last."""
    fields: dict[str, str] = {}
    position = 0
    while position < len(head):
        line_end = head.find(b"\n", position)
        line = head[position : len(head) if line_end < 0 else line_end]
        position = len(head) if line_end < 0 else line_end + 1
        name, equals, value = (part.strip() for part in line.decode("latin-1").partition("="))
        if not name and not equals:
            continue
        if not equals or not name.isidentifier():
            raise bad_header(entry, f"{line[:60].decode('latin-1')!r} is not 'name = value'")
        if fields.setdefault(name, value) != value and name != "Comment":
            raise bad_header(entry, f"{name} is given twice, differently")
        if name == "ElementDataFile":
            return fields, position
    raise bad_header(entry, "there is no ElementDataFile")


def _required(fields: dict[str, str], name: str, entry: Entry) -> str:
    if name not in fields:
        raise bad_header(entry, f"there is no {name}")
    return fields[name]


def _one_of(fields: dict[str, str], names: tuple[str, ...], entry: Entry) -> str | None:
    """The value of a field that has several names; they must agree."""
    values = {fields[name] for name in names if name in fields}
    if len(values) > 1:
        raise bad_header(entry, f"{' and '.join(names)} contradict each other")
    return values.pop() if values else None


def _flag(fields: dict[str, str], names: tuple[str, ...], default: bool, entry: Entry) -> bool:
    text = _one_of(fields, names, entry)
    if text is None:
        return default
    if text.casefold() not in ("true", "false", "1", "0", "yes", "no"):
        raise bad_header(entry, f"{names[0]}: {text[:40]!r} is neither True nor False")
    return text.casefold() in ("true", "1", "yes")


def _layout(
    fields: dict[str, str], end: int, shape: tuple[int, int, int], entry: Entry
) -> tuple[Layout, tuple[Notice, ...]]:
    code = DTYPES.get(_required(fields, "ElementType", entry))
    channels = fields.get("ElementNumberOfChannels", "1")
    if code is None or channels != "1":
        text = f"ElementType {fields['ElementType'][:40]} with {channels[:10]} channels is not one number a voxel"
        raise InputError("file.unsupported", text, where=entry.name)
    if not _flag(fields, ("BinaryData",), True, entry):
        raise InputError("file.unsupported", "BinaryData = False: the voxels are written as text", where=entry.name)
    big_endian = _flag(fields, ("BinaryDataByteOrderMSB", "ElementByteOrderMSB"), False, entry)
    dtype = np.dtype((">" if big_endian else "<") + code)
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    data = entry if local else data_file(name, entry)
    offset = end if local else 0
    if "HeaderSize" in fields:
        (skip,) = whole_numbers(fields["HeaderSize"], "HeaderSize", entry)
        if skip < -1 or (local and 0 < skip < end):
            raise bad_header(entry, f"HeaderSize is {skip}")
        offset = skip if skip else offset
    slope, intercept, notices = _scale(fields, entry)
    if not _flag(fields, ("CompressedData",), False, entry):
        return Layout(data, offset, "raw", dtype, shape, slope, intercept), notices
    if offset < 0:
        raise bad_header(entry, "HeaderSize -1 has no meaning for compressed voxels")
    return Layout(data, offset, "zlib", dtype, shape, slope, intercept), notices + _size_doubt(
        fields, data.size - offset, entry
    )


def _size_doubt(fields: dict[str, str], packed_bytes: int, entry: Entry) -> tuple[Notice, ...]:
    """The stream ends itself and carries a checksum, so a wrong size in the header does no harm."""
    if "CompressedDataSize" not in fields:
        return ()
    (declared,) = whole_numbers(fields["CompressedDataSize"], "CompressedDataSize", entry)
    if declared == packed_bytes:
        return ()
    text = f"CompressedDataSize says {declared:,} bytes; the file has {packed_bytes:,}"
    return (Notice("file.size_ignored", text),)


def _scale(fields: dict[str, str], entry: Entry) -> tuple[float, float, tuple[Notice, ...]]:
    names = ("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")
    slope = float(numbers(fields.get(names[0], "1"), 1, names[0], entry)[0])
    intercept = float(numbers(fields.get(names[1], "0"), 1, names[1], entry)[0])
    if slope == 0:
        raise bad_header(entry, f"{names[0]} is 0")
    if slope == 1.0 and intercept == 0.0:
        return slope, intercept, ()
    text = f"value = {slope:g} x stored {intercept:+g} ({names[0]} and Offset); many programs do not apply it"
    return slope, intercept, (Notice("file.rescaled", text),)


def _place(fields: dict[str, str], dimensions: int, entry: Entry) -> tuple[Floats, tuple[Notice, ...]]:
    """4 x 4 from (column, row, slice) to LPS mm; a negative spacing turns its axis round."""
    notices: tuple[Notice, ...] = ()
    spacing = next((fields[name] for name in _SPACING if name in fields), None)
    if spacing is None:
        raise InputError("file.geometry", "there is neither ElementSpacing nor ElementSize", where=entry.name)
    steps = numbers(spacing, dimensions, "ElementSpacing", entry)[:3]
    matrix = _one_of(fields, _MATRIX, entry)
    offset = _one_of(fields, _OFFSET, entry)
    if matrix is None or offset is None:
        missing = "orientation (TransformMatrix)" if matrix is None else "position (Offset)"
        notices += (Notice("file.frame_unknown", f"there is no {missing}; the axes of a CT in LPS are assumed"),)
    unit = fields.get("DistanceUnits", "mm")
    scale = 1.0 if unit in ("", "?") else millimetres(unit, "DistanceUnits", entry)
    if scale != 1.0:
        notices += (Notice("file.unit_converted", f"DistanceUnits is {unit[:20]}"),)
    affine = np.eye(4)
    if matrix is not None:
        # The numbers of one axis stand together: rows of the text are columns here.
        cosines = numbers(matrix, dimensions**2, "TransformMatrix", entry).reshape(dimensions, dimensions).T[:3, :3]
        affine[:3, :3] = unit_columns(cosines, "TransformMatrix", entry)
        notices += _orientation_doubt(fields.get("AnatomicalOrientation", ""), matrix, cosines)
    affine[:3, :3] *= steps * scale
    if offset is not None:
        affine[:3, 3] = numbers(offset, dimensions, "Offset", entry)[:3] * scale
    return affine, notices


def _orientation_doubt(letters: str, matrix: str, cosines: Floats) -> tuple[Notice, ...]:
    """The letters place nothing; ITK does not go by them either."""
    if not contradicts(letters, cosines):
        return ()
    text = (
        f"AnatomicalOrientation {letters[:10]} contradicts TransformMatrix {matrix[:120]}; the matrix counts, as in ITK"
    )
    return (Notice("file.orientation_conflict", text),)
