"""The table of matched findings: one row a nodule, how it changed, a click shows it in both studies."""

from __future__ import annotations

from typing import Any, Final

from qtpy.QtCore import Qt, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from imaging.findings import Finding
from imaging.registration.growth import Growth
from pipelines.viewer.comparison import ASSUMPTIONS, Comparison

COLUMNS: Final = ("#", "change", "mm³", "⌀ mm", "doubling")
COLOURS: Final = {"grown": "#ff8a65", "new": "#ffb000", "shrunk": "#2fd08a", "gone": "#9aa0a6"}


class GrowthTable(QTableWidget):
    """Rows follow `Comparison.rows`; `chosen` tells which one was selected."""

    chosen = Signal(int)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(0, len(COLUMNS), parent)
        self.setHorizontalHeaderLabels(COLUMNS)
        self.verticalHeader().hide()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setMinimumHeight(140)
        header = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
        self.itemSelectionChanged.connect(self._on_selection)

    def show_comparison(self, comparison: Comparison | None) -> None:
        """Write the rows anew and mark the one whose finding is selected."""
        rows = comparison.rows if comparison else ()
        self.blockSignals(True)
        self.setRowCount(len(rows))
        self.clearSelection()
        for at, row in enumerate(rows):
            assert comparison is not None
            for column, text in enumerate(cells(row)):
                item = QTableWidgetItem(text)
                item.setToolTip(tooltip(row))
                if column == 1 and row.change in COLOURS:
                    item.setForeground(QColor(COLOURS[row.change]))
                if column > 1:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
                self.setItem(at, column, item)
            here = comparison.sides(row)[0]
            if here is not None and here.tracking_uid == comparison.session.selected:
                self.selectRow(at)
        self.blockSignals(False)

    def _on_selection(self) -> None:
        rows = self.selectionModel().selectedRows()
        if rows:
            self.chosen.emit(rows[0].row())


def cells(row: Growth) -> tuple[str, ...]:
    """The texts of one row, in the order of `COLUMNS`; what was not measured stays empty."""
    change = row.volume_change
    volume = _from_to(_number(row.earlier, "volume_mm3", 0), _number(row.later, "volume_mm3", 0))
    percent = "" if change is None else f" ({100 * change:+.0f} %)".replace("-", "−")
    diameter = _from_to(_number(row.earlier, "diameter_mm", 1), _number(row.later, "diameter_mm", 1))
    doubling = "" if row.doubling_days is None else f"{row.doubling_days:.0f} d".replace("-", "halves in ")
    numbers = _from_to(_number(row.earlier, "number", 0), _number(row.later, "number", 0))
    return numbers, row.change, volume + percent, diameter, doubling


def tooltip(row: Growth) -> str:
    """Everything about a row, with what the numbers assume."""
    lines = [f"{row.change}: finding {cells(row)[0]} (earlier → later)"]
    if row.apart_mm is not None:
        lines.append(f"{row.apart_mm:.1f} mm apart after alignment")
    lines += [f"doubt: {code}" for code in row.doubts]
    return "\n".join([*lines, ASSUMPTIONS])


def _number(finding: Finding | None, field: str, digits: int) -> str:
    value = None if finding is None else getattr(finding, field)
    return "–" if value is None else f"{value:.{digits}f}"


def _from_to(before: str, after: str) -> str:
    return "" if before == after == "–" else f"{before} → {after}"
