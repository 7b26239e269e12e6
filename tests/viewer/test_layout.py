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


def test_a_refusal_in_the_worklist_leaves_the_names_of_the_studies_their_room(desk):
    from pathlib import Path

    from pipelines.viewer.docking import dock_worklist
    from pipelines.viewer.window import arrange
    from pipelines.viewer.worklist import WAITING, Study

    arrange(desk.viewer)
    worklist = dock_worklist(desk.viewer)
    names = ("LIDC-IDRI-0132-20000101", "LIDC-IDRI-0133-20000101")
    worklist.studies = [
        Study(names[0], None, Path("a"), score=0.9999, findings=12, undecided=12),
        Study(names[1], None, Path("b"), refusal=WAITING["planned"]),
    ]
    worklist._fill()
    rest(desk)
    table = worklist.table
    for row, name in enumerate(names):
        room = table.visualItemRect(table.item(row, 0)).width()
        assert table.fontMetrics().horizontalAdvance(name) <= room - 8, (name, room)
    for column in range(1, 4):
        assert table.fontMetrics().horizontalAdvance(table.item(0, column).text()) <= table.columnWidth(column) - 6
    assert table.visualItemRect(table.item(1, 1)).width() >= 120
    assert table.item(1, 1).toolTip() == WAITING["planned"]
    worklist.studies = []
    worklist._fill()
    assert table.rowSpan(0, 1) == table.columnSpan(0, 1) == 1
    desk.viewer.window.remove_dock_widget(worklist)


@pytest.mark.parametrize("corner", [0, 1])
def test_the_number_of_a_ring_at_the_edge_is_written_inside_a_narrow_plane(desk, corner):
    """In a plane of no height to spare the picture fills the widget, so a ring at its edge reaches beyond."""
    from qtpy.QtGui import QPainter

    grid = desk.session.grid
    index = [0.0, 0.0, 0.0] if corner == 0 else [count - 1.0 for count in grid.shape]
    edge = tuple(float(value) for value in grid.to_mm(index))
    found = (replace(findings()[0], number=88, centre_mm=edge),)
    desk.session.set_result(a_report(findings=found), {}, folder=desk.session.folder)
    desk.press("N")
    for view in (view for view in desk.planes.views.values() if view.isVisible()):
        view.setFixedSize(160, 150)
        rest(desk)
        written = []

        class Watched(QPainter):
            def drawText(self, *where, seen=written):
                if where[-1] == "88":
                    seen.append(self.fontMetrics().boundingRect("88").translated(where[0].toPoint()))
                super().drawText(*where)

        painter = Watched(image := view.grab().toImage())
        view._draw_rings(painter)
        painter.end()
        assert len(written) == 1
        assert image.rect().contains(written[0]), (view.plane.name, written[0])
        view.setMinimumSize(160, 120)
        view.setMaximumSize(10_000, 10_000)
