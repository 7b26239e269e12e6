"""What is known of each case of a batch: a small JSON file each, replaced whole, so that a kill loses nothing written.

``OUT/.nodulus/<case>.json`` holds a `State`; ``OUT/<case>/`` the results; the tables over all are made from these two.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from imaging.errors import Notice, UsageError
from imaging.io.atomic import TEMPORARY_PREFIX, output_error, write_text

Status = Literal["planned", "running", "done", "refused", "failed"]

#: Everything a batch writes beside the case folders.
HIDDEN: Final = ".nodulus"
_SCHEMA: Final = 1


@dataclass(frozen=True)
class State:
    """Where one case stands.

    Args:
        key: hash of input, weights and options; a case that is done under the same key is not done again.
        fingerprint, input_sha256: of the input; where the first is unchanged the second is taken as unchanged.
        code, message, remedy: why it was refused or failed; always the first cause.
        stage: what it was doing when it failed.
        seconds: of wall time; peak_mb: of its process, so far.
    """

    case: str
    status: Status = "planned"
    key: str = ""
    fingerprint: str = ""
    input_sha256: str = ""
    code: str | None = None
    message: str | None = None
    remedy: str | None = None
    stage: str | None = None
    seconds: float | None = None
    peak_mb: int | None = None
    findings: int | None = None
    seriesuid: str | None = None


def key_of(input_sha256: str, study: str | None, weights_sha256: str, options: dict[str, Any]) -> str:
    """Hash of everything that a result depends on."""
    facts = [input_sha256, study, weights_sha256, options]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def exclusive(out: Path) -> Iterator[None]:
    """Keep other runs out of `out`; the operating system lifts the lock when this process ends, however it ends.

    Raises:
        UsageError: ``batch.locked``, naming the other process.
    """
    try:
        (out / HIDDEN).mkdir(parents=True, exist_ok=True)
        stream = (out / HIDDEN / "lock").open("a+")
    except OSError as error:
        raise output_error(error, out) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            raise UsageError("batch.locked", f"process {stream.read().strip()} is at work", where=out) from error
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


class Ledger:
    """The states of all cases of one output folder."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def read(self, case: str) -> State:
        """The case's state; a missing or damaged file means that nothing is known."""
        try:
            values = json.loads(self._path(case).read_text(encoding="utf-8"))
            if values.pop("schema_version") != _SCHEMA:
                return State(case)
            return State(**{name: values.get(name) for name in (f.name for f in fields(State))})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return State(case)

    def known(self, case: str) -> State:
        """What an earlier run found out about a case; what it had only begun, or whose result is gone, is not known."""
        state = self.read(case)
        lost = state.status == "done" and not self._has_result(case)
        return State(case) if lost or state.status == "running" else state

    def write(self, state: State) -> None:
        """Replace the case's state.

        Raises:
            OutputError: the disk is full or not writable; the earlier state is still there.
        """
        write_text(self._path(state.case), json.dumps({"schema_version": _SCHEMA, **asdict(state)}, indent=1) + "\n")

    def is_done(self, state: State, key: str) -> bool:
        """Whether a complete result of just this input, weights and options is there."""
        return state.status == "done" and state.key == key and self._has_result(state.case)

    def sweep(self) -> None:
        """Remove what a killed run left unfinished; call it under the lock."""
        for path in self.out.glob(f"{TEMPORARY_PREFIX}*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in (self.out / HIDDEN).glob(f"{TEMPORARY_PREFIX}*"):
            path.unlink(missing_ok=True)

    def write_tables(
        self, states: Sequence[State], inputs: Mapping[str, str], notices: Mapping[str, Notice] | None = None
    ) -> None:
        """`findings.csv`, `failures.csv` and `cases.csv` over all cases.

        Args:
            states: of all cases.
            inputs: case -> what was read.
            notices: case -> what is doubtful about it.
        """
        notices = notices or {}
        write_text(self.out / "findings.csv", self._findings(state for state in states if state.status == "done"))
        lost = [state for state in states if state.status in ("refused", "failed")]
        rows = [(s.case, inputs.get(s.case, ""), s.status, s.code, s.stage, s.message, s.remedy) for s in lost]
        write_text(
            self.out / "failures.csv", _csv(("case", "input", "status", "code", "stage", "message", "next"), rows)
        )
        columns = ("case", "status", "code", "findings", "seconds", "peak_mb", "seriesuid")
        header = (*columns, "input", "notice")
        said = {case: f"{notice.code}: {notice.message}" for case, notice in notices.items()}
        table = [(*(getattr(s, c) for c in columns), inputs.get(s.case, ""), said.get(s.case, "")) for s in states]
        write_text(self.out / "cases.csv", _csv(header, table))

    def _findings(self, done: Iterable[State]) -> str:
        """The cases' own tables under one header, with the case's name as the last column."""
        from imaging.outputs.findings_csv import COLUMNS

        rows = []
        for state in done:
            path = self.out / state.case / "findings.csv"
            with path.open(encoding="utf-8", newline="") as stream:
                rows += [(*row, state.case) for row in list(csv.reader(stream))[1:]]
        return _csv((*COLUMNS, "case"), rows)

    def _has_result(self, case: str) -> bool:
        return all((self.out / case / name).is_file() for name in ("report.json", "findings.csv"))

    def _path(self, case: str) -> Path:
        return self.out / HIDDEN / f"{case}.json"


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
