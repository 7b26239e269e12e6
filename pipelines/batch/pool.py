"""A few worker processes, each with its own line to the parent, so that a death is known together with its case."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from imaging.errors import CODES, ImagingError, InputError, ModelError, OutputError, UsageError
from pipelines.batch.worker import Outcome, Setup, Task, work

_CLASSES = {"input": InputError, "model": ModelError, "output": OutputError, "usage": UsageError}


@dataclass
class _Worker:
    process: Any
    line: Connection
    task: Task | None = None
    stage: str | None = None
    started: float = field(default_factory=time.monotonic)
    ready: bool = False


class Pool:
    """Worker processes that are all stopped when the `with` block ends.

    Args:
        setup: what every worker is told.
        jobs: how many there are at most; each is started when it is first needed.
    """

    def __init__(self, setup: Setup, jobs: int) -> None:
        self._setup = setup
        self._jobs = jobs
        self._workers: list[_Worker] = []

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.line.close()
        self._workers.clear()

    def weights_sha256(self) -> str:
        """Of the model that the workers use; starts the first worker.

        Raises:
            ImagingError: what loading the model ended with.
        """
        worker = self._start()
        try:
            kind, facts = worker.line.recv()
        except EOFError as error:
            died = f"the first worker died while it loaded the model ({_how_it_died(worker)})"
            raise OutputError("batch.worker_died", died) from error
        if kind == "unfit":
            raise _as_error(facts)
        worker.ready = True
        return str(facts)

    def free(self) -> bool:
        """Whether another task can be given out now."""
        return len(self._busy()) < self._jobs

    def busy(self) -> bool:
        """Whether any task is under way."""
        return bool(self._busy())

    def give(self, task: Task) -> None:
        """Hand a task to a worker that is idle, starting one if none is.

        A worker that died while it waited had no task to lose: another one gets it.
        """
        for worker in [worker for worker in self._workers if worker.task is None]:
            if self._send(worker, task):
                return
            self._forget(worker)
        self._send(self._start(), task)  # if this one is dead already, `messages` says so

    def _send(self, worker: _Worker, task: Task) -> bool:
        worker.task, worker.stage, worker.started = task, None, time.monotonic()
        try:
            worker.line.send(task)
        except OSError:
            return False
        return True

    def _forget(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.line.close()

    def messages(self, timeout_s: float = 1.0) -> Iterator[tuple[Task, Any]]:
        """What the workers have said: (task, ("stage", name, done, total)) or (task, Outcome)."""
        lines: dict[Any, tuple[_Worker, Task]] = {w.line: (w, w.task) for w in self._workers if w.task is not None}
        for line in wait(list(lines), timeout_s):
            worker, task = lines[line]
            try:
                message = worker.line.recv()
            except (EOFError, OSError):
                yield task, self._lost(worker)
                continue
            if message[0] == "outcome":
                worker.task = None
                yield task, message[1]
            elif message[0] == "stage":
                worker.stage = message[1]
                yield task, message
            elif message[0] == "unfit":
                raise _as_error(message[1])

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.task is not None]

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, self._setup, os.getpid()), daemon=True)
        process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _lost(self, worker: _Worker) -> Outcome:
        """The outcome of a case whose worker died; a new worker is started when it is needed."""
        how = _how_it_died(worker)
        self._forget(worker)
        seconds = round(time.monotonic() - worker.started, 2)
        error = OutputError("batch.worker_died", f"{how} while {worker.stage or 'starting'}")
        return Outcome("failed", seconds, 0, error.to_json(), worker.stage)


def _how_it_died(worker: _Worker) -> str:
    worker.process.join(5)
    code = worker.process.exitcode
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (", most likely for want of memory" if name == "SIGKILL" else "")
    return f"ended with {code}"


def _as_error(facts: dict[str, Any]) -> ImagingError:
    """The error that a worker sent as plain values."""
    kind = CODES[facts["code"]].kind
    return _CLASSES[kind](facts["code"], facts["message"], where=facts.get("where"), remedy=facts.get("remedy"))
