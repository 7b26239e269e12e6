"""How the reading panel looks: its fields, buttons and keys; what they do is in `panel`."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from imaging.errors import ImagingError
from imaging.geometry import Volume
from pipelines.viewer.find_nodules import FindNodules
from pipelines.viewer.finding_list import FindingList
from pipelines.viewer.keys import KEYS
from pipelines.viewer.panel_buttons import BUTTONS
from pipelines.viewer.wrapping import WrappedLabel


class PanelLook(QWidget):
    """The base of `ReadingPanel`; a subclass says what happens."""

    def tell(self, text: str, *, code: str = "") -> None:
        """Say something to the reader."""
        raise AttributeError("tell")

    def refuse(self, error: ImagingError) -> None:
        """Say what was refused."""
        raise AttributeError("refuse")

    def act(self, action: str) -> None:
        """Run the action of a key."""
        raise AttributeError("act")

    def _choose(self, tracking_uid: str) -> None:
        raise AttributeError("_choose")

    def _save_comment(self) -> None:
        raise AttributeError("_save_comment")

    def _begin_draft(self, _: str = "") -> None:
        raise AttributeError("_begin_draft")

    def _keep_draft(self) -> None:
        raise AttributeError("_keep_draft")

    def _set_diameter(self) -> None:
        raise AttributeError("_set_diameter")

    def _save(self) -> None:
        raise AttributeError("_save")

    def _save_elsewhere(self) -> None:
        raise AttributeError("_save_elsewhere")

    def _set_reviewer(self) -> None:
        raise AttributeError("_set_reviewer")

    def _export(self) -> None:
        raise AttributeError("_export")

    def _go_to_most_similar(self) -> None:
        raise AttributeError("_go_to_most_similar")

    def _volume(self) -> Volume | None:
        raise AttributeError("_volume")

    def _on_result(self, result: Any) -> None:
        raise AttributeError("_on_result")

    def _build(self) -> None:
        self.banner = WrappedLabel()
        self.banner.setStyleSheet("font-weight: bold; padding: 4px;")
        self.findings = FindingList()
        self.findings.chosen.connect(self._choose)
        self.details = WrappedLabel()
        self.comment = QLineEdit()
        self.comment.setPlaceholderText("comment on this finding")
        self.comment.textEdited.connect(self._begin_draft)
        self.comment.editingFinished.connect(self._keep_draft)
        self.comment.returnPressed.connect(self._save_comment)
        self.diameter = QDoubleSpinBox()
        self.diameter.setRange(0.0, 200.0)
        self.diameter.setDecimals(1)
        self.diameter.setSingleStep(0.5)
        self.diameter.setPrefix("⌀ ")
        self.diameter.setSuffix(" mm")
        self.diameter.setSpecialValueText("⌀ unknown")
        self.diameter.setToolTip("diameter of the selected finding; Enter saves it")
        self.diameter.editingFinished.connect(self._set_diameter)
        self.reviewer = QLineEdit()
        self.reviewer.setPlaceholderText("your name, signed to each decision")
        self.reviewer.editingFinished.connect(self._set_reviewer)
        self.reviewer.setAcceptDrops(False)
        self.comment.setAcceptDrops(False)
        self.finder = FindNodules(self._volume, self._on_result, self.tell)
        self.most_similar = QPushButton()
        self.most_similar.clicked.connect(self._go_to_most_similar)
        self.notices = WrappedLabel()
        self.message = WrappedLabel()
        self.message.hide()
        self.answered = WrappedLabel()
        self.answered.hide()
        self.save = QPushButton()
        self.save.clicked.connect(self._save)
        self.save.hide()
        self.save_elsewhere = QPushButton("Save them in another folder …")
        self.save_elsewhere.clicked.connect(self._save_elsewhere)
        self.save_elsewhere.hide()
        self.patient = QCheckBox("show who the patient is (W)")
        self.patient.clicked.connect(lambda: self.act("identify"))
        self.export = QPushButton("Export the review …")
        self.export.clicked.connect(self._export)
        content = QWidget()
        layout = QVBoxLayout(content)
        for widget in (
            self.finder,
            self.most_similar,
            self.banner,
            self.findings,
            self._buttons(),
            self.answered,
            self._entries(),
            self.details,
        ):
            layout.addWidget(widget)
        layout.setStretchFactor(self.findings, 1)  # the list takes the room that nothing else needs
        for widget in (self._signature(), self.export, self.message, self.save, self.save_elsewhere):
            layout.addWidget(widget)
        for widget in (self.notices, self.patient):
            layout.addWidget(widget)
        # A low window must not cut texts off.
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        area.setMinimumHeight(430)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)

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
            button.clicked.connect(lambda _=False, name=action: self.act(name))
            layout.addWidget(button)
        return row

    def _signature(self) -> QWidget:
        """Who decides."""
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("reader"))
        layout.addWidget(self.reviewer, 1)
        return row

    def _entries(self) -> QWidget:
        """What can be typed about the selected finding."""
        row = QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.comment, 1)
        layout.addWidget(self.diameter)
        return row

    def _bind_keys(self) -> None:
        """The keys work while the panel has the focus too; a text field keeps its letters (Qt asks it first)."""
        for row in KEYS:
            shortcut = QShortcut(QKeySequence(row.key), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(lambda name=row.action: self.act(name))
