"""The bytes of a data set from any source, inflated as they are read if the syntax is deflated."""

from __future__ import annotations

import zlib
from typing import BinaryIO, Protocol, cast

from imaging.io.dicom_slices import damaged
from imaging.io.dicom_tags import DEFLATED
from imaging.io.entries import Entry


class ByteStream(Protocol):
    """What is asked of the bytes of a data set."""

    def read(self, count: int, /) -> bytes:
        """Up to `count` bytes."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill the buffer as far as there are bytes."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Skip forwards."""

    def close(self) -> None:
        """Give the file back."""


def open_dataset(entry: Entry, start: int, syntax: str) -> ByteStream:
    """The bytes of a data set from its first element on, inflated as they are read if the syntax is deflated."""
    stream = entry.open()
    stream.seek(start)
    return Inflated(stream, entry.name) if syntax == DEFLATED else cast(ByteStream, stream)


class Inflated:
    """A raw deflate stream, read forwards; never more is inflated than was asked for."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self._stream, self._name = stream, name
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def close(self) -> None:
        self._stream.close()

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes, or fewer if the stream ends there."""
        pieces: list[bytes] = []
        missing = count
        while missing > 0 and not self._inflater.eof:
            raw = self._inflater.unconsumed_tail or self._stream.read(2**16)
            try:
                piece = self._inflater.decompress(raw, missing)
            except zlib.error as error:
                raise damaged(f"the deflated data set is damaged ({error})", self._name) from error
            if not raw and not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Inflate what is left, a little; refuse a stream that is cut short."""
        for _ in range(16):
            if self._inflater.eof or not self.read(2**16):
                break
        if not self._inflater.eof and not self._stream.read(1) and not self._inflater.unconsumed_tail:
            raise damaged("the deflated data set is cut short", self._name)

    def readinto(self, buffer: memoryview) -> int:
        """Fill the buffer as far as the stream goes."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 1) -> int:
        """Skip `offset` bytes forwards."""
        while offset > 0 and (piece := self.read(min(offset, 2**20))):
            offset -= len(piece)
        return offset
