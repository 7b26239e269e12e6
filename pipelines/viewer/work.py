"""One long job beside the window: progress, cancel, and its end told in the window's thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from imaging.errors import ImagingError

OnProgress = Callable[[int, int], None]


class Cancelled(Exception):
    """The reader pressed Cancel."""


class _Steps(QObject):
    """Carries progress from the worker's thread to the window's."""

    at = Signal(int, int)


class Work:
    """Runs one job at a time.

    Args:
        progress: called with (steps done, steps).
        finished: called with what the job returned, or None where it was cancelled or refused.
        failed: called with a sentence: a refusal in its own words, or what broke.
    """

    def __init__(self, progress: OnProgress, finished: Callable[[Any], None], failed: Callable[[str], None]) -> None:
        self._finished, self._failed = finished, failed
        self._worker: Any = None
        self._outcome: Any = None
        self._refusal = ""
        self._steps = _Steps()
        self._steps.at.connect(progress)

    @property
    def running(self) -> bool:
        """Whether a job is under way."""
        return self._worker is not None

    def start(self, job: Callable[[OnProgress], Any]) -> None:
        """Run a job; it is handed a function that takes its progress and raises where it is cancelled."""
        from napari.qt.threading import create_worker

        def on_progress(done: int, total: int) -> None:
            if worker.abort_requested:
                raise Cancelled
            self._steps.at.emit(done, total)

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
