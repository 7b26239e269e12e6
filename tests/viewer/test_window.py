"""The window under a virtual display, driven as a person does it; what is seen, and where it lies."""

from __future__ import annotations

import os
from dataclasses import replace
from shutil import copytree, ignore_patterns

import numpy as np
import pytest

from imaging.geometry.volume import Origin
from pipelines.viewer.keys import KEYS
from pipelines.viewer.planes import PLANES
from pipelines.viewer.review import FILE_NAME
from pipelines.viewer.session import Session

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

pytestmark = pytest.mark.gui


# --- places ----------------------------------------------------------------------------------------------------------
def test_every_layer_puts_the_marks_at_their_millimetres(desk):
    """A second look at places: napari's own transforms take voxels to the world."""
    ct, nodules = desk.cockpit.layer("ct"), desk.cockpit.layer("nodules")
    assert [str(unit) for unit in ct.units] == ["millimeter"] * 3
    assert ct.axis_labels == ("z", "y", "x")
    for row, ring in zip(desk.session.findings, desk.cockpit.layer("findings").data, strict=True):
        expected = row.finding.centre_mm[::-1]
        np.testing.assert_allclose(ring, expected, atol=1e-9)
        voxels = np.argwhere(np.asarray(nodules.data) == row.finding.number)
        centre = np.mean([nodules.data_to_world(v) for v in voxels], axis=0)
        np.testing.assert_allclose(centre, expected, atol=0.75)
        at = np.rint(ct.world_to_data(expected)).astype(int)
        assert ct.data[tuple(at)] == 40.0
        np.testing.assert_allclose(ct.data_to_world(at), desk.session.grid.to_mm(at)[::-1], atol=1e-9)


@pytest.mark.parametrize(("key", "name"), [("7", "axial"), ("8", "coronal"), ("9", "sagittal")])
def test_no_plane_stands_on_its_head(desk, key, name):
    """Bone lies on the patient's left, water at the back, a 300 HU cap on top: each must be at its letter's edge."""
    desk.press(key)
    assert desk.letters() == PLANES[name].letters
    desk.session.set_window(0.0, 2000.0)
    desk.session.go_to((0.0, 0.0, -100.0))
    desk.settle()
    grey = desk.seen()
    lit = np.argwhere(grey > 8)
    (top, left), (bottom, right) = lit.min(axis=0), lit.max(axis=0)
    inset = 6
    middle_row, middle_column = (top + bottom) // 2, (left + right) // 2
    edges = {
        "left": grey[middle_row, left + inset],
        "right": grey[middle_row, right - inset],
        "top": grey[top + inset, middle_column],
        "bottom": grey[bottom - inset, middle_column],
    }
    marked = {"axial": {"right": 217, "bottom": 127}, "coronal": {"right": 217, "top": 165}}
    marked["sagittal"] = {"right": 127, "top": 165}
    for edge, value in edges.items():
        assert value == pytest.approx(marked[name].get(edge, 19), abs=14), (edge, edges)


def test_the_picture_in_3d_is_not_mirrored(desk):
    desk.press("0")
    camera = desk.viewer.scene.camera
    assert desk.viewer.dims.ndisplay == 3
    up, view = np.array(camera.up_direction), np.array(camera.view_direction)
    axes = {"z": 0, "y": 1, "x": 2}
    order = desk.viewer.dims.displayed
    towards_head, towards_back = np.zeros(3), np.zeros(3)
    towards_head[order.index(axes["z"])] = 1
    towards_back[order.index(axes["y"])] = 1
    assert up @ towards_head > 0.9
    assert view @ towards_back > 0.9
    assert camera.orientation[2] == "right"
    assert set(desk.letters().values()) == {""}
    desk.press("0")
    assert desk.viewer.dims.ndisplay == 2


@pytest.mark.parametrize("key", ["1", "2"])
def test_the_corner_names_the_window_that_is_shown_in_3d_too(desk, key):
    def said_and_shown():
        low, high = desk.cockpit.layer("ct").contrast_limits
        line = desk.viewer.canvas.overlays["nodulus_state"].text.splitlines()[1]
        assert line.startswith(f"W {high - low:.0f} L {(low + high) / 2:.0f}".replace("-", "−"))
        return line.split()[-1]

    desk.press(key)
    before = said_and_shown()
    desk.press("0")
    assert said_and_shown() == "bone"
    desk.press("1" if key == "2" else "2")  # chosen meanwhile, it is for the planes
    assert said_and_shown() == "bone"
    desk.press("0")
    assert said_and_shown() == {"1": "mediastinum", "2": "lung"}[key] != before


# --- navigation ------------------------------------------------------------------------------------------------------
def test_keys_walk_through_the_findings_in_all_planes(desk):
    for number in (1, 2, 3, 1):
        desk.press("N")
        row = desk.session.current
        assert row.finding.number == number
        z, y, x = desk.viewer.dims.point
        assert np.abs(np.subtract((x, y, z), row.finding.centre_mm)).max() <= 1.25
        assert desk.viewer.scene.camera.center[-2:] == pytest.approx(
            (row.finding.centre_mm[1], row.finding.centre_mm[0])
        )
    desk.press("P")
    assert desk.session.current.finding.number == 3


def test_a_click_on_a_row_jumps_there(desk):
    from qtpy.QtCore import Qt

    table = desk.panel.findings
    item = table.item(1, 2)
    desk.qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=table.visualItemRect(item).center())
    assert desk.session.current.finding.number == 2
    assert desk.session.point_mm == pytest.approx(desk.session.findings[1].finding.centre_mm)
    assert "LPS (57.0, 18.0, −100.0) mm" in desk.panel.details.text()


def test_arrows_and_the_slider_move_the_same_crosshair(desk):
    z = desk.session.point_mm[2]
    desk.press("Up")
    assert desk.session.point_mm[2] == pytest.approx(z + 2.5)
    desk.viewer.dims.set_point(0, -150.0)
    assert desk.session.point_mm[2] == pytest.approx(-150.0, abs=1.25)


def test_the_other_planes_show_what_the_picture_does_not(desk):
    views = desk.planes.views
    assert [name for name, view in views.items() if view.isVisible()] == ["coronal", "sagittal"]
    desk.press("8")
    assert [name for name, view in views.items() if view.isVisible()] == ["axial", "sagittal"]


def test_a_click_in_another_plane_moves_the_crosshair_there(desk):
    from qtpy.QtCore import QPoint, Qt

    view = desk.planes.views["coronal"]
    frame = view.frame()
    target = QPoint(round(frame.right() - 0.25 * frame.width()), round(frame.top() + 0.25 * frame.height()))
    desk.qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=target)
    x, y, z = desk.session.point_mm
    grid = desk.session.grid
    low, high = grid.to_mm([0, 0, 0]), grid.to_mm(np.asarray(grid.shape) - 1)
    assert x == pytest.approx(low[0] + 0.75 * (high[0] - low[0]), abs=3)
    assert z == pytest.approx(low[2] + 0.75 * (high[2] - low[2]), abs=4)
    assert y == pytest.approx(grid.centre_mm[1])


@pytest.mark.parametrize("name", ["coronal", "sagittal"])
def test_the_other_planes_are_drawn_at_the_right_pixels(desk, name):
    """What Qt painted at the widget position of each mark is the mark: soft tissue in lung, not the air around it."""
    desk.press("H")
    for row in desk.session.findings:
        desk.session.select(row.finding.tracking_uid)
        desk.session.set_window(-400.0, 1000.0)
        view = desk.planes.views[name]
        desk.settle()
        x, y, z = row.finding.centre_mm
        at = view.to_widget(*_to_picture(desk.session, view.plane, (x, y, z)))
        image = view.grab().toImage()
        here = image.pixelColor(round(at.x()), round(at.y())).red()
        assert here == pytest.approx(255 * (40 + 900) / 1000, abs=25)


def _to_picture(session, plane, point):
    from pipelines.viewer.planes import to_picture

    return to_picture(session.grid, plane, point)


# --- windows, slab, heat ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("key", "limits"), [("1", (-1350, 150)), ("2", (-160, 240)), ("3", (-500, 1300))])
def test_window_keys(desk, key, limits):
    desk.press("3" if key != "3" else "1")
    desk.press(key)
    assert tuple(desk.cockpit.layer("ct").contrast_limits) == limits
    centre, width = (limits[0] + limits[1]) / 2, limits[1] - limits[0]
    text = desk.viewer.canvas.overlays["nodulus_state"].text
    assert f"W {width:.0f} L {centre:.0f}".replace("-", "−") in text


def test_keys_work_with_any_of_our_layers_selected(desk):
    """Points and labels have layer keys of their own (1, 2, A, P, M, L); ours must win on our layers."""
    for role in ("findings", "nodules", "grad_cam", "crosshair", "ct"):
        desk.viewer.layers.selection.active = desk.cockpit.layer(role)
        desk.press("2")
        assert tuple(desk.cockpit.layer("ct").contrast_limits) == (-160, 240), role
        desk.press("1")
        assert tuple(desk.cockpit.layer("ct").contrast_limits) == (-1350, 150), role


def test_a_slab_shows_its_maximum_and_goes_away(desk):
    x, y, z = desk.session.findings[0].finding.centre_mm
    desk.session.go_to((x, y, z + 7.5))
    ct = desk.cockpit.layer("ct")

    def shown():
        desk.settle()
        status = ct.get_value((z + 7.5, y, x), world=True)
        return float(status)

    assert shown() == -850.0
    desk.press("L")
    desk.press("L")
    desk.press("L")
    assert desk.session.slab_mm == 15.0
    assert ct.projection_mode == "max"
    assert shown() == 40.0
    desk.press("L")
    assert shown() == -850.0


def test_opacity_and_hiding(desk):
    heat = desk.cockpit.layer("grad_cam")
    before = heat.opacity
    desk.press("O")
    assert heat.opacity != before
    desk.press("H")
    assert not any(desk.cockpit.layer(role).visible for role in ("grad_cam", "nodules", "findings"))
    assert desk.cockpit.layer("ct").visible
    desk.press("H")
    assert all(desk.cockpit.layer(role).visible for role in ("grad_cam", "nodules", "findings"))


# --- mouse -----------------------------------------------------------------------------------------------------------
def canvas_position(desk, point_mm):
    """Where an LPS point is drawn, from the public camera: centre, zoom, orientation."""
    camera = desk.viewer.scene.camera
    _, vertical, horizontal = desk.viewer.dims.order
    world = np.asarray(point_mm)[::-1]
    right = (world[horizontal] - camera.center[-1]) * camera.zoom
    down = (world[vertical] - camera.center[-2]) * camera.zoom
    if camera.orientation[1] == "up":
        down = -down
    ratio = desk.canvas.devicePixelRatioF()
    return round(desk.canvas.width() / 2 + right / ratio), round(desk.canvas.height() / 2 + down / ratio)


@pytest.mark.parametrize("key", ["7", "8", "9"])
def test_a_click_puts_the_crosshair_under_the_pointer(desk, key):
    from qtpy.QtCore import QPoint, Qt

    desk.press(key)
    target = np.add(desk.session.grid.centre_mm, (12.0, -15.0, 10.0))
    through = 2 - desk.viewer.dims.order[0]
    target[through] = desk.session.point_mm[through]
    desk.qtbot.mouseClick(desk.canvas, Qt.MouseButton.LeftButton, pos=QPoint(*canvas_position(desk, target)))
    desk.settle()
    np.testing.assert_allclose(desk.session.point_mm, target, atol=1.0)
    # A hand moved in plane moves nothing across it.
    assert desk.session.point_mm[through] == pytest.approx(target[through], abs=1e-9)


def test_the_status_names_what_is_under_the_pointer(desk):
    from qtpy.QtCore import QPoint

    target = (-41.0, -22.0, desk.session.point_mm[2])

    def told() -> bool:
        # A display server may leave out one of two moves that come close together: moved again until it is heard.
        desk.qtbot.mouseMove(desk.canvas, QPoint(5, 5))
        desk.settle()
        desk.qtbot.mouseMove(desk.canvas, QPoint(*canvas_position(desk, target)))
        desk.settle()
        return desk.viewer.status.startswith("HU −850 · LPS (−4")

    desk.qtbot.waitUntil(told, timeout=5000)
    assert "mm · slice" in desk.viewer.status
    desk.viewer.status = {"layer_base": "CT", "source_type": "", "plugin": "", "coordinates": "[1, 2, 3]"}
    assert desk.viewer.status.startswith("HU")


def test_right_drag_changes_the_window(desk):
    from qtpy.QtCore import QPoint, Qt

    right = Qt.MouseButton.RightButton
    centre, width = desk.session.window
    zoom = desk.viewer.scene.camera.zoom
    desk.qtbot.mousePress(desk.canvas, right, pos=QPoint(200, 200))
    drag(desk, right, QPoint(250, 180))
    desk.qtbot.mouseRelease(desk.canvas, right, pos=QPoint(250, 180))
    assert desk.session.window == (centre - 60, width + 150)
    assert desk.viewer.scene.camera.zoom == zoom


def drag(desk, button, position, *, modifier=None):
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    where = QPointF(position)
    over = QPointF(desk.canvas.mapToGlobal(position))
    modifier = modifier or Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.MouseMove, where, over, Qt.MouseButton.NoButton, button, modifier)
    QApplication.sendEvent(desk.canvas, event)


# --- decisions -------------------------------------------------------------------------------------------------------
def test_a_missed_nodule_is_marked_moved_and_measured(desk):
    desk.session.go_to((20.0, 0.0, -120.0))
    desk.press("M")
    assert len(desk.cockpit.layer("findings").data) == 4
    desk.session.go_to((22.0, 0.0, -120.0))
    desk.press("E")
    desk.session.go_to((22.0, 4.0, -120.0))
    desk.press("D")
    added = desk.session.current
    assert added.original is None
    assert added.finding.centre_mm == pytest.approx((22.0, 0.0, -120.0))
    assert added.finding.diameter_mm == pytest.approx(8.0)
    np.testing.assert_allclose(desk.cockpit.layer("findings").data[-1], (-120.0, 0.0, 22.0), atol=1e-9)
    assert desk.lines() == ["add", "edit", "edit"]


def test_a_full_disk_is_said_and_closing_asks(desk, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.viewer.review._append", full)
    desk.press("N")
    desk.press("A")
    assert "No space left on device" in desk.panel.message.text()
    asked = []
    monkeypatch.setattr(desk.panel, "ask_to_lose", lambda: bool(asked.append(1)))
    window = desk.panel.window()
    window.close()
    assert asked
    assert window.isVisible()
    monkeypatch.undo()
    desk.session.log.save()
    assert desk.lines() == ["accept"]


# --- find nodules ----------------------------------------------------------------------------------------------------
def test_cancel_stops_the_job(desk, qtbot, monkeypatch):
    from threading import Event

    started, ended = Event(), []

    def job(volume, prompt, on_stage):
        try:
            for step in range(1000):
                on_stage("score", step, 1000)
                started.set()
                Event().wait(0.01)
        finally:
            ended.append(True)

    monkeypatch.setattr(desk.panel.finder, "job", job)
    desk.panel.finder.button.click()
    qtbot.waitUntil(started.is_set, timeout=5000)
    qtbot.waitUntil(lambda: desk.panel.finder.bar.value() > 0, timeout=5000)
    assert desk.panel.finder.button.text() == "Cancel"
    desk.panel.finder.button.click()
    qtbot.waitUntil(lambda: not desk.panel.finder.work.running, timeout=5000)
    assert ended
    assert desk.panel.message.text() == ""


@pytest.mark.parametrize("gone", ["manifest.json", "*.safetensors"])
def test_without_weights_the_search_says_so_and_the_session_goes_on(desk, tmp_path, monkeypatch, capfd, gone):
    """The real search on the real loader, from a folder of weights that lacks a file."""
    from imaging.models import weights

    folder = tmp_path / "weights"
    copytree(weights.shipped_folder(), folder, ignore=ignore_patterns(gone))
    monkeypatch.setattr(weights, "shipped_folder", lambda: folder)
    desk.panel.adopt(a_chest(tmp_path))
    desk.panel.finder.button.click()
    desk.qtbot.waitUntil(lambda: not desk.panel.finder.work.running, timeout=60_000)
    said = desk.panel.message.text()
    assert "weights.missing" in said
    assert "nodulus itself" not in said
    assert "\n" not in said
    assert "Traceback" not in "".join(capfd.readouterr())
    assert desk.panel.message.isVisible()
    assert desk.panel.finder.button.text() == "Find nodules"
    desk.press("M")
    assert [row.state for row in desk.panel.session.findings] == ["accepted"]
    assert (desk.panel.session.folder / FILE_NAME).is_file()


def a_chest(folder):
    """A session on a coarse chest, in which lungs are found, without any result."""
    from imaging.simulation.thorax import make_thorax

    volume, _ = make_thorax(rng=np.random.default_rng(20), shape=(48, 96, 96), spacing_mm=(6.0, 3.7, 3.7))
    session = Session(replace(volume, origin=Origin(seriesuid="a.chest", format="simulated")), reviewer="Dr. A. Reader")
    session.keep_in(folder / "kept")
    return session


def test_every_key_has_its_action(desk):
    assert all(callable(getattr(desk.cockpit, row.action)) for row in KEYS)
    assert len({row.key for row in KEYS}) == len(KEYS)
