"""What a reader calls an image of a series: its instance number, or its frame's in a multi-frame one. Never a guess.

A number that two images of the series bear, or an image that bears two, sends the reader to a wrong image; there it
has none.

Source: DICOM PS3.3 C.7.6.1 (Instance Number need not be there, nor be unique), PS3.5 6.2 (integer strings).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from imaging.io.dicom_slices import Slice

_WHOLE = re.compile(r"[+-]?\d{1,10}")
_LARGEST = 2**31


def image_numbers(slices: Iterable[Slice]) -> Mapping[Slice, int]:
    """Image -> its number, for each whose number is its own.

    Args:
        slices: all images of one series UID, those that make no volume included. The same instance twice is one image.
    """
    numbered = [(one, number) for one in slices if (number := _number(one)) is not None]
    images: dict[tuple[bool, int], set[str]] = {}
    numbers: dict[tuple[str, int], set[int]] = {}
    for one, number in numbered:
        images.setdefault(_called(one, number), set()).add(_instance(one))
        numbers.setdefault((_instance(one), one.frame), set()).add(number)
    return {
        one: number
        for one, number in numbered
        if len(images[_called(one, number)]) == 1 and len(numbers[_instance(one), one.frame]) == 1
    }


def _number(one: Slice) -> int | None:
    if one.frame_number is not None:
        return one.frame_number
    text = one.get("InstanceNumber")
    return int(text) if _WHOLE.fullmatch(text) and -_LARGEST <= int(text) < _LARGEST else None


def _called(one: Slice, number: int) -> tuple[bool, int]:
    """A frame's number is no image's."""
    return one.frame_number is not None, number


def _instance(one: Slice) -> str:
    return one.get("SOPInstanceUID") or one.name
