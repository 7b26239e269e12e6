"""Rulers: lengths against the distance that the phantom was built with, on a grid whose slices lie wider apart."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from viewer.conftest import MARKS
from viewer.test_window import canvas_position, drag

from pipelines.viewer.planes import PLANES
from pipelines.viewer.review import FILE_NAME
from pipelines.viewer.rulers import Ruler
from pipelines.viewer.session import Session

#: Of the first two marks: (98, 40, 60) mm apart, which the slices of 2.5 mm and pixels of 1.5 mm know nothing of.
A, B = MARKS[0][0], MARKS[1][0]
APART_MM = (98.0**2 + 40.0**2 + 60.0**2) ** 0.5


def measure(session, start, end):
    session.go_to(start)
    session.step_ruler()
    session.go_to(end)
    session.step_ruler()


# --- without a window ------------------------------------------------------------------------------------------------
def test_a_ruler_through_all_planes_has_the_length_of_the_millimetres(session):
    measure(session, A, B)
    (ruler,) = session.rulers
    assert ruler.length_mm == pytest.approx(APART_MM, abs=1e-9)
    assert ruler.label == "121.7 mm"
    assert session.unfinished is None


@pytest.mark.parametrize(("axis", "voxels", "expected"), [(0, 4, 10.0), (1, 4, 6.0), (2, 4, 6.0)])
def test_as_many_voxels_are_more_millimetres_across_the_slices(session, axis, voxels, expected):
    start = np.array([20, 30, 40])
    end = start.copy()
    end[axis] += voxels
    measure(session, *(tuple(map(float, session.grid.to_mm(index))) for index in (start, end)))
    assert session.rulers[0].length_mm == pytest.approx(expected)


def test_rulers_come_back_with_the_session_and_decide_nothing(session, volume):
    measure(session, A, B)
    measure(session, B, A)
    assert session.undecided == 3
    assert session.readers == ()
    again = Session(volume)
    again.set_result(session.report, {}, folder=session.folder)
    assert again.rulers == (Ruler(A, B), Ruler(B, A))
    again.undo()
    assert again.rulers == (Ruler(A, B),)
    written = [json.loads(line)["action"] for line in (session.folder / FILE_NAME).read_text().splitlines()]
    assert written == ["ruler", "ruler", "undo"]


def test_the_second_end_at_the_first_gives_it_up(session):
    session.step_ruler()
    assert session.unfinished is not None
    session.step_ruler()
    assert session.rulers == ()
    assert session.unfinished is None
    assert not (session.folder / FILE_NAME).exists()


def test_a_ruler_that_the_disk_refuses_stays_in_memory(session, monkeypatch):
    from imaging.errors import OutputError

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.viewer.review._append", full)
    with pytest.raises(OutputError, match=r"review\.unwritten"):
        measure(session, A, B)
    assert session.rulers == (Ruler(A, B),)
    assert session.unfinished is None


@pytest.mark.parametrize(
    ("plane", "at", "met"),
    [
        ("axial", -130.0, True),  # between the ends
        ("axial", -161.2, True),  # half a slice beyond the end
        ("axial", -161.3, False),
        ("coronal", 0.0, True),
        ("coronal", 30.0, False),
        ("sagittal", 57.7, True),
        ("sagittal", 58.0, False),
    ],
)
def test_a_ruler_is_met_by_the_slices_between_its_ends(session, plane, at, met):
    point = [0.0, 0.0, 0.0]
    point[2 - PLANES[plane].order[0]] = at
    assert Ruler(A, B).meets(PLANES[plane], session.grid, tuple(point)) is met


# --- in the window ---------------------------------------------------------------------------------------------------
window = pytest.mark.gui
if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")


def shown(desk):
    return [] if desk.cockpit.layer("rulers") is None else list(desk.cockpit.layer("ruler_lengths").features["label"])


def is_yellow_at(desk, column, row):
    """Whether a ruler is drawn within two pixels of a place of the picture."""
    patch = desk.viewer.screenshot(canvas_only=True, flash=False)[row - 2 : row + 3, column - 2 : column + 3, :3]
    red, _, blue = patch.reshape(-1, 3).astype(int).T
    return (red - blue).max() > 100


@window
def test_the_key_measures_from_crosshair_to_crosshair(desk):
    desk.session.go_to(A)
    desk.press("T")
    desk.session.go_to(B)
    assert "ruler: 121.7 mm" in desk.viewer.canvas.overlays["nodulus_state"].text
    desk.press("T")
    assert "ruler" not in desk.viewer.canvas.overlays["nodulus_state"].text
    assert shown(desk) == ["121.7 mm"]
    start, direction = desk.cockpit.layer("rulers").data[0]
    np.testing.assert_allclose(start, (B[2], A[1], A[0]), atol=1e-9)  # laid into the slice of the crosshair
    np.testing.assert_allclose(start + direction, B[::-1], atol=1e-9)
    desk.session.go_to((0.0, 0.0, -60.0))  # above both ends
    assert shown(desk) == []
    desk.press("0")
    assert shown(desk) == ["121.7 mm"]
    start, direction = desk.cockpit.layer("rulers").data[0]
    np.testing.assert_allclose(start, A[::-1], atol=1e-9)
    np.testing.assert_allclose(start + direction, B[::-1], atol=1e-9)
    desk.press("0")
    desk.press("U")
    assert shown(desk) == []
    assert desk.lines() == ["ruler", "undo"]


@window
@pytest.mark.parametrize(("key", "name"), [("7", "axial"), ("8", "coronal"), ("9", "sagittal")])
def test_a_drag_with_shift_measures_what_lies_under_the_pointer(desk, key, name):
    """The second look is the picture: the ruler's middle is yellow where the two marks' middle is drawn."""
    from qtpy.QtCore import QPoint, Qt

    desk.press(key)
    through = 2 - PLANES[name].order[0]
    start, end = list(A), list(B)
    start[through] = end[through] = desk.session.point_mm[through]
    press, release = (QPoint(*canvas_position(desk, point)) for point in (start, end))
    left, shift = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier
    centre = desk.viewer.scene.camera.center
    desk.qtbot.mousePress(desk.canvas, left, shift, pos=press)
    drag(desk, left, release, modifier=shift)
    desk.qtbot.mouseRelease(desk.canvas, left, shift, pos=release)
    desk.settle()
    expected = np.linalg.norm(np.subtract(start, end))
    (ruler,) = desk.session.rulers
    assert ruler.length_mm == pytest.approx(expected, abs=1.5)  # a pixel of the screen at either end
    np.testing.assert_allclose(ruler.start_mm, start, atol=1.0)
    assert desk.viewer.scene.camera.center == centre
    quarter = tuple(np.asarray(ruler.start_mm) * 0.75 + np.asarray(ruler.end_mm) * 0.25)
    column, row = canvas_position(desk, quarter)
    desk.press("H")
    assert is_yellow_at(desk, column, row)


@window
def test_a_thin_slab_draws_all_of_a_ruler_that_it_meets(desk):
    """Both ends lie farther from the slice than the slab is thick, and napari would leave them out."""
    measure(desk.session, A, B)
    desk.session.go_to((8.0, -2.0, -130.0))
    desk.press("H")
    desk.press("L")
    quarter = tuple(np.asarray(A) * 0.75 + np.asarray(B) * 0.25)
    column, row = canvas_position(desk, quarter)
    assert is_yellow_at(desk, column, row)


@window
def test_the_other_planes_draw_the_rulers_that_they_meet(desk):
    from pipelines.viewer.planes import to_picture

    measure(desk.session, A, B)
    desk.session.go_to((8.0, -2.0, -130.0))  # its middle
    desk.press("H")
    for name in ("coronal", "sagittal"):
        view = desk.planes.views[name]
        quarter = tuple(np.asarray(A) * 0.75 + np.asarray(B) * 0.25)
        at = view.to_widget(*to_picture(desk.session.grid, view.plane, quarter))
        image = view.grab().toImage()
        around = [image.pixelColor(round(at.x()) + i, round(at.y()) + j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        assert max(colour.red() - colour.blue() for colour in around) > 100, name


@window
def test_the_command_is_the_key(desk):
    from napari._app_model import get_app_model

    for point in (A, B):
        desk.session.go_to(point)
        get_app_model().commands.execute_command("nodulus.ruler").result()
    assert desk.session.rulers == (Ruler(A, B),)
