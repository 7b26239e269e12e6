"""NRRD (.nrrd, and .nhdr with its voxels in another file), with its `space` honoured: not every file is LPS.

Source: https://teem.sourceforge.net/nrrd/format.html
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
from imaging.io.text_header import HEADER_BYTES, bad_header, data_file, millimetres, numbers, whole_numbers
from imaging.io.voxels import Encoding, Layout

_TYPES: dict[str, tuple[str, ...]] = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
#: Stored types by each of their names.
DTYPES = {name: code for code, names in _TYPES.items() for name in names}
_ENCODINGS: dict[str, Encoding] = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
#: What turns each named space into LPS.
SPACES = {
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
}  # fmt: skip
#: Spaces that do not say where the patient lies.
_UNKNOWN_SPACES = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
#: Kinds of an axis in space, or of one of which nothing is said.
_SPATIAL_KINDS = ("domain", "space", "none", "???")
_SPELLINGS = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip", "oldmin": "old min"}
_VECTOR = re.compile(r"\(([^()]*)\)|(none)", re.IGNORECASE)


def looks_like_nrrd(head: bytes) -> bool:
    """Whether bytes begin as an NRRD header does."""
    return re.match(rb"NRRD000[1-9]\r?\n", head) is not None


def read_nrrd(source: Entry | str | Path, *, limits: Limits | None = None) -> Volume:
    """The CT in an NRRD file; its values are taken for HU unless they clearly are not (see `Volume.is_hu`).

    Raises:
        InputError: ``file.*``, ``geometry.singular``, ``input.*``, ``archive.damaged``.
    """
    return read_volume(read_nrrd_header(source, limits=limits))


def read_nrrd_header(source: Entry | str | Path, *, limits: Limits | None = None) -> FileHeader:
    """What an NRRD header says, checked against the file's size and against itself.

    Raises:
        InputError: ``file.header``, ``file.dimensions``, ``file.unsupported``, ``file.geometry``, ``file.truncated``,
            ``file.surplus``, ``file.data_missing``, ``geometry.singular``, ``input.too_large``, ``input.unreadable``.
    """
    entry = as_entry(source, limits)
    head = entry.head(HEADER_BYTES)
    if not looks_like_nrrd(head):
        raise bad_header(entry, "the first line is not that of an NRRD file")
    fields, end = _parse(head, entry)
    sizes = whole_numbers(_required(fields, "sizes", entry), "sizes", entry)
    if whole_numbers(_required(fields, "dimension", entry), "dimension", entry) != [len(sizes)]:
        raise bad_header(entry, f"dimension {fields['dimension']} contradicts sizes {fields['sizes']}")
    spatial = _spatial_axes(sizes, entry)
    _check_kinds(fields, spatial, len(sizes), entry)
    shape = volume_shape([sizes[axis] for axis in spatial], entry, entry.limits, field="sizes")
    layout = _layout(fields, head, end, shape, entry)
    layout.check_size()
    affine, notices = _place(fields, spatial, len(sizes), entry)
    grid, grid_notices = grid_of(affine, shape, entry, fields=_placing_fields(fields))
    notices += grid_notices
    entries = (entry,) if layout.entry is entry else (entry, layout.entry)
    if "old min" not in fields and "old max" not in fields:
        return FileHeader("nrrd", grid, layout, entries, notices)
    notices += (Notice("file.not_hu", "'old min' and 'old max' say that the values were rescaled to fit their type"),)
    return FileHeader("nrrd", grid, layout, entries, notices, is_hu=False)


def _placing_fields(fields: dict[str, str]) -> str:
    """The fields that `_place` goes by, as the header has them, for a refusal."""
    names = ("space directions", "space origin") if "space directions" in fields else ("spacings",)
    return "; ".join(f"{name}: {fields[name][:120]}" for name in names if name in fields)


def _parse(head: bytes, entry: Entry) -> tuple[dict[str, str], int]:
    """The fields in lower case, and where the header ends: after a blank line, or with the file."""
    fields: dict[str, str] = {}
    position = head.find(b"\n") + 1
    while position < len(head):
        line_end = head.find(b"\n", position)
        line = head[position : len(head) if line_end < 0 else line_end].decode("latin-1").rstrip("\r")
        position = len(head) if line_end < 0 else line_end + 1
        if not line:
            return fields, position
        name, colon, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):
            continue
        if not colon:
            raise bad_header(entry, f"{line[:60]!r} is not 'field: value'")
        name = " ".join(name.casefold().split())
        name = _SPELLINGS.get(name, name)
        if fields.setdefault(name, value.strip()) != value.strip():
            raise bad_header(entry, f"'{name[:40]}' is given twice, differently")
        if name == "data file" and value.split()[:1] == ["LIST"]:
            return fields, position
    if "data file" not in fields:
        raise bad_header(entry, "the header does not end")
    return fields, position


def _required(fields: dict[str, str], name: str, entry: Entry) -> str:
    if name not in fields:
        raise bad_header(entry, f"there is no '{name}'")
    return fields[name]


def _spatial_axes(sizes: list[int], entry: Entry) -> list[int]:
    """The three axes of the volume; an axis of one step before or after them (a colour, a time) is passed over."""
    if len(sizes) == 3:
        return [0, 1, 2]
    several = [axis for axis, size in enumerate(sizes) if size != 1]
    if len(several) == 3:
        return several
    raise InputError("file.dimensions", f"sizes {sizes} are not those of one volume", where=entry.name)


def _check_kinds(fields: dict[str, str], spatial: list[int], dimensions: int, entry: Entry) -> None:
    """Refuse an axis of time, colour or vectors that would pass for slices, rows or columns."""
    kinds = fields.get("kinds", "").casefold().split()
    if len(kinds) != dimensions:
        return
    if any(kinds[axis] not in _SPATIAL_KINDS for axis in spatial):
        raise InputError(
            "file.dimensions", f"kinds {fields['kinds'][:80]!r} are not those of a volume", where=entry.name
        )


def _layout(fields: dict[str, str], head: bytes, end: int, shape: tuple[int, int, int], entry: Entry) -> Layout:
    kind = " ".join(_required(fields, "type", entry).casefold().split())
    encoding = _ENCODINGS.get(_required(fields, "encoding", entry).casefold())
    if kind not in DTYPES or encoding is None:
        text = f"type {kind[:40]!r} with encoding {fields['encoding'][:40]!r}"
        raise InputError("file.unsupported", text, where=entry.name)
    dtype = np.dtype(DTYPES[kind])
    if dtype.itemsize > 1:
        order = _required(fields, "endian", entry).casefold()
        if order not in ("little", "big"):
            raise bad_header(entry, f"endian: {order[:40]!r}")
        dtype = dtype.newbyteorder("<" if order == "little" else ">")
    data = data_file(fields["data file"], entry) if "data file" in fields else entry
    start = 0 if "data file" in fields else end
    start = _after_lines(fields, start, data, entry)
    (skip,) = whole_numbers(fields.get("byte skip", "0"), "byte skip", entry)
    if skip < -1 or (skip == -1 and encoding != "raw"):
        raise bad_header(entry, f"byte skip: {skip}")
    if encoding == "raw":
        return Layout(data, -1 if skip == -1 else start + skip, encoding, dtype, shape)
    return Layout(data, skip, encoding, dtype, shape, skip=start)


def _after_lines(fields: dict[str, str], start: int, data: Entry, entry: Entry) -> int:
    """Where the voxels begin after the lines that 'line skip' passes over."""
    (lines,) = whole_numbers(fields.get("line skip", "0"), "line skip", entry)
    if lines == 0:
        return start
    head = data.head(start + HEADER_BYTES)
    for _ in range(lines if 0 < lines <= HEADER_BYTES else 0):
        start = head.find(b"\n", start) + 1
        if start == 0:
            break
    if lines < 0 or start == 0:
        raise bad_header(entry, f"line skip: {lines}")
    return start


def _place(
    fields: dict[str, str], spatial: list[int], dimensions: int, entry: Entry
) -> tuple[Floats, tuple[Notice, ...]]:
    """4 x 4 from (column, row, slice) to LPS mm, with what is doubtful about it."""
    directions, notices = _directions(fields, spatial, dimensions, entry)
    affine = np.eye(4)
    affine[:3, :3] = directions
    if "space origin" in fields and "space directions" in fields:
        affine[:3, 3] = _vectors(fields["space origin"], 1, "space origin", entry)[0]
    elif "space directions" in fields:
        notices += (Notice("file.frame_unknown", "there is no 'space origin'"),)
    unit, unit_notices = _unit(fields, spatial, dimensions, entry)
    affine[:3] *= unit
    space = fields.get("space", "").casefold()
    if space in SPACES:
        return np.diag([*SPACES[space], 1.0]) @ affine, notices + unit_notices
    if space and space not in _UNKNOWN_SPACES:
        raise InputError("file.unsupported", f"space: {space[:60]!r}", where=entry.name)
    if "space directions" in fields:
        text = f"space is {space or 'not named'}; the axes of a CT in LPS are assumed"
        notices += (Notice("file.frame_unknown", text),)
    return affine, notices + unit_notices


def _directions(
    fields: dict[str, str], spatial: list[int], dimensions: int, entry: Entry
) -> tuple[Floats, tuple[Notice, ...]]:
    """3 x 3: one step along column, row and slice, as columns."""
    if "space directions" in fields:
        vectors = _vectors(fields["space directions"], dimensions, "space directions", entry)
        steps = [vectors[axis] for axis in spatial]
        if any(step is None for step in steps):
            raise InputError("file.geometry", "an axis of the volume has the direction 'none'", where=entry.name)
        return np.array(steps, dtype=np.float64).T, ()
    if "spacings" not in fields:
        raise InputError("file.geometry", "there is neither 'space directions' nor 'spacings'", where=entry.name)
    words = fields["spacings"].split()
    if len(words) != dimensions:
        raise bad_header(entry, f"spacings: {fields['spacings'][:80]!r} are not {dimensions}")
    spacings = numbers(" ".join(words[axis] for axis in spatial), 3, "spacings", entry)
    text = "there is no 'space directions': only the spacing is known"
    return np.diag(spacings), (Notice("file.frame_unknown", text),)


def _vectors(text: str, count: int, field: str, entry: Entry) -> list[Floats | None]:
    """Vectors in parentheses; 'none' for an axis without a place in space."""
    found = list(_VECTOR.finditer(text)) if len(text) <= 4096 else []
    if len(found) != count or _VECTOR.sub("", text).strip():
        raise bad_header(entry, f"{field}: {text[:120]!r} is not {count} vectors")
    return [None if match[2] else numbers(match[1].replace(",", " "), 3, field, entry) for match in found]


def _unit(
    fields: dict[str, str], spatial: list[int], dimensions: int, entry: Entry
) -> tuple[Floats, tuple[Notice, ...]]:
    """Millimetres of one unit along x, y and z, as a column."""
    field = "space units" if "space directions" in fields else "units"
    if field not in fields:
        return np.ones((3, 1)), ()
    names = re.findall(r'"([^"]*)"', fields[field])
    if field == "units":
        if len(names) != dimensions:
            raise bad_header(entry, f"units: {fields[field][:80]!r} are not {dimensions}")
        names = [names[axis] for axis in spatial]
    if len(names) != 3:
        raise bad_header(entry, f"{field}: {fields[field][:80]!r} are not 3")
    scale = np.array([[millimetres(name, field, entry) if name.strip() else 1.0] for name in names])
    if (scale == 1.0).all():
        return scale, ()
    return scale, (Notice("file.unit_converted", f"{field} are {', '.join(name[:20] for name in names)}"),)
