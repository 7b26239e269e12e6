"""The voxels of a file, read in pieces: exactly as many bytes as the header declares, never one more or less.

Nothing is inflated beyond the declared size, checksums are verified to the end, and the only large piece of memory is
the float32 volume itself.
"""

from __future__ import annotations

import bz2
import hashlib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.io.entries import Entry, reason, unreadable
from imaging.io.inflating import InflatedStream

Encoding = Literal["raw", "gzip", "zlib", "bzip2"]

#: What takes the place of a voxel without a number.
AIR_HU = -1024.0
#: Deflate cannot shrink data further than this.
DEFLATE_RATIO = 1032
_PIECE_BYTES = 2**21


@dataclass(frozen=True, eq=False)
class Layout:
    """How the voxels lie in a file.

    Args:
        entry: the file that holds them.
        offset: bytes before them: before inflating for ``zlib``, after it for ``gzip`` and ``bzip2``, as in NIfTI and
            NRRD; -1 if they end with the end of the file (raw only).
        encoding: how they are packed.
        dtype: of one stored value, with its byte order.
        shape: (slice, row, column); the column runs fastest.
        slope, intercept: HU = slope * stored + intercept.
        skip: bytes before the packed stream (``gzip`` and ``bzip2``).
    """

    entry: Entry
    offset: int
    encoding: Encoding
    dtype: np.dtype[Any]
    shape: tuple[int, int, int]
    slope: float = 1.0
    intercept: float = 0.0
    skip: int = 0

    @property
    def count(self) -> int:
        """Voxels, as an exact Python integer."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def bytes(self) -> int:
        """Bytes of all voxels, inflated."""
        return self.count * self.dtype.itemsize

    def check_size(self) -> None:
        """Compare what the header declares with the file's size, before anything is read.

        Raises:
            InputError: ``file.truncated``, ``file.surplus``.
        """
        size, needed = self.entry.size, self.bytes + max(self.offset, 0)
        if self.encoding == "raw":
            if size < needed:
                raise _truncated(self.entry, f"{needed:,} bytes are declared, the file has {size:,}")
            if size > needed and self.offset >= 0:
                raise _surplus(self.entry, f"{needed:,} bytes are declared, the file has {size:,}")
        elif self.encoding != "bzip2" and self.bytes > DEFLATE_RATIO * max(size, 1):
            raise _truncated(self.entry, f"{size:,} packed bytes cannot hold the {self.bytes:,} that are declared")


def read_voxels(layout: Layout) -> tuple[npt.NDArray[np.float32], tuple[Notice, ...]]:
    """HU of the whole volume, and a notice if some voxels held no number.

    Raises:
        InputError: ``file.truncated``, ``file.surplus``, ``file.damaged``, ``input.unreadable``, ``archive.damaged``.
    """
    layout.check_size()
    array = np.empty(layout.shape, dtype=np.float32)
    flat = array.reshape(-1)
    step = max(1, _PIECE_BYTES // layout.dtype.itemsize)
    buffer = memoryview(bytearray(min(step, layout.count) * layout.dtype.itemsize))
    gaps = 0
    with _unpacking(layout.entry), _open_voxels(layout) as stream:
        for start in range(0, layout.count, step):
            stored = buffer[: min(step, layout.count - start) * layout.dtype.itemsize]
            _fill(stream, stored, layout.entry)
            target = flat[start : start + step]
            gaps += _convert(np.frombuffer(stored, dtype=layout.dtype), layout, target)
        if stream.read(1):
            raise _surplus(layout.entry, f"it goes on after the {layout.bytes:,} bytes that are declared")
    if not gaps:
        return array, ()
    return array, (Notice("file.not_finite", f"{gaps:,} of {layout.count:,} voxels held no number"),)


def _convert(stored: npt.NDArray[Any], layout: Layout, target: npt.NDArray[np.float32]) -> int:
    """Write the HU of some stored values into `target`; returns how many were not finite and became air."""
    with np.errstate(over="ignore", invalid="ignore"):
        if layout.slope == 1.0 and layout.intercept == 0.0:
            target[...] = stored
            if stored.dtype.kind != "f":
                return 0
        else:
            target[...] = stored.astype(np.float64) * layout.slope + layout.intercept
    gaps = ~np.isfinite(target)
    count = int(np.count_nonzero(gaps))
    if count:
        target[gaps] = AIR_HU
    return count


@contextmanager
def _open_voxels(layout: Layout) -> Iterator[IO[bytes]]:
    """The inflated stream, standing at the first voxel."""
    with layout.entry.open() as stream:
        if layout.encoding == "raw":
            stream.seek(layout.entry.size - layout.bytes if layout.offset < 0 else layout.offset)
            yield stream
            return
        if layout.encoding == "zlib":
            stream.seek(layout.offset)
            yield inflated(stream)
            return
        stream.seek(layout.skip)
        unpacked: Any = bz2.BZ2File(stream) if layout.encoding == "bzip2" else inflated(stream)
        _skip(unpacked, layout.offset, layout.entry)
        yield unpacked


def _skip(stream: IO[bytes], count: int, entry: Entry) -> None:
    while count > 0:
        piece = stream.read(min(count, _PIECE_BYTES))
        if not piece:
            raise _truncated(entry, "it ends before the first voxel")
        count -= len(piece)


def _fill(stream: IO[bytes], buffer: memoryview, entry: Entry) -> None:
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done:])  # type: ignore[attr-defined]
        if not count:
            raise _truncated(entry, "the voxels end early")
        done += count


@contextmanager
def _unpacking(entry: Entry) -> Iterator[None]:
    """Turn what can go wrong while inflating into refusals."""
    try:
        yield
    except EOFError as error:
        raise _truncated(entry, reason(error)) from error
    except zlib.error as error:
        raise InputError("file.damaged", reason(error), where=entry.name) from error
    except OSError as error:
        if error.errno is None:  # bz2 has no error class of its own
            raise InputError("file.damaged", reason(error), where=entry.name) from error
        raise unreadable(error, entry.name) from error


def gunzipped_head(entry: Entry, count: int) -> bytes:
    """The first bytes of a file, inflated if it is a gzip file.

    Raises:
        InputError: ``file.truncated``, ``file.damaged``, ``input.unreadable``.
    """
    with _unpacking(entry), entry.open() as stream:
        head = stream.read(count)
        if not head.startswith(b"\x1f\x8b"):
            return head
        stream.seek(0)
        return inflated(stream).read(count)


def inflated(stream: BinaryIO) -> BinaryIO:
    """A buffered stream of what `stream`, a zlib or gzip stream, holds inflated."""
    return io.BufferedReader(InflatedStream(stream), 2**16)


def content_sha256(entries: Sequence[Entry]) -> str:
    """SHA-256, in hex, of the files' bytes one after another."""
    digest = hashlib.sha256()
    for entry in entries:
        with _unpacking(entry), entry.open() as stream:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
    return digest.hexdigest()


def _truncated(entry: Entry, text: str) -> InputError:
    return InputError("file.truncated", text, where=entry.name)


def _surplus(entry: Entry, text: str) -> InputError:
    return InputError("file.surplus", text, where=entry.name)
