"""What is known of a DICOM image before its pixels are read: a file, and the planes in it, with attributes as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imaging.errors import InputError
from imaging.io.decimals import decimal
from imaging.io.entries import Entry


@dataclass(frozen=True, slots=True, eq=False)
class DicomFile:
    """One DICOM file with an image in it.

    Args:
        entry: where its bytes are.
        transfer_syntax: UID.
        little_endian: byte order of its numbers.
        tags: attribute keyword -> value as text; absent or empty attributes are left out.
        dataset_at: byte at which the data set begins.
        pixels_at: bytes from there to the first byte of the pixel data's value (after inflating, if deflated); None if
            the file has no pixel data.
        pixel_bytes: declared length of the value; None if undefined (encapsulated).
        pixel_keyword: ``PixelData``, ``FloatPixelData`` ...
        has_preamble: whether it begins as PS3.10 asks.
    """

    entry: Entry
    transfer_syntax: str
    little_endian: bool
    tags: Mapping[str, str]
    dataset_at: int
    pixels_at: int | None
    pixel_bytes: int | None
    pixel_keyword: str = "PixelData"
    has_preamble: bool = True

    @property
    def name(self) -> str:
        """The file's name within its source."""
        return self.entry.name


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One image plane: a file, the number of the frame in it (from 0), and the plane's attributes as text."""

    file: DicomFile
    tags: Mapping[str, str]
    frame: int = 0
    frame_number: int | None = None

    @property
    def name(self) -> str:
        """The file, and the frame if it has several."""
        return self.file.name if self.frame_number is None else f"{self.file.name}#{self.frame_number}"

    def get(self, keyword: str) -> str:
        """The attribute as text; empty if it is absent."""
        return self.tags.get(keyword, "")

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """The attribute as `count` finite numbers.

        Raises:
            InputError: ``dicom.missing`` if it is absent, ``dicom.value`` if it is anything else.
        """
        text = self.tags.get(keyword, "")
        if not text:
            raise InputError("dicom.missing", f"{keyword} is missing", where=self.name)
        try:
            values = tuple(decimal(part) for part in text.split("\\"))
        except ValueError:
            values = ()
        if len(values) != count or not all(abs(value) < 1e30 for value in values):
            raise InputError(
                "dicom.value", f"{keyword} is {text!r} where {count} finite number(s) are due", where=self.name
            )
        return values

    def whole(self, keyword: str) -> int:
        """The attribute as a whole number; raises like `numbers`."""
        (value,) = self.numbers(keyword, 1)
        if value != int(value):
            raise InputError("dicom.value", f"{keyword} is {value} where a whole number is due", where=self.name)
        return int(value)


def damaged(message: str, where: str) -> InputError:
    """The refusal of a file that is cut short or malformed."""
    return InputError("dicom.damaged", message, where=where)
