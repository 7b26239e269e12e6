"""One file that holds everything a run trains on: named arrays and a head, as safetensors, mapped and not read.

Source: https://huggingface.co/docs/safetensors (eight bytes of length, a JSON head, the arrays one after the other).
Written piece by piece, so that cases larger than the memory can be packed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError
from imaging.io.atomic import atomic_path

#: Layout of the head that this version reads and writes.
PACK_VERSION = 1
PACK_SUFFIX = ".safetensors"
#: Rows that are written or hashed at a time.
ROWS = 4096
_TYPES: Final = {"uint8": "U8", "float32": "F32"}
_UNKNOWN = "0" * 64

Packed = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
OnRows = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Pack:
    """What a packed file holds.

    Args:
        head: as it was given to `write_pack`.
        arrays: by name, uint8 or float32; mapped.
        sha256: of the bytes of each array, verified.
    """

    head: dict[str, Any]
    arrays: Mapping[str, Packed]
    sha256: Mapping[str, str]


def write_pack(
    path: Path, arrays: Mapping[str, Packed], head: Mapping[str, Any], *, on_rows: OnRows | None = None
) -> dict[str, str]:
    """Write a packed file; it appears whole. The SHA-256 of each array's bytes, which the file holds too.

    Args:
        path: of the file.
        arrays: uint8 or float32, or what indexes like such an array.
        head: plain values.
        on_rows: called as (rows done, rows); may raise to cancel.

    Raises:
        OutputError: what writing a file raises.
    """
    order = sorted(arrays, key=lambda name: (-np.dtype(arrays[name].dtype).itemsize, name))  # numbers stay aligned
    total, done = sum(len(a) for a in arrays.values()), 0
    digests = dict.fromkeys(order, _UNKNOWN)
    with atomic_path(path) as unfinished, unfinished.open("r+b") as stream:
        stream.write(_head_bytes(arrays, order, head, digests))
        for name in order:
            digest = hashlib.sha256()
            for rows in _pieces(arrays[name]):
                stream.write(rows.data)
                digest.update(rows.data)
                done += len(rows)
                if on_rows is not None:
                    on_rows(done, total)
            digests[name] = digest.hexdigest()
        stream.seek(0)
        stream.write(_head_bytes(arrays, order, head, digests))
    return digests


def read_pack(path: Path, *, verify: bool = True) -> Pack:
    """Map a file that `write_pack` wrote.

    Args:
        path: of the file.
        verify: read it once and compare the hashes.

    Raises:
        InputError: ``cases.pack`` if it is damaged, changed or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stored:
            notes = stored.metadata() or {}
            head, digests = json.loads(notes["head"]), json.loads(notes["sha256"])
            version = int(notes["pack_version"])
            arrays = {name: cast(Packed, stored.get_tensor(name).numpy()) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError("cases.pack", f"it cannot be read: {error}", where=path) from error
    if version != PACK_VERSION or set(digests) != set(arrays):
        raise InputError("cases.pack", f"its layout is {version}, not {PACK_VERSION}", where=path)
    for name in sorted(arrays) if verify else ():
        if _digest(arrays[name]) != digests[name]:
            raise InputError("cases.pack", f"the bytes of {name!r} are not those that were packed", where=path)
    return Pack(head, arrays, digests)


def _head_bytes(
    arrays: Mapping[str, Packed], order: list[str], head: Mapping[str, Any], digests: Mapping[str, str]
) -> bytes:
    notes = {"pack_version": str(PACK_VERSION), "head": json.dumps(head), "sha256": json.dumps(digests)}
    table: dict[str, Any] = {"__metadata__": notes}
    start = 0
    for name in order:
        array = arrays[name]
        end = start + int(np.prod(array.shape, dtype=np.int64)) * np.dtype(array.dtype).itemsize
        table[name] = {
            "dtype": _TYPES[np.dtype(array.dtype).name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        start = end
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _pieces(array: Packed) -> Iterator[Packed]:
    for start in range(0, len(array), ROWS):
        yield cast(Packed, np.ascontiguousarray(array[start : start + ROWS]))


def _digest(array: Packed) -> str:
    digest = hashlib.sha256()
    for rows in _pieces(array):
        digest.update(rows.data)
    return digest.hexdigest()
