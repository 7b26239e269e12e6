"""Asks where the review goes, who signs it and whether it is verified, and exports it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from imaging.errors import ImagingError, UsageError
from imaging.outputs import words
from pipelines.viewer.export import can_write_sr, export_review
from pipelines.viewer.identifiers import shortened
from pipelines.viewer.session import Session
from pipelines.viewer.wrapping import WrappedLabel


class ExportDialog(QDialog):
    """Stays open until the export has succeeded or is cancelled; `files` is what was written."""

    def __init__(self, session: Session, parent: Any = None) -> None:
        super().__init__(parent)
        self.session = session
        self.files: dict[str, Path] = {}
        self.setWindowTitle("nodulus: export the review")
        self.setMinimumWidth(560)
        self.folder = QLineEdit(str(free_folder(session)))
        self.reader = QLineEdit(", ".join(session.readers) or session.reviewer)
        self.reader.setReadOnly(True)
        self.organisation = QLineEdit()
        self.organisation.setPlaceholderText("leave empty for an unverified report")
        self.organisation.setEnabled(can_write_sr(session) and session.undecided == 0 and bool(session.reviewer))
        self.what = QLabel(describe(session))
        self.what.setWordWrap(True)
        self.message = WrappedLabel()
        self.message.setStyleSheet("color: #ff8a65;")
        self.buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel)
        self.buttons.accepted.connect(self._export)
        self.buttons.rejected.connect(self.reject)
        form = QFormLayout()
        form.addRow("new folder", self._place())
        form.addRow("decided by", self.reader)
        form.addRow(f"verified by {shortened(session.reviewer, most=30) or '…'} for", self.organisation)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        for widget in (self.what, self.message, self.buttons):
            layout.addWidget(widget)

    def _place(self) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        browse = QPushButton("Browse …")
        browse.clicked.connect(self._browse)
        layout.addWidget(self.folder, 1)
        layout.addWidget(browse)
        return row

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "An empty folder for the review")
        if chosen:
            self.folder.setText(chosen)

    def _named(self) -> Path:
        text = self.folder.text().strip()
        if not text:
            raise UsageError("usage.option", "no folder is named")
        return Path(text).expanduser()

    def _export(self) -> None:
        try:
            folder = self._named()
            self.files = export_review(self.session, folder, organisation=self.organisation.text().strip())
        except ImagingError as error:
            self.message.setText(str(error))
            return
        self.accept()


def free_folder(session: Session) -> Path:
    """A name beside the result that is not taken yet."""
    base = session.folder or Path.home() / "nodulus"
    names = [base.with_name(f"{base.name}-reviewed")]
    names += [base.with_name(f"{base.name}-reviewed-{number}") for number in range(2, 1000)]
    return next((name for name in names if not name.exists()), names[-1])


def describe(session: Session) -> str:
    """What will be written, and what will not, and why."""
    lines = ["The reviewed report.json and findings.csv; the AI's own files stay as they are."]
    if session.source is not None:
        lines.append("weak_labels.csv: whether the scan holds a nodule, for nodulus train.")
    if can_write_sr(session):
        lines.append("sr_reviewed.dcm: a new version of the DICOM report; it carries the patient's name and ID.")
    else:
        lines.append("No DICOM report: it needs a DICOM series, a decision and your name.")
    if session.undecided:
        lines.append(f"{words.count(session.undecided, 'finding')} undecided: marked as such, not in the DICOM report.")
    return "\n".join(f"• {line}" for line in lines)


def export(parent: Any, session: Session) -> None:
    """Export where the reader says; nothing where the question is cancelled."""
    dialog = ExportDialog(session, parent)
    if dialog.exec() == QDialog.DialogCode.Accepted:
        folder = next(iter(dialog.files.values())).parent
        parent.say(f"written to {folder}: {', '.join(dialog.files)}")
