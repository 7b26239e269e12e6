"""Results as text for a person: plain columns, so that they read the same on a terminal and in a log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imaging.errors import Notice
from imaging.findings import Finding, Report
from imaging.outputs import words

#: Said under every result.
NOT_FOR_DIAGNOSIS = "For research, not for diagnosis."


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Aligned columns under a header; numbers to the right, None as a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    right = [bool(cells) and all(_is_number(line[i]) for line in cells) for i in range(len(header))]

    def line(values: Sequence[str]) -> str:
        padded = [v.rjust(w) if r else v.ljust(w) for v, w, r in zip(values, widths, right, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(list(header)), *(line(row) for row in cells)])


def findings_text(findings: Sequence[Finding]) -> str:
    """The table of findings, or a sentence that says what an empty one does not mean."""
    if not findings:
        return "No mark above the threshold. That does not mean that these lungs are healthy."
    header = ("#", "score", "x", "y", "z (LPS mm)", "image", "slice", "diameter mm", "where", "looks")
    return table(header, (_finding_row(finding) for finding in findings))


def notices_text(notices: Iterable[Notice]) -> str:
    """One line a notice."""
    return "\n".join(f"note {notice.code}: {notice.message}" for notice in notices)


def operating_point_text(report: Report) -> str:
    """Above which score marks are shown and what that costs."""
    point = report.operating_point
    from imaging.outputs.words import false_marks

    cost = false_marks(point.false_marks_per_scan)
    return f"Marks from a score of {point.threshold:.3f}, at {cost} a scan ({point.measured_on})."


def report_text(report: Report, files: Mapping[str, Path]) -> str:
    """Everything a person needs to see after one CT."""
    series = f"Series {report.seriesuid} ({report.series_choice})."
    written = table(("file", "path"), files.items()) if files else ""
    parts = [
        series,
        findings_text(report.findings),
        operating_point_text(report),
        notices_text(report.notices),
        written,
    ]
    return "\n\n".join(part for part in (*parts, NOT_FOR_DIAGNOSIS) if part)


def _finding_row(finding: Finding) -> tuple[Any, ...]:
    where = " ".join(part for part in (finding.side, finding.zone) if part)
    best = max(finding.attributes.items(), key=lambda item: item[1], default=None)
    looks = f"{best[0]} {best[1]:.2f}" if best else None
    x, y, z = (f"{value:.1f}" for value in finding.centre_mm)
    size = None if finding.diameter_mm is None else f"{finding.diameter_mm:.1f}"
    return finding.number, words.score(finding.score), x, y, z, *_slice_cells(finding), size, where, looks


def _slice_cells(finding: Finding) -> tuple[str | None, str | None]:
    """The image as a workstation calls it, and the slice from the feet of how many."""
    found = finding.ct_slice
    if found is None:
        return None, None
    frame = None if found.frame_number is None else f"frame {found.frame_number}"
    image = frame if found.instance_number is None else str(found.instance_number)
    return image, None if found.number is None else f"{found.number}/{found.of}"


def _cell(value: Any) -> str:
    return "-" if value is None or value == "" else str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).lstrip("-").isdigit()
