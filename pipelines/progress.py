"""How far a job is: one protocol for every face.

A job calls ``on_stage(stage, done, total)``; `stage` is a key of `STAGES`. A reporter makes bars on a terminal of it,
plain lines in a log file, JSON lines for a program, or nothing. The viewer and the batch read the same calls.
"""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TextIO

from pipelines.strict_json import encodable, strict_json

OnStage = Callable[[str, int, int], None]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Stage:
    """One step of a job: what a person reads, and its share of the time (measured by benchmarks/predict.py)."""

    label: str
    share: float


#: The steps of `predict`, in order.
STAGES: Final[dict[str, Stage]] = {
    "read": Stage("reading the CT", 0.04),
    "lungs": Stage("finding the lungs", 0.10),
    "model": Stage("loading the model", 0.15),
    "score": Stage("scoring", 0.49),
    "localize": Stage("measuring findings", 0.05),
    "explain": Stage("explaining", 0.08),
    "write": Stage("writing results", 0.09),
}


def percent(stage: str, done: int, total: int) -> float:
    """How much of a job is done, in percent, when `stage` is at `done` of `total`."""
    before = 0.0
    for name, info in STAGES.items():
        if name == stage:
            return 100.0 * (before + info.share * (done / total if total else 1.0))
        before += info.share
    return 100.0 * (done / total) if total else 0.0


def label_of(stage: str) -> str:
    """What a person reads for a stage; a stage that is not in the table is named as it is."""
    return STAGES[stage].label if stage in STAGES else stage


def part_of(on_stage: OnStage | None, stage: str) -> OnProgress | None:
    """`on_stage` narrowed to one stage, as the library's functions take it."""
    if on_stage is None:
        return None
    return lambda done, total: on_stage(stage, done, total)


class Reporter(Protocol):
    """Shows how far one job, or each of several cases, is."""

    def stage(self, stage: str, done: int, total: int, *, case: str = "") -> None:
        """A step of a job (of one case of a batch) is at `done` of `total`."""

    def event(self, name: str, **facts: Any) -> None:
        """Something else happened: a case started or ended."""

    def close(self) -> None:
        """The job is over; leave the terminal as it was."""


class Silent:
    """Says nothing."""

    def stage(self, stage: str, done: int, total: int, *, case: str = "") -> None:
        """Nothing."""

    def event(self, name: str, **facts: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class Lines:
    """Plain lines with a time, for a log: one when a stage begins, one each `every_s` seconds of it, one at the end."""

    def __init__(self, stream: TextIO, *, every_s: float = 15.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._every_s = every_s
        self._clock = clock
        self._last: dict[str, tuple[str, float]] = {}

    def stage(self, stage: str, done: int, total: int, *, case: str = "") -> None:
        """A line where a stage begins, and now and then while it lasts."""
        last_stage, last_s = self._last.get(case, ("", 0.0))
        now_s = self._clock()
        if stage == last_stage and now_s - last_s < self._every_s:
            return
        self._last[case] = (stage, now_s)
        self._line(f"{case + ': ' if case else ''}{percent(stage, done, total):3.0f} % {label_of(stage)}")

    def event(self, name: str, **facts: Any) -> None:
        """A line with the sentence of the event."""
        self._line(facts.get("text") or name)

    def close(self) -> None:
        """Nothing to tidy."""

    def _line(self, text: str) -> None:
        print(time.strftime("%H:%M:%S"), encodable(text), file=self._stream, flush=True)


class JsonLines:
    """One JSON object a line: ``{"event": "stage", "stage": "score", "done": 3, "total": 9, "percent": 52.1}``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last: dict[str, tuple[str, int]] = {}

    def stage(self, stage: str, done: int, total: int, *, case: str = "") -> None:
        """A line for each whole percent."""
        now = (stage, int(percent(stage, done, total)))
        if self._last.get(case) == now and done != total:
            return
        self._last[case] = now
        facts: dict[str, Any] = {"stage": stage, "done": done, "total": total}
        self.event("stage", **facts, percent=round(percent(stage, done, total), 1), **({"case": case} if case else {}))

    def event(self, name: str, **facts: Any) -> None:
        """One line; the sentence meant for people is left out."""
        facts.pop("text", None)
        print(strict_json({"event": name, **facts}), file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing to tidy."""


class Bars:
    """Bars on a terminal, one a running case, gone when the job is over."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._tasks: dict[str, Any] = {}
        self._progress.start()

    def stage(self, stage: str, done: int, total: int, *, case: str = "") -> None:
        """Move the case's bar."""
        if case not in self._tasks:
            self._tasks[case] = self._progress.add_task("", total=100.0)
        text = f"{case}: {label_of(stage)}" if case else label_of(stage)
        self._progress.update(self._tasks[case], completed=percent(stage, done, total), description=text)

    def event(self, name: str, **facts: Any) -> None:
        """Print the event's sentence above the bars; a case that ended loses its bar."""
        if name == "case" and facts.get("case") in self._tasks:
            self._progress.remove_task(self._tasks.pop(facts["case"]))
        if facts.get("text"):
            self._progress.console.print(encodable(facts["text"]), markup=False, highlight=False)

    def close(self) -> None:
        """Take the bars away."""
        self._progress.stop()


def choose_reporter(*, quiet: bool = False, events: bool = False, stream: TextIO | None = None) -> Reporter:
    """The reporter that fits: JSON lines on request, bars on a terminal, lines in a log file, nothing in a pipe.

    Args:
        quiet: say nothing (events asked for are still given).
        events: JSON lines on standard output.
        stream: where people read progress; standard error by default.
    """
    stream = sys.stderr if stream is None else stream
    if events:
        return JsonLines(sys.stdout)
    if quiet:
        return Silent()
    if stream.isatty():
        return Bars(stream)
    return Lines(stream) if _is_log(stream) else Silent()


def _is_log(stream: TextIO) -> bool:
    """A regular file, or the socket of a service manager's journal; not a pipe, not /dev/null."""
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or stat.S_ISSOCK(mode)
