"""The number of the slice beside napari's sliders, counted as the readout counts: from 1, of how many.

napari writes its steps there, counted from 0 (88 | 115 on the slice that a reader calls 89 of 116), and with them those
of other people's pictures that reach beyond the CT. As long as a CT is open its two numbers are hidden and one of our
own stands in their place; nothing of napari's is written to, so the two never write over one another. napari makes new
sliders when the number of axes changes, so they are looked for again then. They are found as Qt widgets by the names
that napari's style sheet goes by; in a napari without these names its own numbers stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtGui import QIntValidator
from qtpy.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from pipelines.viewer.axes import slice_of, some_slices_on, to_world
from pipelines.viewer.session import Session

#: Object names of napari's two numbers, and of the stroke between them.
NAMES_OF_NAPARI: Final = ("slice_label", "slice_label_sep")


class SliceNumber(QWidget):
    """``89 / 116`` of one axis of a session; another number can be typed."""

    def __init__(self, session: Session, axis: int) -> None:
        super().__init__()
        self._session, self._axis = session, axis
        count = session.grid.shape[axis]
        self.number = QLineEdit()
        self.number.setValidator(QIntValidator(1, 999_999, self))
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.number.setFixedWidth(self.fontMetrics().horizontalAdvance("8" * (len(str(count)) + 1)) + 6)
        self.number.setStyleSheet("background: transparent;")
        self.number.setAcceptDrops(False)
        self.number.editingFinished.connect(self._go)
        self.setToolTip(f"slice, counted from 1 to {count} as in the readout; type another one and press Enter")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.number)
        layout.addWidget(QLabel(f"/ {count}"))
        self.update_number()

    def text(self) -> str:
        """What a reader sees."""
        return f"{self.number.text()} / {self._session.grid.shape[self._axis]}"

    def _at(self) -> int:
        return int(slice_of(self._session.grid, to_world(self._session.point_mm))[self._axis])

    def update_number(self) -> None:
        """Follow the session."""
        self.number.setText(str(self._at() + 1))

    def _go(self) -> None:
        """To the slice that was typed; one beyond the last is the last."""
        by = int(self.number.text() or 0) - 1 - self._at()
        if by:
            self._session.go_to(some_slices_on(self._session.grid, self._session.point_mm, self._axis, by))
        self.update_number()
        self.number.clearFocus()


class SliceNumbers:
    """Stands in for the numbers beside the sliders of one viewer, as long as a session is open.

    Args:
        viewer: a napari viewer.
        window: gives the Qt window that it is in.
        session: whose slices are counted.
    """

    def __init__(self, viewer: Any, window: Callable[[], QWidget], session: Session) -> None:
        self._viewer, self._window, self._session = viewer, window, session
        self._ours: list[SliceNumber] = []
        self._unsubscribe = session.subscribe(self._on_change)
        viewer.dims.events.ndim.connect(self.find, position="last")
        self.find()

    def close(self) -> None:
        """Give the sliders back to napari as they were."""
        self._unsubscribe()
        self._viewer.dims.events.ndim.disconnect(self.find)
        self._let_go()

    def find(self, _: Any = None) -> None:
        """Stand beside the sliders of the session's axes, the last three."""
        self._let_go()
        others = self._viewer.dims.ndim - 3
        for slider in self._sliders():
            axis, layout = slider.axis - others, slider.layout()
            if axis < 0 or layout is None:
                continue
            for napari_s in _numbers_of(slider):
                napari_s.hide()
            self._ours.append(SliceNumber(self._session, axis))
            layout.addWidget(self._ours[-1])

    def _let_go(self) -> None:
        ours, self._ours = self._ours, []
        for number in ours:
            if isalive(number):  # type: ignore[no-untyped-call]
                for napari_s in _numbers_of(number.parentWidget()):
                    napari_s.show()
                number.setParent(None)
                number.deleteLater()

    def _sliders(self) -> list[Any]:
        """napari's widgets of a slider that are in use: those of before a change of axes are not in its layout."""
        numbers = self._window().findChildren(QWidget, NAMES_OF_NAPARI[0])
        sliders: dict[int, Any] = {id(slider): slider for slider in (number.parentWidget() for number in numbers)}
        return [one for one in sliders.values() if isinstance(getattr(one, "axis", None), int) and _used(one)]

    def _on_change(self, change: str) -> None:
        if change == "point":
            for number in self._ours:
                if isalive(number):  # type: ignore[no-untyped-call]
                    number.update_number()


def _used(slider: QWidget) -> bool:
    parent = slider.parentWidget()
    layout = None if parent is None else parent.layout()
    return layout is not None and layout.indexOf(slider) >= 0


def _numbers_of(slider: QWidget | None) -> list[QWidget]:
    return [] if slider is None else [w for name in NAMES_OF_NAPARI for w in slider.findChildren(QWidget, name)]
