"""Everything that the panels write can be read: in the window's first size, in a narrow panel, in a narrow plane."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from viewer.conftest import a_report, findings

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui

LOOKS = ("solid", "ground-glass", "part-solid", "calcified", "spiculated", "lobulated", "smooth", "small", "large")


@pytest.fixture
def wordy(desk):
    """The desk in the window's first size, each finding with more looks than the one before."""
    from pipelines.viewer.window import arrange

    found = tuple(
        replace(one, attributes=dict.fromkeys(LOOKS[:count], 0.9))
        for one, count in zip(findings(), (1, 4, 9), strict=True)
    )
    desk.session.set_result(a_report(findings=found), {}, folder=desk.session.folder)
    arrange(desk.viewer)
    rest(desk)
    return desk


def rest(desk):
    """Until the docks and the rows have their sizes."""
    desk.qtbot.wait(100)
    desk.settle()


def assert_readable(table):
    """Every cell's text, broken into lines at its column's width, fits into the cell, and all cells into the table."""
    from qtpy.QtCore import QRect, Qt

    assert sum(table.columnWidth(at) for at in range(table.columnCount())) <= table.viewport().width()
    wraps = int(Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignLeft)
    for row in range(table.rowCount()):
        for column in range(table.columnCount()):
            text = table.item(row, column).text()
            room = table.visualItemRect(table.item(row, column))
            asked = table.fontMetrics().boundingRect(QRect(0, 0, room.width() - 6, 1000), wraps, text)
            assert asked.width() <= room.width() - 4, text
            assert asked.height() <= room.height(), text


@pytest.mark.parametrize("width", [None, 330])
def test_all_columns_of_the_list_can_be_read(wordy, width):
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QDockWidget

    if width is not None:
        main = wordy.panel.window()
        dock = next(one for one in main.findChildren(QDockWidget) if one.isAncestorOf(wordy.panel))
        main.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
        rest(wordy)
    assert_readable(wordy.panel.findings)
    assert "spiculated" in wordy.panel.findings.item(2, 5).toolTip(), "the hint has all of it, whatever the width"


def test_the_list_takes_the_room_that_nothing_else_needs(wordy):
    panel = wordy.panel
    content = panel.findings.parentWidget()
    lowest = max(child.geometry().bottom() for child in content.children() if getattr(child, "isVisible", bool)())
    assert content.height() - lowest <= 20
    others = panel.patient.geometry().bottom() - panel.findings.geometry().bottom()
    assert panel.findings.height() > content.height() - others - 100
