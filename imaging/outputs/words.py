"""What pictures and pages say, in one place, so that they say the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from imaging.findings import Finding, OperatingPoint, Report

NOT_FOR_DIAGNOSIS: Final = "AI, research only, not for diagnosis"
#: Never shorter: a scan without a mark is not a healthy scan.
NO_MARK: Final = "No mark above the threshold. This does not mean that there is no nodule."


def date(text: str | None) -> str:
    """A DICOM date as YYYY-MM-DD; whatever else it is, as it is."""
    if not text:
        return "unknown"
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def moment(text: str) -> str:
    """An ISO 8601 time as a reader likes it; whatever else it is, as it is."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = " UTC" if when.utcoffset() == timedelta(0) else ""
    return f"{when:%Y-%m-%d %H:%M}{zone}"


def number(value: float | None, *, digits: int = 1, unit: str = "") -> str:
    """A rounded number with a proper minus sign, or a dash where it was not measured."""
    if value is None:
        return "–"
    text = f"{value:.{digits}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.replace("-", "−") + (f" {unit}" if unit else "")


def site(finding: Finding) -> str:
    """Where it is: side and zone in words."""
    if finding.side is None:
        return "site unknown"
    return f"{finding.side} lung" + (f", {finding.zone} zone" if finding.zone else "")


def image(finding: Finding) -> str:
    """What a workstation calls the image that the centre lies in; empty where that is not sure."""
    ct_slice = finding.ct_slice
    if ct_slice is None:
        return ""
    if ct_slice.frame_number is not None:
        return f"frame {ct_slice.frame_number}"
    return "" if ct_slice.instance_number is None else f"image {ct_slice.instance_number}"


def slice_position(finding: Finding) -> str:
    """Which of the axial slices, counted from the feet; empty where that is not sure."""
    ct_slice = finding.ct_slice
    return "" if ct_slice is None or ct_slice.number is None else f"slice {ct_slice.number} of {ct_slice.of}"


def image_and_slice(finding: Finding) -> str:
    """Both, and where slices are counted from: image numbers often run the other way."""
    position = slice_position(finding)
    return ", ".join(part for part in (image(finding), position and f"{position} from the feet") if part)


def score(value: float) -> str:
    """A score with three digits; one that is not 1 never reads as 1.

    >>> score(0.9132), score(0.9996), score(1.0)
    ('0.913', '>0.999', '1.000')
    """
    return ">0.999" if 0.9995 <= value < 1.0 else f"{value:.3f}"


def finding_line(finding: Finding) -> str:
    """Score, size, site, image, slice and place of a finding in a line."""
    size = "size not measured" if finding.diameter_mm is None else f"diameter {number(finding.diameter_mm)} mm"
    x, y, z = (number(v) for v in finding.centre_mm)
    parts = (f"score {score(finding.score)}", size, site(finding), image_and_slice(finding), f"LPS ({x}, {y}, {z}) mm")
    return "   ·   ".join(part for part in parts if part)


def false_marks(rate: float | None) -> str:
    """How many false marks, in words that fit one of them too.

    >>> false_marks(1.0), false_marks(0.5), false_marks(None)
    ('1 false mark', '0.5 false marks', 'an unknown number of false marks')
    """
    text = "an unknown number of" if rate is None else f"{rate:.3g}"
    return f"{text} false mark{'' if text == '1' else 's'}"


def count(how_many: int, noun: str) -> str:
    """A number with its noun, in the plural where it is not one.

    >>> count(1, "finding"), count(2, "finding")
    ('1 finding', '2 findings')
    """
    return f"{how_many} {noun}{'' if how_many == 1 else 's'}"


def operating_line(point: OperatingPoint) -> str:
    """Above which score marks are shown, and what that costs."""
    if point.false_marks_per_scan is None:
        cost = "its false marks per scan were not measured"
    else:
        cost = f"{false_marks(point.false_marks_per_scan)} per scan on average ({point.measured_on})"
    return f"Marks from a score of {point.threshold:.3g}: {cost}."


def prompt(text: str) -> str:
    """What a similarity map compares with, in words."""
    return f"the text “{text}”" if text else "the model’s own texts for a nodule"


def case_line(report: Report) -> str:
    """Which CT, analysed by what."""
    made = report.provenance
    return (
        f"Series {report.seriesuid}   ·   study of {date(report.study_date)}   ·   {made.software}, {made.weights_name}"
    )
