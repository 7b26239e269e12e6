"""Find nodules: runs `pipelines.predict` off the window's thread, with progress and cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QLabel, QLineEdit, QProgressBar, QPushButton, QWidget

from imaging.geometry import Volume
from pipelines.progress import label_of, percent
from pipelines.viewer.work import Work

if TYPE_CHECKING:
    from imaging.outputs.case import CaseResult

OnStage = Callable[[str, int, int], None]
Job = Callable[[Volume, str | None, OnStage], "CaseResult"]


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
        self.work = Work(self._show_progress, self._on_finished, failed)
        self.prompt = QLineEdit()
        self.prompt.setPlaceholderText("e.g. ground-glass nodule")
        self.prompt.setToolTip(
            "what to look for, in your words (optional): the search then shows where the CT is like it"
        )
        self.prompt.setAcceptDrops(False)
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

    def _press(self) -> None:
        if self.work.running:
            self.stage.setText("cancelling …")
            self.work.stop()
            return
        volume = self._volume()
        if volume is None:
            self._failed("Open a CT first.")
            return
        job, prompt = self.job, self.prompt.text().strip() or None
        self.button.setText("Cancel")
        self.bar.setValue(0)
        self.bar.show()
        self.stage.show()
        self.work.start(lambda on_stage: job(volume, prompt, on_stage))

    def _show_progress(self, stage: str, done: int, total: int) -> None:
        if self.work.running:
            self.bar.setValue(round(percent(stage, done, total)))
            self.stage.setText(label_of(stage))

    def _on_finished(self, result: CaseResult | None) -> None:
        self.button.setText("Find nodules")
        self.bar.hide()
        self.stage.hide()
        if result is not None:
            self._finished(result)

    def stop(self) -> None:
        """Ask a running job to stop; its result is thrown away."""
        self.work.stop()


def analyse_volume(volume: Volume, prompt: str | None, on_stage: OnStage) -> CaseResult:
    """Run the pipeline on a CT that is open already and keep the result where `own_folder` says."""
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
