"""Compressed pixel data: frames out of fragments, and one pinned decoder for each transfer syntax.

A codestream's own header is compared with the DICOM header before it is decoded: a hostile one cannot make a decoder
allocate more than the image, and one of another size or depth is refused.

Source: DICOM PS3.5 A.4 (encapsulation) and section 8.2 (which codestreams); ITU-T T.81 B.2.2, T.87 C.2.2, T.800 A.5.1
(their headers).
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError

if TYPE_CHECKING:
    from imaging.io.dicom_pixels import PixelLayout

Family = Literal["jpeg", "jpegls", "j2k", "rle"]


@dataclass(frozen=True)
class Codec:
    """A transfer syntax that is decoded: name, kind of codestream, pydicom's plugin, and the most bits it takes."""

    name: str
    family: Family
    plugin: str
    max_bits: int = 16


CODECS = {
    "1.2.840.10008.1.2.4.50": Codec("JPEG Baseline (process 1)", "jpeg", "gdcm", 8),
    "1.2.840.10008.1.2.4.51": Codec("JPEG Extended (process 2 and 4)", "jpeg", "gdcm", 8),
    "1.2.840.10008.1.2.4.57": Codec("JPEG Lossless (process 14)", "jpeg", "gdcm"),
    "1.2.840.10008.1.2.4.70": Codec("JPEG Lossless (process 14, SV1)", "jpeg", "gdcm"),
    "1.2.840.10008.1.2.4.80": Codec("JPEG-LS Lossless", "jpegls", "pyjpegls"),
    "1.2.840.10008.1.2.4.81": Codec("JPEG-LS Near-lossless", "jpegls", "pyjpegls"),
    "1.2.840.10008.1.2.4.90": Codec("JPEG 2000 Lossless", "j2k", "pylibjpeg"),
    "1.2.840.10008.1.2.4.91": Codec("JPEG 2000", "j2k", "pylibjpeg"),
    "1.2.840.10008.1.2.4.201": Codec("HTJ2K Lossless", "j2k", "pylibjpeg"),
    "1.2.840.10008.1.2.4.202": Codec("HTJ2K Lossless RPCL", "j2k", "pylibjpeg"),
    "1.2.840.10008.1.2.4.203": Codec("HTJ2K", "j2k", "pylibjpeg"),
    "1.2.840.10008.1.2.5": Codec("RLE Lossless", "rle", "pylibjpeg"),
}
_UNREAD = {
    "1.2.840.113619.5.2": "Implicit VR Big Endian (GE private)",
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"


def check_syntax(uid: str, bits_stored: int, where: str) -> Codec:
    """The codec of a transfer syntax.

    Raises:
        InputError: ``dicom.transfer_syntax``, naming it.
    """
    codec = CODECS.get(uid)
    if codec is None:
        from pydicom.uid import UID

        known = _UNREAD.get(uid) or UID(uid).name
        name = f"{known} ({uid})" if known != uid else f"{uid or 'missing'} (unknown, perhaps private)"
        raise InputError("dicom.transfer_syntax", f"TransferSyntaxUID is {name}", where=where)
    if bits_stored > codec.max_bits:
        raise InputError(
            "dicom.transfer_syntax",
            f"TransferSyntaxUID is {codec.name} ({uid}) with {bits_stored} bits; up to {codec.max_bits} are decoded",
            where=where,
        )
    return codec


def frames_of(value: bytes, count: int, where: str) -> list[bytes]:
    """The codestream of each frame, from an encapsulated pixel data value.

    Args:
        value: from the first item (the basic offset table) to the sequence delimiter or beyond.
        count: number of frames.

    Raises:
        InputError: ``dicom.damaged`` if it is cut short, ``dicom.pixel_format`` if fragments cannot be told to frames.
    """
    places, fragments = _fragments(value, where)
    table, places, fragments = fragments[0], places[1:], fragments[1:]
    if count == 1:
        return [b"".join(fragments)]
    if len(fragments) == count:
        return fragments
    offsets = struct.unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4])
    starts = [place - places[0] for place in places] if places else []
    if len(offsets) != count or not set(offsets) <= set(starts) or list(offsets) != sorted(set(offsets)):
        raise InputError(
            "dicom.pixel_format",
            f"{len(fragments)} fragments and {len(offsets)} offsets cannot be told to {count} frames",
            where=where,
        )
    first = [starts.index(offset) for offset in offsets] + [len(fragments)]
    return [b"".join(fragments[first[i] : first[i + 1]]) for i in range(count)]


def _fragments(value: bytes, where: str) -> tuple[list[int], list[bytes]]:
    """Place and bytes of each item up to the sequence delimiter."""
    places: list[int] = []
    fragments: list[bytes] = []
    at = 0
    while value[at : at + 4] == _ITEM:
        length = int.from_bytes(value[at + 4 : at + 8], "little")
        if at + 8 + length > len(value):
            raise InputError("dicom.damaged", f"fragment {len(fragments)} of PixelData is cut short", where=where)
        places.append(at)
        fragments.append(value[at + 8 : at + 8 + length])
        at += 8 + length
    if value[at : at + 4] != _END or len(value) < at + 8 or len(fragments) < 2:
        raise InputError(
            "dicom.damaged", f"PixelData is cut short: no end after {len(fragments)} fragment(s)", where=where
        )
    return places, fragments


def decode(codestream: bytes, uid: str, form: PixelLayout, where: str) -> npt.NDArray[np.unsignedinteger]:
    """The stored words of one frame, (rows, columns), unsigned, in the machine's byte order.

    Raises:
        InputError: ``dicom.transfer_syntax``, ``dicom.damaged``, ``dicom.pixel_format``.
    """
    codec = check_syntax(uid, form.bits_stored, where)
    _check_codestream(codestream, codec, form, where)
    from pydicom.pixels.decoders.base import get_decoder

    options: dict[str, Any] = {
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        "pixel_representation": int(form.signed),
        "pixel_keyword": "PixelData",
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoded, _ = get_decoder(uid).as_array(
                _encapsulate(codestream), raw=True, index=0, decoding_plugin=codec.plugin, validate=False, **options
            )
    except BaseException as error:  # decoders raise RuntimeError, ValueError, and a Rust panic that is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise InputError(
            "dicom.damaged", f"the {codec.name} codestream cannot be decoded ({error})", where=where
        ) from error
    return _as_words(decoded, form, where)


def _encapsulate(codestream: bytes) -> bytes:
    padded = codestream + b"\0" * (len(codestream) % 2)
    return b"".join((_ITEM, bytes(4), _ITEM, struct.pack("<L", len(padded)), padded, _END, bytes(4)))


def _as_words(decoded: npt.NDArray[Any], form: PixelLayout, where: str) -> npt.NDArray[np.unsignedinteger]:
    if decoded.shape != (form.rows, form.columns) or decoded.dtype.kind not in "iu":
        raise InputError("dicom.pixel_format", f"decoded to {decoded.dtype} {decoded.shape}", where=where)
    word = np.dtype(f"i{form.bits_allocated // 8}" if form.signed else f"u{form.bits_allocated // 8}")
    words = np.ascontiguousarray(decoded, dtype=word)
    return words.view(np.dtype(f"u{form.bits_allocated // 8}"))


def _check_codestream(data: bytes, codec: Codec, form: PixelLayout, where: str) -> None:
    """Compare the codestream's own header with the DICOM header."""
    if codec.family == "rle":
        return
    found = _jpeg2000_size(data) if codec.family == "j2k" else _jpeg_size(data)
    if found is None:
        raise InputError("dicom.damaged", f"the {codec.name} codestream has no header that can be read", where=where)
    rows, columns, samples, bits = found
    if (rows, columns, samples) != (form.rows, form.columns, 1) or bits > form.bits_allocated:
        raise InputError(
            "dicom.pixel_format",
            f"the {codec.name} codestream is {rows} x {columns} x {samples} of {bits} bits, "
            f"the header says {form.rows} x {form.columns} x 1 of {form.bits_stored}",
            where=where,
        )
    if b"\xff\xd9" not in data[-16:]:
        raise InputError("dicom.damaged", f"the {codec.name} codestream has no end marker", where=where)


def _jpeg_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, samples and bits of a JPEG or JPEG-LS codestream, from its frame header."""
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
            return rows, columns, samples, bits
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _jpeg2000_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Rows, columns, samples and bits of a JPEG 2000 codestream (or a JP2 file around one), from its SIZ segment."""
    at = 0 if data[:4] == b"\xff\x4f\xff\x51" else data[:4096].find(b"\xff\x4f\xff\x51")
    if at < 0 or len(data) < at + 45:
        return None
    width, height, left, top = struct.unpack_from(">LLLL", data, at + 8)
    samples = int.from_bytes(data[at + 40 : at + 42], "big")
    return height - top, width - left, samples, (data[at + 42] & 0x7F) + 1
