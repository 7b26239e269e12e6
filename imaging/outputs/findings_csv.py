"""`findings.csv`: one row a finding, opening with the columns of LUNA16's submissions.

Source: https://luna16.grand-challenge.org/Evaluation/ (seriesuid, coordX, coordY, coordZ in mm, probability).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Final

from imaging.findings import CtSlice, Finding, Report
from imaging.io.atomic import write_bytes
from imaging.outputs.case import CaseResult

FILE_NAME: Final = "findings.csv"

#: LUNA16's columns; a submission is this file as it is.
LUNA16_COLUMNS: Final = ("seriesuid", "coordX", "coordY", "coordZ", "probability")

#: The columns of every `findings.csv`, whether it has rows or not. Points are LPS mm.
COLUMNS: Final = (
    *LUNA16_COLUMNS,
    "diameter_mm",
    "number",
    "tracking_uid",
    "logit",
    "long_axis_mm",
    "short_axis_mm",
    "volume_mm3",
    "mean_hu",
    "side",
    "zone",
    "attributes",
    "notes",
    "slice_number",
    "slice_of",
    "instance_number",
    "frame_number",
)


def rows(report: Report) -> list[dict[str, str]]:
    """One mapping of `COLUMNS` a finding; numbers unrounded (the shortest text that gives the same float again)."""
    return [_row(report.seriesuid, finding) for finding in report.findings]


def _row(seriesuid: str, finding: Finding) -> dict[str, str]:
    x, y, z = finding.centre_mm
    ct_slice = finding.ct_slice or CtSlice(finding.centre_mm)
    values: dict[str, object] = {
        "seriesuid": seriesuid,
        "coordX": x,
        "coordY": y,
        "coordZ": z,
        "probability": finding.score,
        "attributes": ";".join(f"{name}={float(score)!r}" for name, score in finding.attributes.items()),
        "notes": ";".join(finding.notes),
        "slice_number": ct_slice.number,
        "slice_of": ct_slice.of,
        "instance_number": ct_slice.instance_number,
        "frame_number": ct_slice.frame_number,
    }
    return {name: _text(values[name] if name in values else getattr(finding, name)) for name in COLUMNS}


def _text(value: object) -> str:
    """Floats by their repr (never numpy's), None as nothing."""
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def to_csv(report: Report) -> str:
    """The table as text with a header line; a report without findings is the header alone."""
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows(report))
    return text.getvalue()


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `findings.csv`; it never holds an identifier of the patient, whatever `show_identifiers` says."""
    path = folder / FILE_NAME
    write_bytes(path, to_csv(result.report).encode("utf-8", "replace"))
    return {FILE_NAME: path}
