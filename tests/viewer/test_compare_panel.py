"""The other study beside the picture: what is drawn where, the table, and a job that is cancelled or refused."""

from __future__ import annotations

import os
from threading import Event

import numpy as np
import pytest
from viewer.conftest import MARKS
from viewer.two_studies import ALIGNMENT, moved, now_and_then

from imaging.errors import InputError, Notice
from pipelines.viewer.comparison import Beside, Comparison

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui


@pytest.fixture
def beside(own_desk, tmp_path):
    """A window with the two studies of the phantom side by side."""
    from pipelines.viewer.docking import dock

    now, then = now_and_then(tmp_path)
    desk = own_desk(now)
    panel = dock(desk.viewer, "compare")
    doubt = Notice("compare.thickness", "slices are 1 mm thick in one study and 5 mm in the other")
    panel.adopt(Comparison(now, then, ALIGNMENT, notices=(doubt,)))
    desk.settle()
    return desk, panel


def test_both_pictures_show_the_same_mark_at_the_same_scale_in_each_plane(beside):
    desk, panel = beside
    desk.press("H")
    for key, name in (("7", "axial"), ("8", "coronal"), ("9", "sagittal")):
        desk.press(key)
        assert panel.view.plane.name == name
        for centre, _ in MARKS:
            desk.session.go_to(centre)
            desk.session.set_window(-400.0, 1000.0)
            desk.cockpit.centre_on(centre)
            desk.settle()
            image = panel.view.grab().toImage()
            middle = image.pixelColor(image.width() // 2, image.height() // 2).red()
            assert middle == pytest.approx(255 * (40 + 900) / 1000, abs=25), (name, centre)
        frame, camera = panel.view.frame(), desk.viewer.scene.camera
        grid, horizontal = panel.comparison.other.grid, panel.view.plane.order[2]
        wide_mm = grid.shape[horizontal] * grid.spacing_mm[horizontal]
        assert frame.width() * panel.view.devicePixelRatioF() == pytest.approx(wide_mm * camera.zoom)


def test_a_click_beside_moves_the_crosshair_of_the_picture(beside):
    from qtpy.QtCore import QPoint, Qt

    desk, panel = beside
    desk.session.go_to((0.0, 0.0, -100.0))
    target = (20.0, 10.0, -100.0)
    at = panel.view.to_widget(*_picture(panel, moved(target)))
    desk.qtbot.mouseClick(panel.view, Qt.MouseButton.LeftButton, pos=QPoint(round(at.x()), round(at.y())))
    np.testing.assert_allclose(desk.session.point_mm, target, atol=1.5)


def _picture(panel, point):
    from pipelines.viewer.planes import to_picture

    return to_picture(panel.comparison.other.grid, panel.view.plane, point)


def test_the_table_says_how_each_finding_changed_and_doubts_stand_below(beside):
    desk, panel = beside
    rows = [[panel.table.item(row, column).text() for column in range(5)] for row in range(4)]
    assert rows == [
        ["1 → 1", "grown", "262 → 524 (+100 %)", "10.0 → 10.0", "91 d"],
        ["2 → 2", "unchanged", "110 → 113 (+3 %)", "6.0 → 6.0", ""],
        ["– → 3", "new", "", "– → 8.0", ""],
        ["3 → –", "gone", "", "8.0 → –", ""],
    ]
    assert "compare.thickness" in panel.notices.text()
    assert "exponential growth" in panel.assumptions.text()
    item = panel.table.item(1, 0)
    from qtpy.QtCore import Qt

    desk.qtbot.mouseClick(
        panel.table.viewport(), Qt.MouseButton.LeftButton, pos=panel.table.visualItemRect(item).center()
    )
    assert desk.session.current.finding.number == 2
    assert panel.comparison.other.selected == "2.25.1"
    desk.press("R")
    assert panel.table.rowCount() == 4
    assert panel.table.item(0, 1).text() == "grown"
    assert "unchanged" not in [panel.table.item(row, 1).text() for row in range(4)]


def test_ending_and_opening_another_ct_let_go(beside, session):
    from pipelines.viewer.window import show

    desk, panel = beside
    now, then = desk.session, panel.comparison.other
    panel.end.click()
    assert panel.comparison is None
    assert panel.title.text() == "No other study is open."
    panel.adopt(Comparison(now, then, ALIGNMENT))
    show(desk.viewer, session)
    assert panel.comparison is None


def test_the_job_runs_beside_the_window_is_cancelled_and_says_what_it_refuses(own_desk, session, qtbot, monkeypatch):
    from pipelines.viewer.docking import dock

    desk = own_desk(session)
    panel = dock(desk.viewer, "compare")
    started = Event()

    def endless(now, path, result, *, on_progress):
        for step in range(2000):
            on_progress(step, 2000)
            started.set()
            Event().wait(0.005)
        raise AssertionError("was not cancelled")

    monkeypatch.setattr("pipelines.viewer.compare_panel.prepare", endless)
    panel.begin(session.folder)
    qtbot.waitUntil(started.is_set, timeout=5000)
    assert panel.open.text() == "Cancel"
    panel.open.click()
    qtbot.waitUntil(lambda: not panel.work.running, timeout=5000)
    assert (panel.comparison, panel.message.text(), panel.open.text()) == (None, "", "Other study …")

    refusal = InputError("lungs.none", "a head")

    def refuse(*_, **__):
        raise refusal

    monkeypatch.setattr("pipelines.viewer.compare_panel.prepare", refuse)
    panel.begin(session.folder)
    qtbot.waitUntil(lambda: not panel.work.running, timeout=5000)
    assert panel.message.text() == str(refusal)


def test_what_was_prepared_is_shown(own_desk, tmp_path, qtbot, monkeypatch):
    from pipelines.viewer.docking import dock

    now, then = now_and_then(tmp_path)
    desk = own_desk(now)
    panel = dock(desk.viewer, "compare")
    monkeypatch.setattr("pipelines.viewer.compare_panel.prepare", lambda *_, **__: Beside(then, ALIGNMENT, ()))
    panel.begin(tmp_path)
    qtbot.waitUntil(lambda: panel.comparison is not None, timeout=5000)
    assert panel.title.text() == "study of 2025-10-03, 91 days earlier"
    assert panel.table.rowCount() == 4
