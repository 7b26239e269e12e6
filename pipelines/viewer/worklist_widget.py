"""The worklist as a table: choose a batch folder, page through its studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from imaging.errors import ImagingError
from imaging.outputs import words
from pipelines.viewer.docking import dock_panel, docked, may_leave
from pipelines.viewer.opening import open_session
from pipelines.viewer.session import Session
from pipelines.viewer.weak_labels import MANIFEST, write_manifest
from pipelines.viewer.worklist import ORDERS, Study, in_order, label_rows, read_worklist
from pipelines.viewer.wrapping import WrappedLabel

if TYPE_CHECKING:
    import napari

COLUMNS = ("study", "score", "findings", "undecided")
LABELS = {"score": "most suspicious first", "undecided": "most undecided first", "name": "by name"}


class WorklistPanel(QWidget):
    """Opens a study with a double click or with Page Down and Page Up."""

    nodulus_role = "worklist"

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self.out: Path | None = None
        self.studies: list[Study] = []
        self.at = -1
        self._unsubscribe: Callable[[], None] = lambda: None
        self.order = QComboBox()
        for order in ORDERS:
            self.order.addItem(LABELS[order], order)
        self.order.currentIndexChanged.connect(lambda _: self.refresh())
        choose = QPushButton("Batch folder …")
        choose.clicked.connect(self._choose)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels(COLUMNS)
        self.table.verticalHeader().hide()
        self.table.setWordWrap(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column, title in enumerate(COLUMNS[1:], start=1):
            # By the titles and the widest score: a refusal lies over all three and must not make one of them wider.
            widest = max(header.fontMetrics().horizontalAdvance(text) for text in (title, words.score(0.9999)))
            self.table.setColumnWidth(column, widest + 16)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.cellDoubleClicked.connect(lambda row, _: self.open(row))
        self.labels = QPushButton("Export the labels …")
        self.labels.setToolTip("a table of scans, with and without nodules by your decisions, for nodulus train")
        self.labels.clicked.connect(self._choose_table)
        self.labels.setEnabled(False)
        self.message = WrappedLabel()
        top = QHBoxLayout()
        top.addWidget(choose)
        top.addWidget(self.order)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self.table)
        layout.addWidget(self.labels)
        layout.addWidget(self.message)

    def _choose(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Output folder of nodulus batch")
        if folder:
            self.show_folder(Path(folder))

    def _choose_table(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Table of labels for nodulus train", MANIFEST, "Table (*.csv)")
        if name:
            self.export_labels(Path(name))

    def export_labels(self, path: Path) -> None:
        """Write what the decisions on all studies imply for each scan as a whole."""

        def write() -> None:
            rows = label_rows(self.studies)
            write_manifest(rows, path)
            known = sum(row["nodule"] != "" for row in rows)
            self.message.setText(f"{known} of {len(self.studies)} studies have a label, written to {path}")

        self._try(write)

    def show_folder(self, out: Path) -> None:
        """List the studies of a batch's output folder; a refusal is said below the table."""
        self.out, self.at = out, -1
        self.refresh()

    def refresh(self) -> None:
        """Read the folder again, so that decisions count, and sort; the open study stays the open one."""
        if self.out is None:
            return
        name = self.studies[self.at].name if 0 <= self.at < len(self.studies) else None
        if self._try(lambda: setattr(self, "studies", in_order(read_worklist(self.out), self.order.currentData()))):  # type: ignore[arg-type]
            self.at = next((at for at, study in enumerate(self.studies) if study.name == name), -1)
            self._fill()

    def _fill(self) -> None:
        self.labels.setEnabled(bool(self.studies))
        self.table.clearSpans()
        self.table.setRowCount(len(self.studies))
        for at, study in enumerate(self.studies):
            texts = (study.name, words.score(study.score), str(study.findings), str(study.undecided))
            without = (study.name, study.brief_refusal, "", "")  # all of it is in the hint
            for column, text in enumerate(without if study.refusal else texts):
                item = QTableWidgetItem(text)
                item.setToolTip(study.refusal or str(study.source or study.folder))
                if column:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(at, column, item)
            if study.refusal:
                self.table.setSpan(at, 1, 1, len(COLUMNS) - 1)

    def step(self, by: int) -> None:
        """Open the next (1) or previous (-1) study that has a result."""
        at = self.at + by
        while 0 <= at < len(self.studies) and self.studies[at].refusal:
            at += by
        if 0 <= at < len(self.studies):
            self.open(at)
        else:
            self.message.setText("this is the last study" if by > 0 else "this is the first study")

    def open(self, at: int) -> None:
        """Open a study with its result in the viewer; what was open is closed, its decisions are on the disk."""
        study = self.studies[at]
        if study.source is None or study.refusal:
            self.message.setText(study.refusal or "the batch does not say where this CT lies")
            return
        source, reader = study.source, self._reader()
        if not may_leave(self.viewer):
            return
        if self._try(lambda: self._show(open_session(source, study.folder, reviewer=reader))):
            self.at = at
            self.refresh()
            self.table.selectRow(self.at)

    def _reader(self) -> str:
        """The name that the reader has typed for the study before."""
        panel = docked(self.viewer, "panel")
        return panel.session.reviewer if panel is not None and panel.session is not None else ""

    def _show(self, session: Session) -> None:
        dock_panel(self.viewer).adopt(session)
        self._unsubscribe()
        self._unsubscribe = session.subscribe(lambda change: self._on_change(change, session))

    def _on_change(self, change: str, session: Session) -> None:
        """Decisions on the open study count at once; the others are read again when one is opened."""
        study = self.studies[self.at] if 0 <= self.at < len(self.studies) else None
        if change == "findings" and study is not None and study.folder == session.folder:
            self.studies[self.at] = replace(study, findings=len(session.findings), undecided=session.undecided)
            self._fill()

    def _try(self, action: Callable[[], object]) -> bool:
        self.message.clear()
        try:
            action()
        except ImagingError as error:
            self.message.setText(str(error))
            return False
        return True
