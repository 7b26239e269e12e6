"""One number for one slice: beside the slider stands what the readout says; napari gets its own back."""

from __future__ import annotations

import os

import numpy as np
import pytest

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui

AXES = {"7": 0, "8": 1, "9": 2}


def beside_the_sliders(desk):
    """The texts that are seen beside the sliders that are seen, top first; napari's line edits and labels, and ours."""
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QApplication, QLabel, QLineEdit, QScrollBar, QWidget

    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # sliders that napari has done with
    rows = []
    bars = [bar for bar in desk.panel.window().centralWidget().findChildren(QScrollBar) if bar.isVisible()]
    for bar in bars:
        slider = bar.parentWidget()
        right = bar.mapToGlobal(bar.rect().topRight()).x()
        texts = [w for w in slider.findChildren(QWidget) if isinstance(w, QLabel | QLineEdit) and w.isVisible()]
        texts = [w for w in texts if w.mapToGlobal(w.rect().topLeft()).x() > right]
        texts.sort(key=lambda w: w.mapToGlobal(w.rect().topLeft()).x())
        rows.append((slider.mapToGlobal(slider.rect().topLeft()).y(), [w.text() for w in texts]))
    return [texts for _, texts in sorted(rows)]


def named(desk):
    """(slice, of how many) of the readout over the picture."""
    last = desk.viewer.canvas.overlays["nodulus_readout"].text.splitlines()[-1]
    return last.removeprefix("slice ").split("/")


@pytest.mark.parametrize("key", AXES)
def test_the_number_beside_the_slider_is_that_of_the_readout(desk, key):
    desk.press(key)
    for move in ("N", "Up", "N", "Down", "P"):
        desk.press(move)
        number, count = named(desk)
        assert beside_the_sliders(desk) == [[number, f"/ {count}"]]
    through = AXES[key]
    desk.viewer.dims.set_current_step(through, 0)
    desk.settle()
    assert beside_the_sliders(desk) == [["1", f"/ {desk.session.grid.shape[through]}"]]


@pytest.mark.parametrize("key", AXES)
def test_each_arrow_is_one_slice_from_the_middle_of_an_even_number_of_slices(desk, key):
    """There the point lies half-way between two slices: one key showed the same slice again, the next was two on."""
    desk.press(key)
    first = int(named(desk)[0])
    assert first - desk.session.grid.shape[AXES[key]] // 2 in (0, 1)
    for away, arrow in enumerate(("Up", "Up", "Up"), start=1):
        desk.press(arrow)
        assert int(named(desk)[0]) == first + away
    for away in (2, 1, 0, -1):
        desk.press("Down")
        assert int(named(desk)[0]) == first + away


def test_a_slice_can_be_typed_by_that_number(desk):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QLineEdit

    fields = desk.panel.window().centralWidget().findChildren(QLineEdit)
    field = next(field for field in fields if field.isVisible() and "counted from 1" in field.parentWidget().toolTip())
    for typed, reached in (("12", 11), ("1", 0), ("999", desk.session.grid.shape[0] - 1)):
        field.selectAll()
        desk.qtbot.keyClicks(field, typed)
        desk.qtbot.keyClick(field, Qt.Key.Key_Return)
        desk.settle()
        assert np.rint(desk.session.grid.to_index(desk.session.point_mm)[0]) == reached
        assert named(desk)[0] == str(reached + 1)
    desk.press("2")
    assert desk.session.window_name == "mediastinum", "the keys are the picture's again"


def test_beside_a_series_in_time_its_slider_keeps_naparis_number(desk):
    four = desk.viewer.add_image(np.zeros((7, 5, 5, 5), np.float32), name="a series in time")
    desk.viewer.dims.set_current_step(0, 3)
    desk.press("N")
    desk.settle()
    number, count = named(desk)
    assert beside_the_sliders(desk) == [[number, f"/ {count}"], ["3", "6"]]
    desk.viewer.layers.remove(four)
    desk.press("N")
    desk.settle()
    number, count = named(desk)
    assert beside_the_sliders(desk) == [[number, f"/ {count}"]]


def test_napari_gets_its_numbers_back(desk):
    other = desk.viewer.add_image(np.zeros((20, 5, 5), np.float32), name="somebody else's")
    desk.panel.leave()
    desk.viewer.dims.set_current_step(0, 3)
    desk.settle()
    assert beside_the_sliders(desk) == [["3", "19"]]
    desk.viewer.layers.remove(other)


def test_where_napari_has_no_such_numbers_nothing_is_changed(desk):
    from qtpy.QtWidgets import QWidget

    from pipelines.viewer.slice_numbers import SliceNumbers

    empty = QWidget()
    numbers = SliceNumbers(desk.viewer, lambda: empty, desk.session)
    desk.press("Up")
    numbers.close()
