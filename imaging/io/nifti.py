"""NIfTI-1 and NIfTI-2, in one file (.nii, .nii.gz) or two (.hdr and .img); the only reader in which RAS is spoken.

The header is parsed here, field by field, because programs disagree exactly where it matters: which of the two places
counts, what a void slope means, and which unit the numbers have.

Source: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h and nifti2.h
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imaging.errors import InputError, Notice
from imaging.geometry.grid import Floats
from imaging.geometry.volume import Volume
from imaging.io.entries import Entry
from imaging.io.files import FileHeader, as_entry, grid_of, read_volume, volume_shape
from imaging.io.limits import Limits
from imaging.io.nifti_write import LPS_RAS, write_nifti
from imaging.io.voxels import Layout, gunzipped_head

__all__ = ["looks_like_nifti", "read_nifti", "read_nifti_header", "write_nifti"]

#: Stored types by NIfTI's code; colours, complex and 128-bit numbers are not CTs.
DTYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
#: Millimetres of one unit, by the low three bits of xyzt_units; 0 (not said) counts as millimetres.
UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 1e-3}
#: Both places of a header may differ by single precision, no more.
SAME_PLACE_MM = 0.1
#: The largest code of a place in the scanner's millimetres or another scan's; beyond it begin the templates.
_ALIGNED = 2
#: Statistics, labels, matrices, vectors: what an intent code says that is not a picture.
_OTHER_INTENTS = {*range(2, 25), *range(1001, 1011)}


@dataclass(frozen=True)
class _Fields:
    """The header's fields that matter, as numbers; `version` is 1 or 2, `pair` tells the two-file variant."""

    version: int
    pair: bool
    order: str
    dim: tuple[int, ...]
    datatype: int
    bitpix: int
    pixdim: tuple[float, ...]
    vox_offset: float
    slope: float
    intercept: float
    units: int
    intent: int
    qform_code: int
    sform_code: int
    quaternion: tuple[float, ...]
    qoffset: tuple[float, ...]
    srow: tuple[float, ...]


# Offset and struct format of each field; see the headers named above.
_OFFSETS: dict[int, dict[str, tuple[int, str]]] = {
    1: {
        "dim": (40, "8h"), "intent": (68, "h"), "datatype": (70, "h"), "bitpix": (72, "h"), "pixdim": (76, "8f"),
        "vox_offset": (108, "f"), "slope": (112, "f"), "intercept": (116, "f"), "units": (123, "B"),
        "qform_code": (252, "h"), "sform_code": (254, "h"), "quaternion": (256, "3f"), "qoffset": (268, "3f"),
        "srow": (280, "12f"),
    },
    2: {
        "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"), "pixdim": (104, "8d"), "vox_offset": (168, "q"),
        "slope": (176, "d"), "intercept": (184, "d"), "qform_code": (344, "i"), "sform_code": (348, "i"),
        "quaternion": (352, "3d"), "qoffset": (376, "3d"), "srow": (400, "12d"), "units": (500, "i"),
        "intent": (504, "i"),
    },
}  # fmt: skip
_TUPLES = {"dim", "pixdim", "quaternion", "qoffset", "srow"}


def read_nifti(source: Entry | str | Path, *, limits: Limits | None = None) -> Volume:
    """The CT in a NIfTI file; its values are taken for HU unless they clearly are not (see `Volume.is_hu`).

    Raises:
        InputError: ``file.*``, ``geometry.singular``, ``input.*``, ``archive.damaged``.
    """
    return read_volume(read_nifti_header(source, limits=limits))


def looks_like_nifti(head: bytes) -> bool:
    """Whether (inflated) bytes begin a NIfTI header, or one of its predecessor ANALYZE 7.5."""
    return len(head) >= 4 and head[:4] in {struct.pack(o + "i", n) for o in "<>" for n in (348, 540)}


def read_nifti_header(source: Entry | str | Path, *, limits: Limits | None = None) -> FileHeader:
    """What a NIfTI header says, checked against the file's size and against itself.

    Raises:
        InputError: ``file.header``, ``file.dimensions``, ``file.unsupported``, ``file.geometry``, ``file.truncated``,
            ``file.surplus``, ``file.data_missing``, ``geometry.singular``, ``input.too_large``, ``input.unreadable``.
    """
    entry = as_entry(source, limits)
    fields = _parse(gunzipped_head(entry, 540), entry)
    if not 1 <= fields.dim[0] <= 7:
        raise InputError("file.header", f"dim[0] is {fields.dim[0]}, not 1 to 7", where=entry.name)
    shape = volume_shape(list(fields.dim[1 : fields.dim[0] + 1]), entry, entry.limits, field="dim[1:]")
    layout, scale_notices = _layout(fields, shape, entry)
    layout.check_size()
    affine, place_notices = _place(fields, shape, entry)
    grid, grid_notices = grid_of(LPS_RAS @ affine, shape, entry, fields=_placing_fields(fields))
    entries = (entry,) if layout.entry is entry else (entry, layout.entry)
    notices = place_notices + grid_notices + scale_notices
    if fields.intent not in _OTHER_INTENTS:
        return FileHeader("nifti", grid, layout, entries, notices)
    label = Notice("file.not_hu", f"intent_code {fields.intent} says that the values are labels, vectors or the like")
    return FileHeader("nifti", grid, layout, entries, (*notices, label), is_hu=False)


def _parse(head: bytes, entry: Entry) -> _Fields:
    version, order = _version(head, entry)
    values: dict[str, Any] = {}
    for name, (offset, form) in _OFFSETS[version].items():
        numbers = struct.unpack_from(order + form, head, offset)
        values[name] = numbers if name in _TUPLES else numbers[0]
    magic = head[344:348] if version == 1 else head[4:12]
    pair = magic[:3] in (b"ni1", b"ni2")
    if not pair and magic[:3] not in (b"n+1", b"n+2"):
        raise InputError(
            "file.unsupported",
            "an ANALYZE 7.5 header: it has no orientation, so left and right are unknown",
            where=entry.name,
        )
    return _Fields(version=version, pair=pair, order=order, **values)


def _version(head: bytes, entry: Entry) -> tuple[int, str]:
    for order in "<>":
        for version, size in ((1, 348), (2, 540)):
            if head[:4] == struct.pack(order + "i", size):
                if len(head) < size:
                    raise InputError("file.truncated", "the file ends within its header", where=entry.name)
                return version, order
    raise InputError("file.header", "not a NIfTI header", where=entry.name)


def _layout(fields: _Fields, shape: tuple[int, int, int], entry: Entry) -> tuple[Layout, tuple[Notice, ...]]:
    code = DTYPES.get(fields.datatype)
    if code is None:
        raise InputError("file.unsupported", f"datatype {fields.datatype} is not one number a voxel", where=entry.name)
    dtype = np.dtype(fields.order + code)
    if fields.bitpix != 8 * dtype.itemsize:
        raise InputError(
            "file.header",
            f"bitpix {fields.bitpix} contradicts datatype {fields.datatype} ({dtype.name})",
            where=entry.name,
        )
    data = _voxel_file(entry) if fields.pair else entry
    packed = data.head(2) == b"\x1f\x8b"
    slope, intercept, notices = _scale(fields, entry)
    offset = _offset(fields, entry)
    return Layout(data, offset, "gzip" if packed else "raw", dtype, shape, slope, intercept), notices


def _offset(fields: _Fields, entry: Entry) -> int:
    least = 0 if fields.pair else {1: 352, 2: 544}[fields.version]
    offset = fields.vox_offset
    if offset == 0:
        return least
    if not np.isfinite(offset) or offset != int(offset) or offset < least:
        raise InputError("file.header", f"vox_offset is {offset:g}, not a whole number from {least}", where=entry.name)
    return int(offset)


def _voxel_file(entry: Entry) -> Entry:
    stem = entry.name.rpartition("/")[2].removesuffix(".gz")
    stem = stem[: stem.rfind(".")] if "." in stem else stem
    for suffix in (".img", ".img.gz", ".IMG"):
        if (found := entry.sibling(stem + suffix)) is not None:
            return found
    raise InputError("file.data_missing", f"{stem}.img is not beside its header", where=entry.name)


def _scale(fields: _Fields, entry: Entry) -> tuple[float, float, tuple[Notice, ...]]:
    """Slope and intercept; a slope of 0, or none, means that the stored values count as they are."""
    slope, intercept = fields.slope, fields.intercept
    if slope == 0 or not np.isfinite(slope):
        if intercept == 0 or not np.isfinite(intercept):
            return 1.0, 0.0, ()
        text = f"scl_slope {slope:g} is void, so scl_inter {intercept:g} was not added"
        return 1.0, 0.0, (Notice("file.scale_ignored", text),)
    if not np.isfinite(intercept):
        raise InputError("file.header", f"scl_inter is {intercept}", where=entry.name)
    return slope, intercept, ()


def _place(fields: _Fields, shape: tuple[int, int, int], entry: Entry) -> tuple[Floats, tuple[Notice, ...]]:
    """4 x 4 from (column, row, slice) to RAS mm, with what is doubtful about it.

    The sform counts before the qform, as nearly all readers have it; without either the orientation is unknown.
    """
    unit = fields.units & 7
    if unit not in UNITS:
        raise InputError("file.header", f"xyzt_units {fields.units} has no unit of length", where=entry.name)
    to_mm = np.diag([UNITS[unit]] * 3 + [1.0])
    notices: tuple[Notice, ...] = ()
    if UNITS[unit] != 1.0:
        notices = (Notice("file.unit_converted", f"xyzt_units says {'metres' if unit == 1 else 'micrometres'}"),)
    if fields.sform_code > 0:
        if not np.isfinite(fields.srow).all():
            text = f"{_placing_fields(fields)}: these must be finite numbers"
            raise InputError("geometry.singular", text, where=entry.name)
        affine = np.vstack([np.reshape(fields.srow, (3, 4)), [0, 0, 0, 1]]).astype(np.float64)
        notices += _doubts_about_sform(fields, affine, shape, UNITS[unit])
    elif fields.qform_code > 0:
        affine = _qform(fields, entry)
    else:
        affine = np.diag([*_positive_steps(fields, entry), 1.0])
        notices += (
            Notice("file.frame_unknown", "neither sform_code nor qform_code is set: only the spacing is known"),
        )
    name, code = ("sform_code", fields.sform_code) if fields.sform_code > 0 else ("qform_code", fields.qform_code)
    if code > _ALIGNED:
        text = f"{name} is {code}: the millimetres are those of a template (Talairach, MNI ...), not of the scanner"
        notices += (Notice("file.frame_unknown", text),)
    return to_mm @ affine, notices


def _placing_fields(fields: _Fields) -> str:
    """The fields that `_place` goes by, in the header's own axes and unit, for a refusal."""
    if fields.sform_code > 0:
        rows = ", ".join(f"srow_{axis} {_words(fields.srow[4 * i : 4 * i + 4])}" for i, axis in enumerate("xyz"))
        return f"the sform (sform_code {fields.sform_code}): {rows}"
    if fields.qform_code > 0:
        quaternion, offset = _words(fields.quaternion), _words(fields.qoffset)
        text = f"quatern_b, c, d {quaternion}, qoffset_x, y, z {offset}, pixdim[0:4] {_words(fields.pixdim[:4])}"
        return f"the qform (qform_code {fields.qform_code}): {text}"
    return f"pixdim[1:4] {_words(fields.pixdim[1:4])}"


def _doubts_about_sform(
    fields: _Fields, affine: Floats, shape: tuple[int, int, int], unit_mm: float
) -> tuple[Notice, ...]:
    notices: tuple[Notice, ...] = ()
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    given = np.abs(fields.pixdim[1:4])
    if not np.allclose(steps, given, rtol=1e-3, atol=0):
        text = f"pixdim says {_numbers(given)}, the sform {_numbers(steps)}; the sform counts"
        notices += (Notice("file.spacing_conflict", text),)
    if fields.qform_code > 0:
        apart = unit_mm * _qform_distance(fields, affine, shape)
        if not apart <= SAME_PLACE_MM:
            text = f"sform and qform lie up to {apart:.3g} mm apart; the sform counts"
            notices += (Notice("file.affines_differ", text),)
    return notices


def _qform_distance(fields: _Fields, affine: Floats, shape: tuple[int, int, int]) -> float:
    """Largest distance, at the grid's corners, between qform and sform; infinite if the qform is void."""
    try:
        other = _qform(fields, None)
    except InputError:
        return float("inf")
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape[::-1]])).reshape(3, -1)
    apart = (affine - other)[:3, :3] @ corners + (affine - other)[:3, 3:]
    return float(np.linalg.norm(apart, axis=0).max())


def _qform(fields: _Fields, entry: Entry | None) -> Floats:
    """4 x 4 of the quaternion, in the header's unit (method 2 of nifti1.h)."""
    b, c, d = (float(value) for value in fields.quaternion)
    rest = 1.0 - (b * b + c * c + d * d)
    name = entry.name if entry else None
    if not rest > -1e-4:
        text = f"quatern_b, c, d {b:g}, {c:g}, {d:g}: this quaternion is not a rotation"
        raise InputError("file.geometry", text, where=name)
    if not np.isfinite(fields.qoffset).all():
        text = f"qoffset_x, y, z {_words(fields.qoffset)}: these must be finite numbers"
        raise InputError("file.geometry", text, where=name)
    a = np.sqrt(max(rest, 0.0))
    a, b, c, d = np.array([a, b, c, d]) / np.sqrt(a * a + b * b + c * c + d * d)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
    steps = _positive_steps(fields, entry)
    steps[2] *= -1.0 if fields.pixdim[0] < 0 else 1.0
    affine = np.eye(4)
    affine[:3, :3] = rotation * steps
    affine[:3, 3] = fields.qoffset
    return affine


def _positive_steps(fields: _Fields, entry: Entry | None) -> list[float]:
    steps = [float(step) for step in fields.pixdim[1:4]]
    if not all(np.isfinite(step) and step > 0 for step in steps):
        raise InputError(
            "file.geometry", f"pixdim[1:4] {_words(steps)}: each must be above 0", where=entry.name if entry else None
        )
    return steps


def _words(values: Any) -> str:
    return " ".join(f"{float(value):g}" for value in values)


def _numbers(values: Any) -> str:
    return " x ".join(f"{float(value):g}" for value in values)
