"""Find nodules: runs `pipelines.predict` off the window's thread, with progress and cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QProgressBar, QPushButton, QWidget

from imaging.errors import ImagingError
from imaging.geometry import Volume
from pipelines.progress import label_of, percent
from pipelines.viewer.triton_guard import keep_triton_away

if TYPE_CHECKING:
    from imaging.outputs.case import CaseResult

OnStage = Callable[[str, int, int], None]
Job = Callable[[Volume, str | None, OnStage], "CaseResult"]


class Cancelled(Exception):
    """The reader pressed Cancel."""


class _Progress(QObject):
    """Carries progress from the worker's thread to the window's."""

    at = Signal(str, int, int)


class FindNodules(QWidget):
    """A prompt, a button and a bar.

    Args:
        volume: gives the CT that is open, or None.
        finished: called in the window's thread with the result.
        failed: called with a sentence: a refusal in its own words, or what broke.
        job: what is run; `analyse_volume` by default.
    """

    def __init__(
        self,
        volume: Callable[[], Volume | None],
        finished: Callable[[CaseResult], None],
        failed: Callable[[str], None],
        *,
        job: Job | None = None,
    ) -> None:
        super().__init__()
        self._volume, self._finished, self._failed = volume, finished, failed
        self.job: Job = job or analyse_volume
        self.worker: Any = None
        self._outcome: CaseResult | str | None = None  # what the job ended with; None if it was cancelled
        self.prompt = QLineEdit()
        self.prompt.setPlaceholderText("what to look for, e.g. ground-glass nodule (optional)")
        self.button = QPushButton("Find nodules")
        self.bar = QProgressBar()
        self.bar.setRange(0, 100)
        self.bar.hide()
        self.stage = QLabel("")
        self.stage.hide()
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.prompt, 0, 0)
        layout.addWidget(self.button, 0, 1)
        layout.addWidget(self.bar, 1, 0, 1, 2)
        layout.addWidget(self.stage, 2, 0, 1, 2)
        self.button.clicked.connect(self._press)
        self._progress = _Progress()
        self._progress.at.connect(self._show_progress)

    def _press(self) -> None:
        if self.worker is not None:
            self.stage.setText("cancelling …")
            self.worker.quit()
            return
        volume = self._volume()
        if volume is None:
            self._failed("Open a CT first.")
            return
        self._start(volume, self.prompt.text().strip() or None)

    def _start(self, volume: Volume, prompt: str | None) -> None:
        from napari.qt.threading import create_worker

        def on_stage(stage: str, done: int, total: int) -> None:
            if worker.abort_requested:
                raise Cancelled
            self._progress.at.emit(stage, done, total)

        def run() -> None:
            try:
                self._outcome = self.job(volume, prompt, on_stage)
            except Cancelled:
                self._outcome = None
            except ImagingError as error:
                self._outcome = str(error)
            except Exception as error:  # a bug must reach the reader, not only a log
                self._outcome = f"Something is wrong in nodulus itself: {error!r}"

        self._outcome = None
        worker = self.worker = create_worker(run, _start_thread=False)
        worker.finished.connect(self._on_finished)
        self.button.setText("Cancel")
        self.bar.setValue(0)
        self.bar.show()
        self.stage.show()
        worker.start()

    def _show_progress(self, stage: str, done: int, total: int) -> None:
        if self.worker is not None:
            self.bar.setValue(round(percent(stage, done, total)))
            self.stage.setText(label_of(stage))

    def _on_finished(self) -> None:
        outcome, self._outcome, self.worker = self._outcome, None, None
        self.button.setText("Find nodules")
        self.bar.hide()
        self.stage.hide()
        if isinstance(outcome, str):
            self._failed(outcome)
        elif outcome is not None:
            self._finished(outcome)

    def stop(self) -> None:
        """Ask a running job to stop; its result is thrown away."""
        if self.worker is not None:
            self.worker.quit()


def analyse_volume(volume: Volume, prompt: str | None, on_stage: OnStage) -> CaseResult:
    """Run the pipeline on a CT that is open already and keep the result where `own_folder` says."""
    keep_triton_away()
    from imaging.preprocessing.lungs import find_lungs
    from pipelines.analysis_options import AnalysisOptions
    from pipelines.chosen_series import Chosen
    from pipelines.predict import analyse
    from pipelines.progress import part_of

    on_stage("read", 1, 1)
    lungs = find_lungs(volume, on_progress=part_of(on_stage, "lungs"))
    chosen = Chosen(volume, lungs, "the series that was open in the viewer", ())
    return analyse(chosen, AnalysisOptions(prompt=prompt), on_stage=on_stage)


def keep(result: CaseResult, folder: Path) -> None:
    """Write a result where it can be opened again; the report of the one before is set aside, not overwritten.

    Raises:
        OutputError: the folder cannot be written; an earlier result is still there.
    """
    from imaging.outputs import write_case
    from pipelines.result_folder import result_folder

    _set_aside(folder / "report.json")
    with result_folder(folder, overwrite=True) as unfinished:
        write_case(result, unfinished, formats=("csv", "json", "maps"))


def _set_aside(report: Path) -> None:
    """Copy a report to ``earlier/`` under the hash of its bytes: decisions may have been made on it."""
    from imaging.io.atomic import write_bytes
    from imaging.provenance import file_sha256

    if report.is_file():
        write_bytes(report.parent / "earlier" / f"report-{file_sha256(report)[:12]}.json", report.read_bytes())
