"""What is answered to a key: what it did where that is not plain to see, or why it did nothing and what to do first."""

from __future__ import annotations

from pipelines.viewer.review import Event, Reviewed
from pipelines.viewer.rulers import ruler_of

NO_FINDING = "Select a finding first: N goes to the next one, a click in its ring or on its row selects it."


class NothingDone(Exception):
    """A key had nothing to do; says why, and what to do first. No error: nothing was recorded, nothing is wrong."""


def not_moved(row: Reviewed) -> NothingDone:
    """The crosshair is where the finding's centre is already."""
    return NothingDone(
        f"Nothing was moved: the crosshair is still on the middle of finding {row.finding.number}. "
        "Click where its middle should be, then move it."
    )


def not_measured(row: Reviewed) -> NothingDone:
    """The crosshair is on the finding's centre, so there is no radius."""
    return NothingDone(
        f"Nothing was measured: the crosshair is on the middle of finding {row.finding.number}. "
        "Put it on the rim of the finding first: click on its edge, then press D."
    )


def taken_back(event: Event, before: Reviewed | None, after: Reviewed | None, *, reviewer: str) -> str:
    """What an undo took back: the decision, its finding, whose it was if another's, and how the finding stands now.

    Args:
        event: the one that was taken back.
        before, after: its finding before and after that; None where the list did not or does not hold it.
        reviewer: who took it back.
    """
    whose = f", by {event.reviewer}" if event.reviewer and event.reviewer != reviewer else ""
    if event.action == "ruler":
        return f"Taken back: the ruler of {ruler_of(event).label}{whose}."
    if before is None:
        return f"Taken back: a decision on a finding that is not in this result{whose}."
    said = f"Taken back: finding {before.finding.number}, {_decision(event)}{whose}."
    if after is None:
        return f"{said} It is gone from the list."
    return said if after.state == before.state else f"{said} It is {after.state} again."


def _decision(event: Event) -> str:
    if event.action == "comment":
        return f"comment “{event.values['text']}”"
    if event.action == "edit" and "diameter_mm" in event.values:
        return f"measured as {float(event.values['diameter_mm']):.1f} mm"
    return {"accept": "accepted", "reject": "rejected", "add": "marked as missed", "edit": "moved"}[event.action]
