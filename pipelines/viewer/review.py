"""A reader's decisions: one event a line in a file that only grows, and the findings that follow from them.

Nothing is overwritten: a correction is another event, an undo names the event it takes back, and the AI's own result
stays as it was. The state of a review is what its file says when replayed, so a crash loses nothing that was saved.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from imaging.errors import InputError, Notice, OutputError
from imaging.findings import Finding
from imaging.outputs import words

FILE_NAME: Final = "review.jsonl"
SCHEMA_VERSION: Final = 1

State = Literal["undecided", "accepted", "rejected"]
Action = Literal["accept", "reject", "edit", "add", "comment", "ruler", "undo", "export"]

#: Actions that an undo does not take back.
LASTING: Final = ("undo", "export")


@dataclass(frozen=True)
class Event:
    """One decision: what, on which finding, by whom, when; an ``undo`` names the event it takes back in `values`, an
    ``export`` the DICOM report that was written. A ``ruler`` is a distance in the patient, and names no finding.
    """

    action: Action
    seriesuid: str
    reviewer: str
    finding: str
    values: Mapping[str, Any] = field(default_factory=dict)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    event: str = field(default_factory=lambda: uuid.uuid4().hex)
    schema: int = SCHEMA_VERSION

    def to_line(self) -> bytes:
        """The event as one line of JSON."""
        return (json.dumps(asdict(self), ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


@dataclass(frozen=True)
class Reviewed:
    """A finding as it stands after all decisions.

    Args:
        finding: with the reader's centre and diameter, if they were edited.
        original: as the AI reported it; None for one that the reader added.
        state: what was decided; an added finding is accepted.
        comment, reviewer, time: of the last event that says so; no time where an opened report states the decision.
        corrected: whether an opened report states that its reader corrected the finding.
        sized_by_hand: whether the diameter in an opened report is a reader's.
    """

    finding: Finding
    original: Finding | None
    state: State = "undecided"
    comment: str = ""
    reviewer: str = ""
    time: str = ""
    corrected: bool = False
    sized_by_hand: bool = False

    @property
    def edited(self) -> bool:
        """Whether a reader moved or measured it."""
        return self.corrected or (self.original is not None and self.original != self.finding)


@dataclass(frozen=True)
class Earlier:
    """What an opened report states of decisions that were made before.

    Args:
        rows: tracking UID -> the finding as it stood.
        readers: who decided.
    """

    rows: Mapping[str, Reviewed] = field(default_factory=dict)
    readers: tuple[str, ...] = ()


def readers_of(events: Iterable[Event], earlier: Iterable[str] = ()) -> tuple[str, ...]:
    """The names that decisions are signed with, each once, sorted; who only measured a distance decided nothing.

    Args:
        earlier: readers whose decisions stand in the report that was opened.
    """
    signed = {event.reviewer for event in events if event.action != "ruler"}
    return tuple(sorted({*earlier, *signed} - {""}))


def orphans(findings: Iterable[Finding], events: Iterable[Event]) -> int:
    """On how many findings that are neither the AI's nor added there are decisions: those of another AI result."""
    known = {finding.tracking_uid for finding in findings}
    events = tuple(event for event in events if event.finding)
    known |= {event.finding for event in events if event.action == "add"}
    return len({event.finding for event in events} - known)


def replay(
    findings: Iterable[Finding], events: Iterable[Event], earlier: Mapping[str, Reviewed] | None = None
) -> tuple[Reviewed, ...]:
    """The findings after all events, the AI's first, then added ones; events on unknown findings change nothing.

    Args:
        earlier: `Earlier.rows`.
    """
    before = earlier or {}
    events = tuple(events)
    undone = {event.values["event"] for event in events if event.action == "undo"}
    table = {one.tracking_uid: before.get(one.tracking_uid, Reviewed(one, one)) for one in findings}
    for event in events:
        if event.event in undone or event.action in LASTING or event.action == "ruler":
            continue
        if event.action == "add":
            table[event.finding] = Reviewed(_added(event, len(table) + 1), None)
        if event.finding in table:
            table[event.finding] = _after(table[event.finding], event)
    return tuple(table.values())


def _added(event: Event, number: int) -> Finding:
    x, y, z = event.values["centre_mm"]
    return Finding(
        number=number,
        tracking_uid=event.finding,
        centre_mm=(float(x), float(y), float(z)),
        score=1.0,
        logit=0.0,
        diameter_mm=event.values.get("diameter_mm"),
    )


def _after(row: Reviewed, event: Event) -> Reviewed:
    row = replace(row, reviewer=event.reviewer, time=event.time)
    if event.action in ("accept", "add"):
        return replace(row, state="accepted")
    if event.action == "reject":
        return replace(row, state="rejected")
    if event.action == "comment":
        return replace(row, comment=str(event.values["text"]))
    changes = dict(event.values)
    if "centre_mm" in changes:
        x, y, z = changes["centre_mm"]
        changes["centre_mm"] = (float(x), float(y), float(z))
    return replace(row, finding=replace(row.finding, **changes), state="accepted")


class ReviewLog:
    """The append-only file of one result's review.

    Args:
        path: the file; made with the first event. None keeps everything in `unsaved` until `move_to`.
        seriesuid: of the CT; events of another series are refused.

    Raises:
        InputError: ``review.other_series`` if the file belongs to another CT.
    """

    def __init__(self, path: Path | None, seriesuid: str) -> None:
        self.path = path
        self.seriesuid = seriesuid
        self.unsaved: tuple[Event, ...] = ()
        self.notices: tuple[Notice, ...] = ()
        self.events: tuple[Event, ...] = self._load() if path is not None and path.exists() else ()

    def _load(self) -> tuple[Event, ...]:
        assert self.path is not None
        events: dict[str, Event] = {}  # by id: a write that failed half-way is written again as a whole
        torn: list[str] = []
        for number, line in enumerate(self.path.read_bytes().splitlines(), start=1):
            try:
                event = Event(**json.loads(line))
                events[event.event] = event
            except (ValueError, TypeError):
                torn += [str(number)] if line.strip() else []
        other = next((e.seriesuid for e in events.values() if e.seriesuid != self.seriesuid), None)
        if other is not None:
            raise InputError(
                "review.other_series",
                f"the decisions are on another CT: on series {other}, open is {self.seriesuid}",
                where=self.path,
            )
        if torn:
            self.notices = (Notice("review.torn_line", f"line {', '.join(torn)} of {FILE_NAME} is not a whole event"),)
        return tuple(events.values())

    def append(self, event: Event) -> None:
        """Take one event and bring it, and any unsaved before it, to the disk before returning.

        Raises:
            OutputError: ``review.unwritten``; the event stays in `unsaved` and the next `append` or `save` tries again.
        """
        self.events += (event,)
        self.unsaved += (event,)
        self.save()

    def save(self) -> None:
        """Write what is still unsaved.

        Raises:
            OutputError: ``review.unwritten`` if there is no place for it or the disk refuses.
        """
        if not self.unsaved:
            return
        if self.path is None:
            message = f"there is no folder for {words.count(len(self.unsaved), 'decision')}"
            raise OutputError("review.unwritten", message)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _append(self.path, b"".join(event.to_line() for event in self.unsaved))
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"{words.count(len(self.unsaved), 'decision')} not on the disk yet: {reason}"
            raise OutputError("review.unwritten", message, where=self.path) from error
        self.unsaved = ()

    def move_to(self, path: Path) -> None:
        """Go on in another file, which gets all events; what it holds already of this series stays in it.

        Raises:
            InputError: ``review.other_series`` if that file belongs to another CT.
            OutputError: ``review.unwritten``; then nothing has changed.
        """
        there = ReviewLog(path, self.seriesuid)
        known = {event.event for event in there.events}
        there.unsaved = tuple(event for event in self.events if event.event not in known)
        there.save()
        own = {event.event for event in self.events}
        self.path, self.unsaved = path, ()
        self.events = (*(event for event in there.events if event.event not in own), *self.events)

    def last_standing(self) -> Event | None:
        """The last event that was not taken back, which is what an undo takes back."""
        undone = {event.values["event"] for event in self.events if event.action == "undo"}
        return next((e for e in reversed(self.events) if e.action not in LASTING and e.event not in undone), None)

    def last_export(self) -> Event | None:
        """The last event that names a DICOM report made of this review."""
        return next((e for e in reversed(self.events) if e.action == "export"), None)


def _append(path: Path, lines: bytes) -> None:
    """Append whole lines and wait for the disk; a line torn by an earlier crash is closed first."""
    with path.open("ab+") as stream:
        if stream.seek(0, os.SEEK_END) > 0:
            stream.seek(-1, os.SEEK_END)
            if stream.read(1) != b"\n":
                lines = b"\n" + lines
        stream.write(lines)
        stream.flush()
        os.fsync(stream.fileno())
