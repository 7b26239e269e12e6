"""One long job beside the window: progress, cancel, and its end told in the window's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from imaging.errors import ImagingError
from pipelines.viewer.triton_guard import keep_triton_away

#: Takes what the job says of its progress; raises where the job is cancelled.
OnProgress = Callable[..., None]


class Cancelled(Exception):
    """The reader pressed Cancel."""


class _Steps(QObject):
    """Carries progress from the worker's thread to the window's."""

    at = Signal(object)


class Work:
    """Runs one job at a time; every job of the viewer that takes longer than a moment runs here.

    Any job may be the first to load the network, so Triton is kept away before each.

    Args:
        progress: called with what the job handed to its `OnProgress`, as (steps done, steps).
        finished: called with what the job returned, or None where it was cancelled or refused.
        failed: called with a sentence: a refusal in its own words, or what broke.
    """

    def __init__(self, progress: OnProgress, finished: Callable[[Any], None], failed: Callable[[str], None]) -> None:
        self._finished, self._failed = finished, failed
        self._worker: Any = None
        self._outcome: Any = None
        self._refusal = ""
        self._steps = _Steps()
        self._steps.at.connect(lambda step: progress(*step))

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._worker is not None

    def start(self, job: Callable[[OnProgress], Any]) -> None:
        """Run a job; it is handed a function that takes its progress and raises where it is cancelled."""
        from napari.qt.threading import create_worker

        keep_triton_away()

        def on_progress(*step: Any) -> None:
            if worker.abort_requested:
                raise Cancelled
            self._steps.at.emit(step)

        def run() -> None:
            try:
                self._outcome = job(on_progress)
            except Cancelled:
                pass
            except ImagingError as error:
                self._refusal = str(error)
            except Exception as error:  # a bug must reach the reader, not only a log
                self._refusal = f"Something is wrong in nodulus itself: {error!r}"

        self._outcome, self._refusal = None, ""
        worker = self._worker = create_worker(run, _start_thread=False)
        worker.finished.connect(self._on_finished)
        worker.start()

    def stop(self) -> None:
        """Ask the job to stop."""
        if self._worker is not None:
            self._worker.quit()

    def _on_finished(self) -> None:
        outcome, self._outcome, self._worker = self._outcome, None, None
        if self._refusal:
            self._failed(self._refusal)
        self._finished(outcome)
