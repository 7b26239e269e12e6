"""Two studies of one patient under one crosshair, and how their matched findings changed. No Qt.

The other study is a session of its own, so its findings can be read like any. What the reader does in one is done in
the other: the crosshair goes to the same place in the lungs, window and slab are the same, and selecting a finding
selects its partner. The earlier study is the one with the earlier date; without dates it is the other one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imaging.errors import Notice
from imaging.registration.alignment import Alignment
from imaging.registration.growth import Growth, days_between, match_findings
from pipelines.viewer.identifiers import readable_date
from pipelines.viewer.opening import open_session
from pipelines.viewer.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imaging.findings import Finding, Point
    from pipelines.viewer.review import Reviewed

#: What a reader must know about the numbers; shown beside them.
ASSUMPTIONS: Final = (
    "Doubling time: exponential growth between the two dates, from two measured volumes, and only for a change of 25 % "
    "or more; less is within what two CTs of an unchanged nodule differ by."
)


class Comparison:
    """A session and another one beside it, linked until `close`.

    Args:
        session: what is read.
        other: the study beside it.
        alignment: takes points of `session` to `other`.
        notices: doubts about comparing them.
    """

    def __init__(
        self, session: Session, other: Session, alignment: Alignment, *, notices: tuple[Notice, ...] = ()
    ) -> None:
        self.session, self.other, self.alignment = session, other, alignment
        self.notices = notices + alignment.notices
        self._linking = False
        self._unsubscribe = (
            session.subscribe(lambda change: self._follow(change, session, other)),
            other.subscribe(lambda change: self._follow(change, other, session)),
        )
        for change in ("window", "slab", "point"):
            self._follow(change, session, other)

    def close(self) -> None:
        """Let each go its own way."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()

    # --- growth -----------------------------------------------------------------------------------------------------
    @property
    def days(self) -> int | None:
        """From the other study to the one that is read, negative where the other is later; None without two dates."""
        return days_between(_date(self.other), _date(self.session))

    @property
    def other_is_earlier(self) -> bool:
        """Whether the other study is the earlier one; so it is taken to be where a date is missing."""
        return self.days is None or self.days > 0

    @property
    def rows(self) -> tuple[Growth, ...]:
        """The findings of both studies that are not rejected, paired, in the order of the later study's list."""
        here, other = _standing(self.session), _standing(self.other)
        days = None if self.days is None else abs(self.days)
        if self.other_is_earlier:
            return match_findings(other, here, self.alignment, days=days)
        return match_findings(here, other, self.alignment.inverse, days=days)

    def sides(self, row: Growth) -> tuple[Finding | None, Finding | None]:
        """A row's finding in the study that is read, and in the other one."""
        return (row.later, row.earlier) if self.other_is_earlier else (row.earlier, row.later)

    @property
    def title(self) -> str:
        """Which study is beside, and how far apart they are."""
        if self.days is None:
            return "another study, taken as the earlier one (a date is missing)"
        when = "earlier" if self.days > 0 else "later"
        return f"study of {readable_date(_date(self.other) or '')}, {abs(self.days)} days {when}"

    # --- one crosshair ----------------------------------------------------------------------------------------------
    def show(self, row: Growth) -> None:
        """Put both crosshairs on a row's finding; where one study has none, on the place where it would be."""
        here, other = self.sides(row)
        with self._alone():
            self.session.select(here.tracking_uid if here else None)
            self.other.select(other.tracking_uid if other else None)
            if here is None and other is not None:
                self.session.go_to(_point(self.alignment.back(other.centre_mm)))
            if other is None and here is not None:
                self.other.go_to(_point(self.alignment.there(here.centre_mm)))

    def _follow(self, change: str, moved: Session, follower: Session) -> None:
        if self._linking:
            return
        if change == "selection":
            self._follow_selection(moved)
            return
        with self._alone():
            if change == "point":
                across = self.alignment.there if moved is self.session else self.alignment.back
                follower.go_to(_point(across(moved.point_mm)))
            elif change in ("window", "slab", "ai", "eyes", "opacity"):
                follower.view_as(moved)

    def _follow_selection(self, moved: Session) -> None:
        at = 0 if moved is self.session else 1
        for row in self.rows:
            finding = self.sides(row)[at]
            if moved.selected is not None and finding is not None and finding.tracking_uid == moved.selected:
                self.show(row)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """What is told meanwhile is an echo of what is being done here."""
        self._linking = True
        try:
            yield
        finally:
            self._linking = False


def _standing(session: Session) -> tuple[Finding, ...]:
    return tuple(_as_measured(row) for row in session.findings if row.state != "rejected")


def _as_measured(row: Reviewed) -> Finding:
    """The finding, without the AI's volume where the reader moved or measured it: that is of something else."""
    return replace(row.finding, volume_mm3=None) if row.edited else row.finding


def _date(session: Session) -> str | None:
    return session.volume.origin.study_date if session.volume.origin else None


def _point(values: Any) -> Point:
    x, y, z = (float(value) for value in values)
    return x, y, z


@dataclass(frozen=True, eq=False)
class Beside:
    """What is worked out before two studies stand side by side: the arguments of `Comparison`."""

    other: Session
    alignment: Alignment
    notices: tuple[Notice, ...]


def prepare(
    session: Session,
    path: str | Path,
    result: str | Path | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Beside:
    """Open another study of the patient and find where the lungs of one lie in the other; takes some seconds.

    Only reads `session`, so it may run beside the window.

    Args:
        session: what is read.
        path: the other CT: whatever `imaging.read_volume` reads.
        result: its result folder; by default the one that this computer keeps for it.
        on_progress: called as (steps done, steps); may raise to cancel.

    Raises:
        InputError: the loader's refusal; ``compare.same_series``; ``compare.other_patient``; ``lungs.none``.
    """
    from imaging.registration.comparable import comparability
    from imaging.registration.fit import align

    other = open_session(path, result, reviewer=session.reviewer)
    notices = comparability(session.volume, other.volume)
    return Beside(other, align(session.volume, other.volume, on_progress=on_progress), notices)


def compare(session: Session, beside: Beside) -> Comparison:
    """Link a session with what `prepare` made for it."""
    return Comparison(session, beside.other, beside.alignment, notices=beside.notices)
