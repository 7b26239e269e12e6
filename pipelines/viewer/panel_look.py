"""How the reading panel looks: its fields, buttons and keys; what they do is in `panel`."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from imaging.geometry import Volume
from pipelines.viewer.find_nodules import FindNodules
from pipelines.viewer.finding_list import FindingList
from pipelines.viewer.keys import KEYS
from pipelines.viewer.panel_buttons import BUTTONS


class PanelLook(QWidget):
    """The base of `ReadingPanel`; a subclass says what happens."""

    def tell(self, text: str) -> None:
        """Say something to the reader."""
        raise AttributeError("tell")

    def _do(self, action: str) -> None:
        raise AttributeError("_do")

    def _choose(self, tracking_uid: str) -> None:
        raise AttributeError("_choose")

    def _save_comment(self) -> None:
        raise AttributeError("_save_comment")

    def _set_reviewer(self) -> None:
        raise AttributeError("_set_reviewer")

    def _export(self) -> None:
        raise AttributeError("_export")

    def _volume(self) -> Volume | None:
        raise AttributeError("_volume")

    def _on_result(self, result: Any) -> None:
        raise AttributeError("_on_result")

    def _build(self) -> None:
        self.banner = QLabel()
        self.banner.setWordWrap(True)
        self.banner.setStyleSheet("font-weight: bold; padding: 4px;")
        self.findings = FindingList()
        self.findings.chosen.connect(self._choose)
        self.details = QLabel()
        self.details.setMinimumWidth(1)
        self.comment = QLineEdit()
        self.comment.setPlaceholderText("comment on the selected finding, Enter saves it")
        self.comment.returnPressed.connect(self._save_comment)
        self.reviewer = QLineEdit()
        self.reviewer.setPlaceholderText("your name, signed to each decision")
        self.reviewer.editingFinished.connect(self._set_reviewer)
        self.finder = FindNodules(self._volume, self._on_result, self.tell)
        self.notices = QLabel()
        self.notices.setWordWrap(True)
        self.notices.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.message.setStyleSheet("color: #ff8a65;")
        self.export = QPushButton("Export the review …")
        self.export.clicked.connect(self._export)
        layout = QVBoxLayout(self)
        for widget in (self.finder, self.banner, self.findings, self._buttons(), self.comment, self.details):
            layout.addWidget(widget)
        for widget in (self.reviewer, self.export, self.message, self.notices):
            layout.addWidget(widget)
        layout.addStretch(1)

    def _buttons(self) -> QWidget:
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.buttons: dict[str, QPushButton] = {}
        hints = {key.action: f"{key.meaning} ({key.key})" for key in KEYS}
        for text, action in BUTTONS:
            button = self.buttons[action] = QPushButton(text)
            button.setToolTip(hints[action])
            button.clicked.connect(lambda _=False, name=action: self._do(name))
            layout.addWidget(button)
        return row

    def _bind_keys(self) -> None:
        """The keys work while the panel has the focus too; a text field keeps its letters (Qt asks it first)."""
        for row in KEYS:
            shortcut = QShortcut(QKeySequence(row.key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda name=row.action: self._do(name))
