"""The whole batch: find the cases, skip what is done, keep the workers busy, keep the books."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from imaging.errors import CODES, UsageError, printable
from imaging.io.atomic import output_error
from pipelines.allowed import COUNT
from pipelines.analysis_options import AnalysisOptions
from pipelines.batch.cases import Case, discover
from pipelines.batch.ledger import Ledger, State, exclusive, key_of
from pipelines.batch.memory import available_bytes, fitting_jobs
from pipelines.batch.pool import Pool
from pipelines.batch.repeats import notices, same_series
from pipelines.batch.worker import Outcome, Setup, Task
from pipelines.input_content import content_sha256, fingerprint
from pipelines.progress import Reporter, Silent

#: Formats that the tables over all cases are made from; they are written whatever else is asked for.
NEEDED_FORMATS: Final = ("csv", "json")


@dataclass(frozen=True)
class Summary:
    """How a batch ended: the state of every case, how many were done before, how many never begun (disk full)."""

    states: tuple[State, ...]
    skipped: int
    jobs: int
    not_begun: int = 0

    def count(self, status: str) -> int:
        """How many cases have this status."""
        return sum(state.status == status for state in self.states)

    @property
    def all_done(self) -> bool:
        """Whether every case has a result."""
        return self.count("done") == len(self.states)

    @property
    def same_series(self) -> list[tuple[str, ...]]:
        """Cases whose results are of one series, two or more at a time."""
        return same_series(self.states)

    def to_json(self) -> dict[str, Any]:
        """The summary as plain values."""
        counts = {status: self.count(status) for status in ("done", "refused", "failed")}
        rows = [
            {"case": s.case, "status": s.status, "code": s.code, "findings": s.findings, "seconds": s.seconds}
            for s in self.states
        ]
        facts = {**counts, "skipped": self.skipped, "not_begun": self.not_begun, "jobs": self.jobs}
        return {**facts, "same_series": [list(names) for names in self.same_series], "cases": rows}


def run_batch(
    folder: str | Path,
    output: str | Path,
    *,
    formats: Sequence[str],
    jobs: int = 1,
    show_identifiers: bool = False,
    reporter: Reporter | None = None,
    analyser: str = Setup.analyser,
    **options: Any,
) -> Summary:
    """Analyse every case of a folder.

    Args:
        folder: see `pipelines.batch.cases.RULE` for what counts as a case in it.
        output: one folder a case, ``findings.csv``, ``failures.csv`` and ``cases.csv`` over all.
        formats: keys of `imaging.outputs.WRITERS`; csv and json are always written.
        jobs: so many cases at once, fewer where memory does not suffice.
        analyser: import string of what analyses one case; tests put theirs here.
        options: those of `pipelines.analysis_options.AnalysisOptions`.

    Raises:
        UsageError: ``batch.locked``, ``batch.no_cases``, ``batch.inside``, ``usage.option``.
        ModelError: the weights cannot be used; no case was begun.
        OutputError: the books cannot be kept (disk full); what was done before stays.
    """
    source, out = Path(folder), Path(output)
    AnalysisOptions(**options)  # refuses what cannot be before a case is looked for
    COUNT.check("jobs", jobs)
    _check_apart(source, out)
    reporter = Silent() if reporter is None else reporter
    wanted = tuple(dict.fromkeys((*formats, *NEEDED_FORMATS)))
    settings = {**options, "formats": wanted, "show_identifiers": show_identifiers}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(error, out) from error
    with exclusive(out):
        ledger = Ledger(out)
        ledger.sweep()
        cases = discover(source, on_progress=lambda done, total: reporter.stage("listing cases", done, total))
        jobs = fitting_jobs(min(jobs, len(cases)), max(case.voxels for case in cases), available_bytes())
        setup = Setup(max(1, (os.cpu_count() or 1) // jobs), settings, analyser)
        try:
            with Pool(setup, jobs) as pool:
                run = _Run(ledger, cases, pool, reporter, settings, jobs)
                return run.go()
        finally:
            ledger.sweep()


def _check_apart(source: Path, out: Path) -> None:
    inner, outer = out.resolve(), source.resolve()
    if inner == outer or outer in inner.parents:
        raise UsageError("batch.inside", f"{out} lies inside {source}", where=out)


class _Run:
    """One pass over the cases; holds what the steps share."""

    def __init__(
        self, ledger: Ledger, cases: Sequence[Case], pool: Pool, reporter: Reporter, settings: dict[str, Any], jobs: int
    ) -> None:
        self._ledger = ledger
        self._cases = {case.name: case for case in cases}
        self._pool = pool
        self._reporter = reporter
        self._settings = settings
        self._jobs = jobs
        # What an earlier run knew stays in the tables until this one knows better.
        self._states = {case.name: ledger.known(case.name) for case in cases}
        self._skipped = 0
        self._took: list[float] = []
        self._disk_full = False

    def go(self) -> Summary:
        """Everything from the first to the last case."""
        weights_sha256 = self._pool.weights_sha256()
        queue = deque(self._cases)
        while queue or self._pool.busy():
            while queue and self._pool.free() and not self._disk_full:
                name = queue.popleft()
                if not self._settled(name, weights_sha256):
                    self._begin(name)
            if self._disk_full and not self._pool.busy():
                break
            self._listen(len(queue))
        self._write_tables()
        return Summary(tuple(self._states.values()), self._skipped, self._jobs, len(queue))

    def _listen(self, waiting: int) -> None:
        """Take what the workers say, or a second of silence."""
        for task, message in self._pool.messages():
            if isinstance(message, Outcome):
                self._end(task.case, message, waiting)
            else:
                self._reporter.stage(*message[1:], case=task.case)

    def _settled(self, name: str, weights_sha256: str) -> bool:
        """Whether there is nothing to do for a case: it is done already, or could not even be listed."""
        case, known = self._cases[name], self._states[name]
        if case.refusal is not None:
            self._states[name] = _failed(State(name), "refused", case.refusal)
            self._ledger.write(self._states[name])
            return True
        mark = fingerprint(case.path)
        content = known.input_sha256 if known.fingerprint == mark else content_sha256(case.path)
        key = key_of(content, case.study, weights_sha256, self._settings)
        if self._ledger.is_done(known, key):
            self._states[name] = known
            self._skipped += 1
            return True
        self._states[name] = State(name, key=key, fingerprint=mark, input_sha256=content)
        return False

    def _begin(self, name: str) -> None:
        case = self._cases[name]
        self._states[name] = replace(self._states[name], status="running")
        self._ledger.write(self._states[name])
        self._pool.give(Task(name, case.path, self._ledger.out / name, case.study))

    def _end(self, name: str, outcome: Outcome, waiting: int) -> None:
        state = replace(
            self._states[name],
            seconds=outcome.seconds,
            peak_mb=outcome.peak_mb,
            findings=outcome.findings,
            seriesuid=outcome.seriesuid,
            stage=outcome.stage,
        )
        if outcome.status == "done":
            state = replace(state, status="done")
        else:
            state = _failed(state, outcome.status, outcome.error)
            self._disk_full = self._disk_full or state.code == "output.disk_full"
        self._states[name] = state
        self._took.append(outcome.seconds)
        self._ledger.write(state)
        self._write_tables()
        self._tell(state, waiting)

    def _tell(self, state: State, waiting: int) -> None:
        left_s = waiting / self._jobs * sum(self._took) / len(self._took)
        ended = len(self._cases) - waiting - self._running()
        found = f"{state.findings} findings" if state.status == "done" else f"{state.code}: {state.message}"
        text = f"[{ended}/{len(self._cases)}] {state.case}: {state.status} in {state.seconds:.0f} s, {found}"
        left = f"; about {_duration(left_s)} left" if waiting else ""
        facts = {"case": state.case, "status": state.status, "code": state.code, "findings": state.findings}
        counts = {"done": ended, "total": len(self._cases), "left_s": round(left_s)}
        self._reporter.event("case", text=text + left, **facts, seconds=state.seconds, **counts)

    def _running(self) -> int:
        return sum(state.status == "running" for state in self._states.values())

    def _write_tables(self) -> None:
        inputs = {name: printable(case.path) for name, case in self._cases.items()}
        states = list(self._states.values())
        self._ledger.write_tables(states, inputs, notices(states))


def _failed(state: State, status: Any, error: dict[str, Any]) -> State:
    code = error["code"]
    remedy = error.get("remedy") or CODES[code].remedy
    return replace(state, status=status, code=code, message=error["message"], remedy=remedy)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{seconds / 3600:.1f} h"


__all__ = ["Summary", "run_batch"]
