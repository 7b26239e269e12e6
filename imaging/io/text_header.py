"""What the text headers of MetaImage and NRRD share: numbers, units and the file with the voxels."""

from __future__ import annotations

import math
import re

import numpy as np

from imaging.errors import InputError
from imaging.geometry.grid import Floats
from imaging.io.decimals import decimal
from imaging.io.entries import Entry
from imaging.io.files import MILLIMETRES

#: A text header ends within this many bytes, or it is not one.
HEADER_BYTES = 2**20
#: How far the length of a direction may be from 1.
UNIT_TOLERANCE = 1e-3


def bad_header(entry: Entry, text: str) -> InputError:
    """The refusal for a header that is broken or contradicts itself."""
    return InputError("file.header", text, where=entry.name)


def numbers(text: str, count: int, field: str, entry: Entry) -> Floats:
    """`count` finite numbers separated by white space.

    Raises:
        InputError: ``file.header``.
    """
    try:
        values = [decimal(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise bad_header(entry, f"{field}: {text[:80]!r} is not {count} numbers")
    return np.array(values, dtype=np.float64)


def whole_numbers(text: str, field: str, entry: Entry) -> list[int]:
    """Whole numbers separated by white space, at most 16 of them.

    Raises:
        InputError: ``file.header``.
    """
    words = text.split()
    # Twelve digits hold any size that can be read.
    if not 1 <= len(words) <= 16 or not all(re.fullmatch("[+-]?[0-9]{1,12}", word) for word in words):
        raise bad_header(entry, f"{field}: {text[:80]!r} is not whole numbers")
    return [int(word) for word in words]


def millimetres(unit: str, field: str, entry: Entry) -> float:
    """Millimetres of one unit of length.

    Raises:
        InputError: ``file.header`` for a name that is not a length.
    """
    known = MILLIMETRES.get(unit.strip().casefold())
    if known is None:
        raise bad_header(entry, f"{field}: {unit[:40]!r} is not a unit of length that is known")
    return known


def unit_columns(directions: Floats, field: str, entry: Entry) -> Floats:
    """Directions (columns) of length 1.

    Raises:
        InputError: ``file.geometry`` if one is longer or shorter: what it would do to the spacing is not defined.
    """
    lengths = np.linalg.norm(directions, axis=0)
    if np.abs(lengths - 1.0).max() > UNIT_TOLERANCE:
        raise InputError("file.geometry", f"{field}: directions of length {lengths.tolist()}, not 1", where=entry.name)
    return directions


def data_file(name: str, entry: Entry) -> Entry:
    """The file with the voxels, beside the header or in a folder below it.

    Raises:
        InputError: ``file.unsupported`` for a list of files, ``file.data_missing``.
    """
    if name.split(" ")[0].upper() == "LIST" or "%" in name:
        raise InputError("file.unsupported", f"the voxels lie in several files ({name[:80]!r})", where=entry.name)
    found = entry.sibling(name)
    if found is None:
        raise InputError("file.data_missing", f"{name[:200]!r} is not beside its header", where=entry.name)
    return found
