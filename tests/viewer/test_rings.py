"""Rings: one size in every picture, and what a click in one does."""

from __future__ import annotations

import os

import numpy as np
import pytest
from viewer.conftest import MARKS, a_report, findings
from viewer.test_window import canvas_position

from pipelines.viewer.planes import PLANES, to_picture
from pipelines.viewer.rings import ring_at, rings_in_plane

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

#: mm. The first mark is 10 mm wide, its ring three more on each side.
RADIUS = 8.0
AXES = {"axial": 2, "coronal": 1, "sagittal": 0}
KEYS = {"axial": "7", "coronal": "8", "sagittal": "9"}


def beside(name, away_mm, mark=0):
    """A point on the axis that a plane cuts, away from the middle of a mark."""
    point = list(MARKS[mark][0])
    point[AXES[name]] += away_mm
    return tuple(point)


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("slab_mm", [0.0, 5.0, 15.0])
@pytest.mark.parametrize("slices", [-5, -4, -2, 0, 1, 3, 6])
def test_a_ring_is_the_section_of_its_ball(session, name, slab_mm, slices):
    """Pythagoras; in a slab from the face that is nearer to the ball's middle."""
    session.slab_mm = slab_mm
    session.go_to(beside(name, slices * session.grid.spacing_mm[PLANES[name].order[0]]))
    middle = session.grid.to_mm(np.rint(session.grid.to_index(session.point_mm)))[AXES[name]]
    away = max(0.0, abs(middle - MARKS[0][0][AXES[name]]) - slab_mm / 2)
    ring = next((r for r in rings_in_plane(session, PLANES[name]) if r.row is session.findings[0]), None)
    assert (ring is not None) == (away < RADIUS)
    if ring is not None:
        assert ring.radius_mm == pytest.approx((RADIUS**2 - away**2) ** 0.5)
        kept = [axis for axis in range(3) if axis != AXES[name]]
        assert [ring.centre_mm[axis] for axis in kept] == [MARKS[0][0][axis] for axis in kept]


def test_a_click_finds_the_ring_that_is_drawn_there(session):
    axial, (x, y, z) = PLANES["axial"], MARKS[0][0]
    session.go_to((x, y, z))
    first = session.findings[0]
    assert ring_at(session, axial, (x + 7.9, y, z)) is first
    assert ring_at(session, axial, (x + 8.1, y, z)) is None
    session.go_to((x, y, z + 12.5))
    assert ring_at(session, axial, (x, y, z + 12.5)) is None
    session.slab_mm = 15.0
    assert ring_at(session, axial, (x + 4, y, z + 12.5)) is first


def test_of_two_rings_the_one_whose_middle_is_nearer_is_meant(session):
    from dataclasses import replace

    one, two, _ = findings()
    x, y, z = one.centre_mm
    session.set_result(a_report(findings=(one, replace(two, centre_mm=(x + 6, y, z)))), {})
    session.go_to(one.centre_mm)
    for away, number in ((-2, 1), (2, 1), (4, 2), (8, 2)):
        assert ring_at(session, PLANES["axial"], (x + away, y, z)).finding.number == number


# --- in the window ---------------------------------------------------------------------------------------------------
def width_mm(pixels, pixels_per_mm):
    """How wide what is drawn in the colour of an undecided finding is, from the outer edge of its line."""
    pixels = pixels.astype(int)
    orange = (pixels[..., 0] > 120) & (pixels[..., 1] > 60) & (pixels[..., 2] < 60)
    columns = np.flatnonzero(orange.any(axis=0))
    return 0.0 if not len(columns) else (columns[-1] - columns[0] + 1) / pixels_per_mm


def around(view, point_mm, reach_mm):
    """The lower half of what a small view draws around a point, where no number stands; and its pixels per mm."""
    image = view.grab().toImage()
    image = image.convertToFormat(image.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    pixels = rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
    grid, (_, _, horizontal) = view.session.grid, view.plane.order
    ratio = image.width() / view.width()
    scale = ratio * view.frame().width() / (grid.shape[horizontal] * grid.spacing_mm[horizontal])
    at = view.to_widget(*to_picture(grid, view.plane, point_mm))
    row, column, reach = round(at.y() * ratio), round(at.x() * ratio), round(reach_mm * scale)
    return pixels[row : row + reach, column - reach : column + reach], scale


@pytest.mark.gui
@pytest.mark.parametrize("away_mm", [0.0, 5.0, 7.5])
def test_the_small_plane_draws_the_ring_as_the_picture_does(desk, away_mm):
    """The same slice in the large picture and, when that shows another plane, in the small one."""
    session = desk.session
    session.set_result(a_report(findings=findings()[:1]), {}, folder=session.folder)
    desk.press("7")
    session.go_to(beside("axial", away_mm))
    desk.viewer.scene.camera.zoom = 8.0
    desk.cockpit.centre_on(session.point_mm)
    layer = desk.cockpit.layer("findings")
    layer.text.visible = False
    for other in desk.viewer.layers:
        other.visible = other is layer
    for overlay in desk.viewer.canvas.overlays.values():
        overlay.visible = False
    desk.settle()
    large = width_mm(desk.viewer.screenshot(canvas_only=True, flash=False), 8.0)
    desk.press("8")
    desk.settle()
    pixels, scale = around(desk.planes.views["axial"], MARKS[0][0], 12.0)
    expected = 2 * (RADIUS**2 - away_mm**2) ** 0.5
    assert large == pytest.approx(expected, abs=0.6)
    assert width_mm(pixels, scale) == pytest.approx(expected, abs=2.5 / scale)


def click(desk, point_mm):
    from qtpy.QtCore import QPoint, Qt

    desk.qtbot.mouseClick(desk.canvas, Qt.MouseButton.LeftButton, pos=QPoint(*canvas_position(desk, point_mm)))
    desk.settle()


@pytest.mark.gui
@pytest.mark.parametrize("name", PLANES)
def test_a_click_in_a_ring_selects_and_the_next_one_corrects(desk, name):
    """The ring's own line belongs to it; the middle of a nodule lies in the ring of the mark that is to be moved."""
    session, (_, across) = desk.session, sorted({0, 1, 2} - {AXES[name]})
    desk.press(KEYS[name])
    session.go_to(MARKS[0][0])
    session.select(session.findings[1].finding.tracking_uid)
    session.go_to(MARKS[0][0])
    desk.cockpit.centre_on(session.point_mm)
    on_the_line = list(MARKS[0][0])
    on_the_line[across] += RADIUS - 0.5
    click(desk, on_the_line)
    assert session.selected == session.findings[0].finding.tracking_uid
    np.testing.assert_allclose(session.point_mm, MARKS[0][0], atol=1e-6)
    middle = list(MARKS[0][0])
    middle[across] += 3.0
    click(desk, middle)
    np.testing.assert_allclose(session.point_mm, middle, atol=0.8)
    desk.press("E")
    np.testing.assert_allclose(session.findings[0].finding.centre_mm, middle, atol=0.8)


@pytest.mark.gui
def test_in_a_slab_a_click_in_the_ring_of_another_slice_goes_there(desk):
    session = desk.session
    desk.press("7")
    desk.press("L")
    desk.press("L")
    session.go_to(beside("axial", 10.0))
    desk.cockpit.centre_on(session.point_mm)
    desk.settle()
    click(desk, session.point_mm)
    assert session.selected == session.findings[0].finding.tracking_uid
    np.testing.assert_allclose(session.point_mm, MARKS[0][0], atol=1e-6)


@pytest.mark.gui
def test_rings_that_are_not_seen_take_no_clicks(desk):
    session = desk.session
    desk.press("7")
    session.go_to(MARKS[0][0])
    desk.cockpit.centre_on(session.point_mm)
    desk.press("H")
    target = np.add(MARKS[0][0], (2.0, 0, 0))
    click(desk, target)
    assert session.selected is None
    np.testing.assert_allclose(session.point_mm, target, atol=0.8)


@pytest.mark.gui
def test_the_crosshair_of_the_next_ct_is_as_thin(desk, volume):
    """napari fits the view to the first layer of an empty window, before anybody listens to its zoom."""
    from pipelines.viewer.session import Session

    for _ in range(2):
        desk.panel.adopt(Session(volume))
        zoom = desk.viewer.scene.camera.zoom
        assert desk.cockpit.layer("crosshair").edge_width == pytest.approx(1.4 / zoom)


@pytest.mark.gui
def test_where_no_finding_is_in_view_nothing_is_drawn_for_one(desk):
    """napari draws a dot of two pixels at (0, 0) mm instead of no point."""
    desk.press("7")
    desk.session.go_to((20.0, 20.0, -130.0))
    desk.session.step_ruler()
    desk.session.go_to((30.0, 20.0, -130.0))
    desk.session.step_ruler()
    desk.session.go_to((20.0, 20.0, -80.0))
    desk.session.set_window(-3000.0, 2.0)
    for overlay in desk.viewer.canvas.overlays.values():
        overlay.visible = False
    shown = ("ct", "findings", "ruler_lengths")
    for layer in desk.viewer.layers:
        layer.visible = layer.metadata["nodulus"] in shown
    desk.cockpit.centre_on((0.0, 0.0, -80.0))
    desk.viewer.scene.camera.zoom = 8.0
    desk.settle()
    picture = desk.viewer.screenshot(canvas_only=True, flash=False)[..., :3]
    rows, columns = (size // 2 for size in picture.shape[:2])
    assert picture[rows - 40 : rows + 40, columns - 40 : columns + 40].min() > 250
