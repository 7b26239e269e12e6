"""The process that analyses cases: it loads the model once and never outlives its parent.

It is started anew (spawn), for a fork of a process that has used torch can lock up. Messages to the parent are tuples:
``("ready", weights_sha256)``, ``("unfit", error)``, ``("stage", stage, done, total)``, ``("outcome", outcome)``.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from imaging.errors import ImagingError, InputError, UsageError
from pipelines.progress import OnStage
from pipelines.silence import silence_libraries


@dataclass(frozen=True)
class Setup:
    """What every worker is told once.

    Args:
        analyser: import string of a class as `CaseAnalyser`.
        threads: how many threads this worker may use.
        options: `weights`, `device` and the other arguments of `pipelines.predict.analyse_to_folder`.
    """

    threads: int
    options: dict[str, Any]
    analyser: str = "pipelines.batch.worker:CaseAnalyser"


@dataclass(frozen=True)
class Task:
    """One case to analyse: what to read and where to write."""

    case: str
    path: Path
    folder: Path
    study: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How one case ended; `error` is the first cause as plain values."""

    status: str
    seconds: float
    peak_mb: int
    error: dict[str, Any] = field(default_factory=dict)
    stage: str | None = None
    findings: int | None = None
    seriesuid: str | None = None


class Analyser(Protocol):
    """Analyses one case after another with one model."""

    weights_sha256: str

    def __call__(self, task: Task, *, on_stage: OnStage) -> tuple[int, str]: ...


class CaseAnalyser:
    """`pipelines.predict.analyse_to_folder` with a model loaded once."""

    def __init__(self, options: dict[str, Any]) -> None:
        from pipelines.devices import load_on

        self._options = dict(options)
        weights = self._options.pop("weights")
        self._model = load_on(self._options["device"], weights)
        self.weights_sha256 = self._model.sha256

    def __call__(self, task: Task, *, on_stage: OnStage) -> tuple[int, str]:
        """Write the case's folder; the number of findings and the series."""
        from pipelines.predict import analyse_to_folder

        result, _ = analyse_to_folder(
            task.path,
            task.folder,
            study=task.study,
            model=self._model,
            overwrite=True,
            on_stage=on_stage,
            **self._options,
        )
        return len(result.report.findings), result.report.seriesuid


def work(connection: Connection, setup: Setup, parent: int) -> None:
    """The life of a worker: get ready, then analyse what comes until None comes or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_libraries()
    _end_with(parent)
    _limit_threads(setup.threads)
    try:
        module, name = setup.analyser.split(":")
        analyser: Analyser = getattr(import_module(module), name)(setup.options)
    except Exception as error:
        connection.send(("unfit", _facts(error)))
        return
    connection.send(("ready", analyser.weights_sha256))
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        if task is None:
            return
        connection.send(("outcome", _attempt(analyser, task, connection.send)))


def _attempt(analyser: Analyser, task: Task, send: Callable[[Any], None]) -> Outcome:
    started = time.monotonic()
    stage: str | None = None

    def on_stage(name: str, done: int, total: int) -> None:
        nonlocal stage
        stage = name
        send(("stage", name, done, total))

    try:
        findings, seriesuid = analyser(task, on_stage=on_stage)
    except (Exception, MemoryError) as error:
        status = "refused" if isinstance(error, (InputError, UsageError)) else "failed"
        return Outcome(status, _since(started), _peak_mb(), _facts(error), stage)
    return Outcome("done", _since(started), _peak_mb(), findings=findings, seriesuid=seriesuid)


def _facts(error: BaseException) -> dict[str, Any]:
    """The error as plain values; of a bug the place in the code, not the message, which may quote the header."""
    if isinstance(error, ImagingError):
        return error.to_json()
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else ""
    code = "batch.memory" if isinstance(error, MemoryError) else "batch.internal"
    return {"code": code, "message": f"{type(error).__name__}{place}", "where": None}


def _since(started: float) -> float:
    return round(time.monotonic() - started, 2)


def _peak_mb() -> int:
    """The highest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1e6 if sys.platform == "darwin" else 1e3))


def _limit_threads(threads: int) -> None:
    """Divide the cores among the workers; must run before numpy, torch and SimpleITK are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
        os.environ[name] = str(threads)


def _end_with(parent: int) -> None:
    """End this process when its parent is gone: a killed batch leaves no worker behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
