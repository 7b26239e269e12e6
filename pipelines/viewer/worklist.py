"""The worklist: the studies of a batch run with what the AI found and what is still to be decided. No Qt."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from imaging.errors import ImagingError, InputError
from pipelines.viewer.results import is_result_folder, read_report
from pipelines.viewer.review import FILE_NAME, ReviewLog, readers_of, replay
from pipelines.viewer.weak_labels import label_row

Order = Literal["score", "undecided", "name"]
ORDERS: Final[tuple[Order, ...]] = ("score", "undecided", "name")

#: What a state of the batch without a result means for the reader.
WAITING: Final = {
    "planned": "not analysed yet: the batch has not reached it. If it was stopped, run the same nodulus batch again",
    "running": "not analysed yet: the batch is at it. If it was stopped, run the same nodulus batch again",
}


@dataclass(frozen=True)
class Study:
    """One case of a batch.

    Args:
        name: of the case.
        source: the CT it was made from, or None if the batch did not say.
        folder: its result.
        score: of its most suspicious finding; 0 without one.
        findings, undecided: how many there are, and how many nobody has decided on.
        refusal: why there is no result, in words.
    """

    name: str
    source: Path | None
    folder: Path
    score: float = 0.0
    findings: int = 0
    undecided: int = 0
    refusal: str = ""

    @property
    def brief_refusal(self) -> str:
        """The refusal as it fits into a row: a code, or what comes before the reason."""
        return self.refusal.partition(":")[0]


def read_worklist(out: Path) -> list[Study]:
    """The studies of a batch's output folder, by name; refused and failed ones too, with their reason.

    Raises:
        InputError: ``result.unreadable`` if the folder is not the output of a batch.
    """
    table = out / "cases.csv"
    if not table.is_file():
        raise InputError(
            "result.unreadable", "there is no cases.csv in it, so it is not the output of a batch", where=out
        )
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [_study(out / row["case"], row) for row in rows]


def _study(folder: Path, row: dict[str, str]) -> Study:
    source = Path(row["input"]) if row.get("input") else None
    status = row.get("status") or "no result"
    empty = Study(row["case"], source, folder, refusal=row.get("code") or WAITING.get(status, status))
    if not is_result_folder(folder):
        return empty
    try:
        report = read_report(folder)
        events = ReviewLog(folder / FILE_NAME, report.seriesuid).events
    except ImagingError as error:
        return Study(row["case"], source, folder, refusal=str(error))
    reviewed = replay(report.findings, events)
    return Study(
        row["case"],
        source,
        folder,
        score=max((finding.score for finding in report.findings), default=0.0),
        findings=len(reviewed),
        undecided=sum(one.state == "undecided" for one in reviewed),
    )


def in_order(studies: Sequence[Study], order: Order) -> list[Study]:
    """Studies by score or by undecided findings, most first, those without a result last; or by name."""
    if order == "score":
        return sorted(studies, key=lambda s: (bool(s.refusal), -s.score, s.name))
    if order == "undecided":
        return sorted(studies, key=lambda s: (bool(s.refusal), -s.undecided, -s.score, s.name))
    return sorted(studies, key=lambda s: s.name)


def label_rows(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """The rows of all studies in the table of image-level labels; those without a result or a CT have none.

    Raises:
        InputError: ``result.unreadable``; ``review.other_series``.
    """
    return [_label_row(study) for study in studies if not study.refusal and study.source is not None]


def _label_row(study: Study) -> dict[str, Any]:
    report = read_report(study.folder)
    events = ReviewLog(study.folder / FILE_NAME, report.seriesuid).events
    rows = replay(report.findings, events)
    return label_row(rows, readers_of(events), seriesuid=report.seriesuid, source=study.source)
