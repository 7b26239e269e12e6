"""What a review is good for: a reviewed report, a table, a DICOM SR, and labels that ``nodulus train`` takes. No Qt.

The AI's own files are never written to: an export is a new folder, and its SR a new version that names the AI's.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.errors import Notice
from imaging.findings import Finding, OperatingPoint, Report
from imaging.outputs import words
from imaging.provenance import Provenance, software_version
from pipelines.viewer.review import Event, Reviewed, readers_of
from pipelines.viewer.session import Session
from pipelines.viewer.weak_labels import MANIFEST, label_row, write_manifest

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from imaging.outputs.case import CaseResult
    from imaging.outputs.reviewed_sr import Decision, Review

#: Measures of a segmented lesion; another size or another place makes them wrong.
_MEASURES = ("long_axis_mm", "short_axis_mm", "long_axis_ends_mm", "volume_mm3", "mean_hu")


def reviewed_report(session: Session) -> Report:
    """The report as the reader left it: rejected findings gone, edits and additions in, each marked in its notes.

    The AI's own scores stay; an added finding carries 1.0 and the note ``review.added``.
    """
    kept = [row for row in session.findings if row.state != "rejected"]
    findings = tuple(_marked(row, number) for number, row in enumerate(kept, start=1))
    report = ai_report(session)
    return replace(report, findings=findings, notices=report.notices + _notices(session))


def ai_report(session: Session) -> Report:
    """What was reviewed; without an AI result an empty report that says so."""
    if session.report is not None:
        return session.report
    origin = session.volume.origin
    return Report(
        seriesuid=session.volume.seriesuid,
        study_instance_uid=origin.study_instance_uid if origin else None,
        study_date=origin.study_date if origin else None,
        findings=(),
        notices=session.volume.warnings,
        operating_point=OperatingPoint(1.0, None, "no AI was run"),
        provenance=Provenance(software_version(), origin.content_sha256 if origin else None, "", ""),
        grid=session.volume.grid.to_json(),
    )


def as_left(row: Reviewed) -> Finding:
    """The finding without what the reader's edit made untrue: measures of another size, the site of another place."""
    before, after = row.original, row.finding
    if before is None or before == after:
        return after
    moved = float(np.linalg.norm(np.subtract(before.centre_mm, after.centre_mm)))
    elsewhere = moved > (before.diameter_mm or 6.0) / 2
    if elsewhere or before.diameter_mm != after.diameter_mm:
        nothing: dict[str, Any] = dict.fromkeys(_MEASURES)
        after = replace(after, **nothing)
    if elsewhere:
        kept = after.diameter_mm if before.diameter_mm != after.diameter_mm else None
        after = replace(after, diameter_mm=kept, side=None, zone=None, attributes={})
    return after


def _marked(row: Reviewed, number: int) -> Finding:
    marks = ["review.added"] if row.original is None else []
    marks += ["review.edited"] if row.edited else []
    marks += {"accepted": ["review.accepted"], "undecided": ["review.undecided"]}.get(row.state, [])
    finding = as_left(row)
    return replace(finding, number=number, notes=(*finding.notes, *marks))


def _notices(session: Session) -> tuple[Notice, ...]:
    states = [row.state for row in session.findings]
    added = sum(row.original is None for row in session.findings)
    counts = f"{states.count('accepted')} accepted ({added} of them added), {states.count('rejected')} rejected"
    names = ", ".join(session.readers) or "an unnamed reader"
    last = max((f" until {event.time}" for event in session.log.events), default="")
    notices = [Notice("review.by_reader", f"reviewed by {names}{last}: {counts}")]
    if session.undecided:
        message = f"{words.count(session.undecided, 'finding')} not reviewed: as reported, nobody has decided"
        notices.append(Notice("review.undecided", message))
    return tuple(notices)


def weak_label(session: Session) -> dict[str, Any]:
    """The row of this session in the table of image-level labels."""
    uid = session.volume.seriesuid
    return label_row(session.findings, session.readers, seriesuid=uid, source=session.source)


# --- the reviewed SR -------------------------------------------------------------------------------------------------
def can_write_sr(session: Session) -> bool:
    """Whether the CT came from DICOM and something was decided, here and by somebody who gave a name."""
    origin = session.volume.origin
    decided = any(row.state != "undecided" for row in session.findings) and readers_of(session.log.events)
    return bool(origin and origin.header is not None and origin.instances and decided)


def decisions(session: Session) -> tuple[Decision, ...]:
    """One decision a finding that was decided on, in the order of the list."""
    from imaging.io.dicom_decisions import Verdict
    from imaging.outputs.reviewed_sr import Decision

    def verdict(row: Reviewed) -> Verdict:
        if row.state == "rejected":
            return "rejected"
        return "added" if row.original is None else ("corrected" if row.edited else "accepted")

    def by_hand(row: Reviewed) -> tuple[str, ...]:
        own = row.original is None or row.sized_by_hand or row.original.diameter_mm != row.finding.diameter_mm
        return ("diameter_mm",) if own else ()

    rows = [row for row in session.findings if row.state != "undecided"]
    return tuple(Decision(as_left(row), verdict(row), row.comment, by_hand(row)) for row in rows)


def _write_sr(session: Session, folder: Path, organisation: str) -> tuple[dict[str, Path], Dataset]:
    """The reviewed SR, and the AI's beside it where the result was not written as SR before."""
    from imaging.outputs import reviewed_sr, sr
    from imaging.outputs.reviewed_sr import Review

    report, decided = ai_report(session), decisions(session)
    files: dict[str, Path] = {}
    if session.original is None and session.by_nodulus:
        files = sr.write(_case(session, report), folder)
    original = session.original or files.get(sr.FILE_NAME)
    earlier = [_reference(original)] if original is not None else []
    if (last := session.log.last_export()) is not None:
        earlier.append(_from_event(last, session))
    review: Review = Review(
        decisions=decided,
        readers=session.readers,
        complete=session.undecided == 0,
        predecessors=tuple(earlier),
        by_nodulus=session.by_nodulus,
        organisation=organisation,
        verifier=session.reviewer,
    )
    kept = tuple(decision.finding for decision in decided if decision.verdict != "rejected")
    files |= reviewed_sr.write(_case(session, replace(report, findings=kept)), review, folder)
    return files, _reference(files[reviewed_sr.FILE_NAME])


def _case(session: Session, report: Report) -> CaseResult:
    from imaging.outputs.case import CaseResult

    return CaseResult(session.volume, report, None, np.zeros(session.volume.grid.shape, dtype=np.uint8))


def _reference(path: Path) -> Dataset:
    """Study, series, class and instance of a DICOM file."""
    from pydicom import dcmread

    names = ["StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"]
    return dcmread(path, specific_tags=names, stop_before_pixels=True)


def _from_event(event: Event, session: Session) -> Dataset:
    from pydicom.dataset import Dataset
    from pydicom.uid import Comprehensive3DSRStorage

    reference = Dataset()
    reference.StudyInstanceUID = event.values["study"]
    reference.SeriesInstanceUID = event.values["series"]
    reference.SOPClassUID = Comprehensive3DSRStorage
    reference.SOPInstanceUID = event.values["instance"]
    return reference


# --- all of it -------------------------------------------------------------------------------------------------------
def export_review(session: Session, folder: Path, *, organisation: str = "") -> dict[str, Path]:
    """Write the reviewed `report.json`, `findings.csv`, the table of labels and, for a DICOM CT, the SR into a folder.

    The folder is new or empty and appears as a whole; the AI's result is not touched. An SR that was written is noted
    in the file of decisions, so that the next version names it.

    Args:
        organisation: for which the reader of this session verifies the SR; empty leaves it unverified.

    Returns:
        file name -> path.

    Raises:
        OutputError: ``output.exists`` where the folder holds anything, or it cannot be written; ``review.unsigned``;
            ``outputs.header_unusable``; or, with all files in place, ``review.unwritten`` for the note of the version.
    """
    from imaging.io.atomic import atomic_folder
    from imaging.outputs import write_case

    reference: Dataset | None = None
    with atomic_folder(folder) as unfinished:
        files = dict(write_case(_case(session, reviewed_report(session)), unfinished, formats=("csv", "json")))
        if can_write_sr(session):
            written, reference = _write_sr(session, unfinished, organisation)
            files |= written
        if session.source is not None:
            files[MANIFEST] = write_manifest([weak_label(session)], unfinished / MANIFEST)
    if reference is not None:
        session.note_export(
            study=str(reference.StudyInstanceUID),
            series=str(reference.SeriesInstanceUID),
            instance=str(reference.SOPInstanceUID),
        )
    return {name: folder / name for name in files}
