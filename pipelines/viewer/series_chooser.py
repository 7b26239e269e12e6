"""Which series? Shown where a path holds several; those that cannot be opened are listed with their reasons."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QListWidget, QListWidgetItem, QVBoxLayout

from imaging.io import SeriesInfo


class SeriesChooser(QDialog):
    """A list of series; `chosen` is the selected one."""

    def __init__(self, usable: list[SeriesInfo], unusable: list[SeriesInfo], parent: Any = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("nodulus: which series?")
        self.resize(640, 320)
        self.rows = QListWidget()
        for info in usable:
            item = QListWidgetItem(describe(info))
            item.setData(Qt.ItemDataRole.UserRole, info)
            self.rows.addItem(item)
        for info in unusable:
            item = QListWidgetItem(f"{describe(info)}\n    not usable: {info.reason} ({info.code})")
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.rows.addItem(item)
        self.rows.setCurrentRow(0)
        self.rows.itemDoubleClicked.connect(lambda _: self.accept())
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("There are several series. Open one of them:"))
        layout.addWidget(self.rows)
        layout.addWidget(buttons)

    @property
    def chosen(self) -> SeriesInfo | None:
        """The selected series."""
        item = self.rows.currentItem()
        info: SeriesInfo | None = None if item is None else item.data(Qt.ItemDataRole.UserRole)
        return info


def describe(info: SeriesInfo) -> str:
    """One line on a series; never a patient's name."""
    slices = f"{info.instances} images"
    spacing = f"{info.slice_spacing_mm:.4g} mm apart" if info.slice_spacing_mm else ""
    parts = (info.description or "no description", info.modality, slices, spacing, info.convolution_kernel, info.group)
    return " · ".join(str(part) for part in parts if part)


def ask(usable: list[SeriesInfo], unusable: list[SeriesInfo], parent: Any = None) -> SeriesInfo | None:
    """Ask the reader; None where the question was cancelled."""
    dialog = SeriesChooser(usable, unusable, parent)
    return dialog.chosen if dialog.exec() == QDialog.DialogCode.Accepted else None
