"""The list of findings: one row each, sorted by score, a click jumps there.

Columns are as wide as what stands in them; the last one takes what is left and breaks into lines, so that all of it can
be read in a panel of any width. A word that is longer than its column is cut with dots; the hint holds all.
"""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from imaging.outputs import words
from pipelines.viewer.review import Reviewed
from pipelines.viewer.rings import STATE_COLOURS, STATE_SIGNS
from pipelines.viewer.session import Session

COLUMNS = ("", "#", "score", "⌀ mm", "where", "looks")
LOOKS = COLUMNS.index("looks")

#: Pixels above and below the lines of a row, together.
ROW_MARGIN = 8


class FindingList(QTableWidget):
    """Rows follow `Session.findings`; selecting a row selects the finding."""

    chosen = Signal(str)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(True)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumHeight(140)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(LOOKS, QHeaderView.ResizeMode.Stretch)
        header.sectionResized.connect(self._on_section_resized)
        self.itemSelectionChanged.connect(self._on_selection)
        self._uids: list[str] = []
        self._later = QTimer(self)  # widths are known only when the table has been laid out
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._fit_rows)

    def show_session(self, session: Session | None) -> None:
        """Write the rows anew and mark the selected one."""
        rows = session.findings if session else ()
        self.blockSignals(True)
        self.setRowCount(len(rows))
        for at, row in enumerate(rows):
            hint = tooltip(row, maker=session.maker) if session else ""
            for column, text in enumerate(cells(row)):
                self.setItem(at, column, _item(text, row, column, hint))
        self._uids = [row.finding.tracking_uid for row in rows]
        self.blockSignals(False)
        self._later.start(0)
        self.mark(session)

    def _fit_rows(self) -> None:
        for at in range(self.rowCount()):
            self.setRowHeight(at, self.sizeHintForRow(at) + ROW_MARGIN)

    def _on_section_resized(self, column: int, _: int, __: int) -> None:
        """Another width breaks the last column into other lines."""
        if column == LOOKS:
            self._later.start(0)

    def mark(self, session: Session | None) -> None:
        """Mark the row of the selected finding."""
        self.blockSignals(True)
        if session is not None and session.selected in self._uids:
            self.selectRow(self._uids.index(session.selected))
        else:
            self.clearSelection()
        self.blockSignals(False)

    def _on_selection(self) -> None:
        rows = self.selectionModel().selectedRows()
        if rows:
            self.chosen.emit(self._uids[rows[0].row()])


def cells(row: Reviewed) -> tuple[str, ...]:
    """The texts of one row, in the order of `COLUMNS`."""
    finding = row.finding
    diameter = "" if finding.diameter_mm is None else f"{finding.diameter_mm:.1f}"
    where = " ".join(part for part in (finding.side, finding.zone) if part)
    looks = [name for name, value in sorted(finding.attributes.items(), key=lambda pair: -pair[1]) if value >= 0.5]
    number = str(finding.number) + ("*" if row.edited else "")
    score = "reader" if row.original is None else words.score(finding.score)
    return STATE_SIGNS[row.state], number, score, diameter, where, ", ".join(looks)


def tooltip(row: Reviewed, *, maker: str, least: float = 0.0) -> str:
    """Everything about one finding, for the pointer that rests on it.

    Args:
        maker: who says so where the reader has not decided, see `Session.maker`.
        least: attributes are told from this score.
    """
    finding = row.finding
    lines = ["LPS ({:.1f}, {:.1f}, {:.1f}) mm".format(*finding.centre_mm)]
    lines[0] += f" · mean {finding.mean_hu:.0f} HU" if finding.mean_hu is not None else ""
    looks = sorted(finding.attributes.items(), key=lambda pair: -pair[1])
    words = [f"{name} {value:.2f}" for name, value in looks if value >= least]
    lines += [", ".join(words)] if words else []
    lines += [f"doubt: {note}" for note in finding.notes]
    lines += [_said(row) if row.state != "undecided" else f"{maker}, not reviewed"]
    lines += [f"comment: {row.comment}"] if row.comment else []
    return "\n".join(lines).replace(" -", " −").replace("(-", "(−")


def _said(row: Reviewed) -> str:
    when = f"{row.time[:16].replace('T', ' ')} UTC" if row.time else "as the opened report states"
    return f"{row.state} by {row.reviewer or 'an unnamed reader'}, {when}"


def _item(text: str, row: Reviewed, column: int, hint: str) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setToolTip(hint)
    if column == 0:
        item.setForeground(QColor(STATE_COLOURS[row.state]))
        font = item.font()
        font.setBold(True)
        item.setFont(font)
    if row.state == "rejected":
        item.setForeground(QColor(STATE_COLOURS["rejected"]))
    if column in (1, 2, 3):
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
