"""Stored values become Hounsfield units, slice by slice, straight into one float32 volume.

Source: DICOM PS3.3 C.7.6.3 (image pixel), C.7.5.1.1.2 (padding), C.11.1.1.2 (modality LUT); PS3.5 8.1.1 (unused bits).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.io.dicom_slices import Slice

AIR_HU = -1024.0
#: A padding value that means a HU within this range cannot be told from tissue.
_TISSUE_HU = (-950.0, 3071.0)
#: Spellings of Hounsfield units in RescaleType, beside none at all ("Houndsfield Unit" is what some scanners write).
_HU_TYPES = ("", "HU", "HOUNSFIELD", "HOUNDSFIELD")

Stored = npt.NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How an image's values are stored: its size, and which bits of each word are the value."""

    rows: int
    columns: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame, native."""
        return self.rows * self.columns * self.bits_allocated // 8


@dataclass(frozen=True, slots=True)
class Scale:
    """``hu = stored * slope + intercept``; `doubt` says why the result may not be HU."""

    slope: float
    intercept: float
    doubt: str | None = None


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """What happened to one slice: hash of its stored values, voxels repaired, padding replaced and padding kept.

    `lowest_hu` and `highest_hu` are those of the result.
    """

    sha256: bytes
    repaired: int
    padded: int
    kept: int
    lowest_hu: float
    highest_hu: float


def layout(one: Slice) -> PixelLayout:
    """The layout of a slice's pixels.

    Raises:
        InputError: ``dicom.missing``, ``dicom.value``, or ``dicom.pixel_format`` if it is none that is read.
    """
    if one.file.pixel_keyword != "PixelData":
        raise InputError("dicom.pixel_format", f"the values are in {one.file.pixel_keyword}", where=one.name)
    if one.get("SamplesPerPixel") not in ("", "1"):
        raise InputError("dicom.pixel_format", f"SamplesPerPixel is {one.get('SamplesPerPixel')}", where=one.name)
    allocated, stored = one.whole("BitsAllocated"), one.whole("BitsStored")
    high = one.whole("HighBit") if one.get("HighBit") else stored - 1
    signed = one.whole("PixelRepresentation")
    if allocated not in (8, 16, 32) or not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(
            "dicom.pixel_format", f"BitsAllocated {allocated}, BitsStored {stored}, HighBit {high}", where=one.name
        )
    if signed not in (0, 1):
        raise InputError("dicom.value", f"PixelRepresentation is {signed}; it must be 0 or 1", where=one.name)
    rows, columns = one.whole("Rows"), one.whole("Columns")
    if rows < 1 or columns < 1:
        raise InputError("dicom.value", f"Rows x Columns is {rows} x {columns}", where=one.name)
    return PixelLayout(rows, columns, allocated, stored, high, bool(signed))


def scale(one: Slice) -> Scale:
    """Slope and intercept of a slice, and whether they lead to Hounsfield units.

    Raises:
        InputError: ``dicom.rescale`` or ``dicom.value``.
    """
    if one.get("ModalityLUTSequence"):
        raise InputError("dicom.rescale", "a ModalityLUTSequence takes the place of RescaleSlope", where=one.name)
    slope_text, intercept_text = one.get("RescaleSlope"), one.get("RescaleIntercept")
    slope = one.numbers("RescaleSlope", 1)[0] if slope_text else 1.0
    intercept = one.numbers("RescaleIntercept", 1)[0] if intercept_text else 0.0
    if slope == 0:
        raise InputError("dicom.rescale", "RescaleSlope is 0: every pixel would have one value", where=one.name)
    missing = " and ".join(
        name for name, text in (("RescaleSlope", slope_text), ("RescaleIntercept", intercept_text)) if not text
    )
    if missing:
        return Scale(slope, intercept, f"{missing} missing")
    kind = one.get("RescaleType").upper()
    if kind in _HU_TYPES or kind.startswith(("HOUNSF", "HOUNDSF")):
        return Scale(slope, intercept)
    return Scale(slope, intercept, f"RescaleType is {one.get('RescaleType')!r}")


def check_scales(slices: Sequence[Slice]) -> Notice | None:
    """The doubt that the stack's values are HU, or None; some slices in HU and some not are refused.

    Raises:
        InputError: ``dicom.rescale``, ``dicom.value``.
    """
    doubts = [scale(one).doubt for one in slices]
    doubtful = [index for index, doubt in enumerate(doubts) if doubt]
    if not doubtful:
        return None
    first = slices[doubtful[0]]
    if len(set(doubts)) > 1:
        raise InputError(
            "dicom.rescale", f"{doubts[doubtful[0]]} in {len(doubtful)} of {len(slices)} images only", where=first.name
        )
    return Notice("pixels.not_hu", f"{doubts[doubtful[0]]}; the values are as stored or rescaled by what there is")


def to_hu(stored: Stored, one: Slice, form: PixelLayout, out: npt.NDArray[np.float32]) -> SliceFacts:
    """Write the HU of one slice into `out`.

    Args:
        stored: (rows, columns) words as they are in the file, unsigned, in the machine's byte order.
        one: the slice, for its rescale and padding attributes.
        form: its layout.
        out: (rows, columns), overwritten.
    """
    rescale = scale(one)
    values, repaired = _repair_bits(stored, form)
    if form.bits_allocated > 16:  # float32 holds 24 bits: the offset must go before the value is shortened
        np.copyto(out, values * rescale.slope + rescale.intercept, casting="unsafe")
    else:
        np.copyto(out, values, casting="unsafe")
        if rescale.slope != 1:
            out *= np.float32(rescale.slope)
        if rescale.intercept:
            out += np.float32(rescale.intercept)
    padding, keep = _padding(stored, values, one, form, rescale)
    padded = 0 if padding is None else int(np.count_nonzero(padding & (out != AIR_HU)))
    if padding is not None and padded and not keep:
        out[padding] = AIR_HU
    wrong = 0
    if repaired is not None:
        wrong = int(np.count_nonzero(repaired if padding is None else repaired & ~padding))
    digest = hashlib.sha256(np.ascontiguousarray(stored).data).digest()
    kept = padded if keep else 0
    return SliceFacts(digest, wrong, padded - kept, kept, float(out.min()), float(out.max()))


def _repair_bits(stored: Stored, form: PixelLayout) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.bool_] | None]:
    """The values that the stored bits hold, and where other bits of the word did not agree with them."""
    signed = np.dtype(f"i{form.bits_allocated // 8}")
    plain = stored.view(signed) if form.signed else stored
    above = form.bits_allocated - 1 - form.high_bit
    below = form.high_bit + 1 - form.bits_stored
    if not above and not below:
        return plain, None
    values = (plain << above) >> (above + below)
    wrong = values != plain
    return (values, wrong) if wrong.any() else (values, None)


def _padding(
    stored: Stored, values: npt.NDArray[np.integer], one: Slice, form: PixelLayout, rescale: Scale
) -> tuple[npt.NDArray[np.bool_] | None, bool]:
    """Where the padding is, and whether to keep its values because they could be tissue.

    PixelPaddingValue should have the pixels' own signedness, and often has not: its bits are compared, not its number.
    """
    text = one.get("PixelPaddingValue")
    if not text:
        return None, False
    bits = _bits(text, form)
    limit = _bits(one.get("PixelPaddingRangeLimit") or text, form)
    if bits is None or limit is None:
        return None, False
    value, end = sorted((_value(bits, form), _value(limit, form)))
    fits = _stored_value(bits, form) == _value(bits, form) and _stored_value(limit, form) == _value(limit, form)
    if value != end:
        found = (values >= value) & (values <= end) if fits else None
        return found, _reaches_tissue(value, end, rescale)
    found = stored == stored.dtype.type(bits)
    if fits:
        found |= values == value
    return found, fits and _reaches_tissue(value, value, rescale)


def _reaches_tissue(value: int, end: int, rescale: Scale) -> bool:
    """Whether stored values from `value` to `end` mean HU that tissue has."""
    low, high = sorted(number * rescale.slope + rescale.intercept for number in (value, end))
    return rescale.doubt is None and low <= _TISSUE_HU[1] and high > _TISSUE_HU[0]


def _bits(text: str, form: PixelLayout) -> int | None:
    """A padding value as the word it would be stored as, or None if it cannot be."""
    try:
        number = int(float(text))
    except ValueError:
        return None
    if form.bits_allocated == 8 and number >= 0xFF80:
        return number & 0xFF
    if form.bits_allocated == 32 and form.signed and number >= 0x8000:
        return (number - 0x10000) & 0xFFFFFFFF
    words = 1 << form.bits_allocated
    return number % words if -words // 2 <= number < words else None


def _value(bits: int, form: PixelLayout) -> int:
    """A whole word as a number."""
    return bits - (1 << form.bits_allocated) if form.signed and bits >> (form.bits_allocated - 1) else bits


def _stored_value(bits: int, form: PixelLayout) -> int:
    """The number that only the stored bits of a word hold."""
    value = (bits >> (form.high_bit + 1 - form.bits_stored)) & ((1 << form.bits_stored) - 1)
    return value - (1 << form.bits_stored) if form.signed and value >> (form.bits_stored - 1) else value
