"""The same CT in several cases of one batch: every result is kept, and it is said."""

from __future__ import annotations

from collections.abc import Iterable

from imaging.errors import Notice
from pipelines.batch.ledger import State


def same_series(states: Iterable[State]) -> list[tuple[str, ...]]:
    """The cases, two or more at a time, whose results are of one series.

    The name of a series is its DICOM UID, or the hash of the content of any other file: a copy has it too, whatever it
    is called.
    """
    cases: dict[str, list[str]] = {}
    for state in states:
        if state.status == "done" and state.seriesuid:
            cases.setdefault(state.seriesuid, []).append(state.case)
    return [tuple(names) for names in cases.values() if len(names) > 1]


def notices(states: Iterable[State]) -> dict[str, Notice]:
    """What to say of each case that shares its series with others."""
    return {case: _notice(case, names) for names in same_series(states) for case in names}


def _notice(case: str, names: tuple[str, ...]) -> Notice:
    others = ", ".join(name for name in names if name != case)
    return Notice("batch.same_series", f"the same series as {others}; findings.csv has its findings {len(names)} times")
