"""Streams that inflate no further than they are asked to, and verify every checksum on the way."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO

_GZIP = b"\x1f\x8b"
_PIECE_BYTES = 2**16


class InflatedStream(io.RawIOBase):
    """The inflated bytes of a zlib or gzip stream, forwards only.

    gzip files may have several members and zeros after them; after a zlib stream there may be zeros or a line end.
    Python's own gzip reader takes a gzip header byte by byte, which a hostile one can make last for minutes.

    Raises while reading:
        EOFError: if the stream ends early.
        zlib.error: if it is damaged, fails its checksum, or something follows it.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._packed = b""
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._is_gzip = False
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while len(buffer) and (not self._inflater.eof or self._next_member()):
            packed = self._more()
            piece = self._inflater.decompress(packed, len(buffer))
            self._packed = self._inflater.unused_data if self._inflater.eof else self._inflater.unconsumed_tail
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)
            if not packed:
                raise EOFError("the packed bytes end early")
        return 0

    def _more(self) -> bytes:
        packed = self._packed or self._stream.read(_PIECE_BYTES)
        if not self._started:
            self._started, self._is_gzip = True, packed.startswith(_GZIP)
        return packed

    def _next_member(self) -> bool:
        """Whether another gzip member follows the one that has ended; anything else but padding is damage."""
        rest = self._packed
        while not rest.lstrip(b"\0\r\n"):
            rest = self._stream.read(_PIECE_BYTES)
            if not rest:
                return False
        rest = rest.lstrip(b"\0\r\n")
        if len(rest) < 2:
            rest += self._stream.read(_PIECE_BYTES)
        if not (self._is_gzip and rest.startswith(_GZIP)):
            raise zlib.error("something follows the packed bytes")
        self._packed, self._inflater = rest, zlib.decompressobj(zlib.MAX_WBITS | 16)
        return True
