"""Who the patient is, for the corner of the picture when the reader asks for it. No Qt; never logged, never written."""

from __future__ import annotations

from typing import Final

from imaging.geometry import Volume

#: DICOM attribute -> what stands before its value.
SHOWN: Final = {
    "PatientName": "",
    "PatientID": "ID ",
    "PatientBirthDate": "born ",
    "PatientSex": "sex ",
    "StudyDate": "study of ",
    "AccessionNumber": "accession ",
}


def identifiers_of(volume: Volume) -> str:
    """One line an identifier that the header has; a sentence where it has none."""
    header = volume.origin.header if volume.origin else None
    if header is None:
        return "this file names no patient"
    values = {keyword: str(header.get(keyword, "") or "").strip() for keyword in SHOWN}
    lines = [f"{before}{_readable(keyword, values[keyword])}" for keyword, before in SHOWN.items() if values[keyword]]
    return "\n".join(lines) or "the header names no patient"


def _readable(keyword: str, value: str) -> str:
    if keyword == "PatientName":
        return " ".join(part for part in value.split("=")[0].split("^") if part)
    return readable_date(value) if keyword.endswith("Date") else value


def on_one_line(text: str) -> str:
    """Text from outside as it can be part of a name: no line ends, no control characters.

    >>> on_one_line("  ground-glass\\n nodule")
    'ground-glass nodule'
    """
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def shortened(text: str, *, most: int) -> str:
    """A text of at most so many characters, the last of them dots where it was longer.

    >>> shortened("ground-glass nodule", most=13)
    'ground-glass…'
    """
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def readable_date(value: str) -> str:
    """A DICOM date as a person writes it; what is none stays as it is.

    >>> readable_date("20260102")
    '2026-01-02'
    """
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == 8 else value
