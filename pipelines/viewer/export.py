"""What a review is good for: a reviewed report, a table, and image-level labels that ``nodulus train`` takes. No Qt."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from imaging.errors import Notice
from imaging.findings import Finding, Report
from pipelines.viewer.review import Reviewed
from pipelines.viewer.session import Session

MANIFEST: Final = "weak_labels.csv"
MANIFEST_COLUMNS: Final = ("path", "nodule", "text", "seriesuid", "reviewer")


def reviewed_report(session: Session) -> Report:
    """The report as the reader left it: rejected findings gone, edits and additions in, each marked in its notes.

    The AI's own scores stay; an added finding carries 1.0 and the note ``review.added``.
    """
    assert session.report is not None
    kept = [row for row in session.findings if row.state != "rejected"]
    findings = tuple(_marked(row, number) for number, row in enumerate(kept, start=1))
    return replace(session.report, findings=findings, notices=session.report.notices + _notices(session))


def _marked(row: Reviewed, number: int) -> Finding:
    marks = ["review.added"] if row.original is None else []
    marks += ["review.edited"] if row.edited else []
    marks += {"accepted": ["review.accepted"], "undecided": ["review.undecided"]}.get(row.state, [])
    return replace(row.finding, number=number, notes=(*row.finding.notes, *marks))


def _notices(session: Session) -> tuple[Notice, ...]:
    states = [row.state for row in session.findings]
    added = sum(row.original is None for row in session.findings)
    counts = f"{states.count('accepted')} accepted ({added} of them added), {states.count('rejected')} rejected"
    names = sorted({event.reviewer for event in session.log.events if event.reviewer}) or ["an unnamed reader"]
    last = max((event.time for event in session.log.events), default="")
    notices = [Notice("review.by_reader", f"reviewed by {', '.join(names)} until {last}: {counts}")]
    if session.undecided:
        notices.append(Notice("review.undecided", f"{session.undecided} findings are the AI's alone, not reviewed"))
    return tuple(notices)


def weak_label(session: Session) -> dict[str, Any]:
    """One row of the manifest: whether the scan holds a nodule, and a sentence; empty where that is not decided.

    A scan is positive with one accepted finding, negative when every finding was rejected. A scan in which the AI found
    nothing has no label until the reader adds a nodule: nobody has said that it is free of nodules.
    """
    accepted = [row.finding for row in session.findings if row.state == "accepted"]
    decided = bool(session.findings) and not session.undecided
    nodule = "1" if accepted else ("0" if decided else "")
    text = "; ".join(_sentence(finding) for finding in accepted) or ("No pulmonary nodule." if nodule == "0" else "")
    names = sorted({event.reviewer for event in session.log.events if event.reviewer})
    return {
        "path": "" if session.source is None else str(session.source),
        "nodule": nodule,
        "text": text,
        "seriesuid": session.volume.seriesuid,
        "reviewer": ", ".join(names),
    }


def _sentence(finding: Finding) -> str:
    """What the reader's click implies, in the words of a report; never a coordinate."""
    looks = [name for name, value in finding.attributes.items() if value >= 0.5]
    size = [] if finding.diameter_mm is None else [f"{finding.diameter_mm:.0f} mm"]
    where = f" in the {finding.side} lung" if finding.side else ""
    return " ".join([*size, *looks, "pulmonary nodule"]).capitalize() + where + "."


def export_review(session: Session, folder: Path) -> dict[str, Path]:
    """Write the reviewed `report.json` and `findings.csv` and the manifest of image-level labels into `folder`.

    Returns:
        file name -> path.

    Raises:
        OutputError: the folder cannot be written; files appear whole or not at all.
    """
    from imaging.outputs import write_case
    from imaging.outputs.case import CaseResult

    grid = session.volume.grid
    case = CaseResult(session.volume, reviewed_report(session), None, np.zeros(grid.shape, dtype=np.uint8))
    files = dict(write_case(case, folder, formats=("csv", "json")))
    return files | {MANIFEST: write_manifest([weak_label(session)], folder / MANIFEST)}


def write_manifest(rows: list[dict[str, Any]], path: Path) -> Path:
    """Write rows of `weak_label` as a table; one file may hold a whole worklist."""
    import io

    from imaging.io.atomic import write_text

    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=MANIFEST_COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
    return path
