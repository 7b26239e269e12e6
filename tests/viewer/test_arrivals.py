"""What is drawn is of the right millimetre whatever arrives in the window, and in whatever order."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from viewer.conftest import MARKS, a_map, a_report, findings, nodule_labels, phantom
from viewer.two_studies import ALIGNMENT, now_and_then

from imaging.geometry import Grid
from pipelines.viewer.comparison import Comparison
from pipelines.viewer.session import Session
from pipelines.viewer.viewing import SLABS_MM

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

KEYS = {"7": 0, "8": 1, "9": 2}


def somebody_elses(viewer):
    """A picture over the phantom whose value is the number of its slice, as napari makes one by default."""
    array = np.arange(60, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    return viewer.add_image(array, scale=(2.5, 1.5, 1.5), translate=(-190.0, -62.0, -71.0), name="somebody else's")


def seen(layer, desk):
    """The value of a picture at the crosshair, as the viewer has sliced it."""
    world = list(desk.session.point_mm[::-1])
    through = desk.viewer.dims.order[-3] - (desk.viewer.dims.ndim - 3)
    world[through] = desk.viewer.dims.point[-3:][through]
    others = desk.viewer.dims.point[:-3]
    return float(layer.get_value((*others, *world), world=True))


# --- the slice ------------------------------------------------------------------------------------------------------
@pytest.fixture
def thick(tmp_path):
    """Slices of 5 mm, and a value of its own in each voxel."""
    grid = Grid.from_spacing((30, 40, 48), spacing_mm=(5.0, 3.1, 3.1), origin_mm=(-71.0, -62.0, -190.0))
    values = np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape) / 10
    session = Session(replace(phantom(grid), array=values), reviewer="A")
    session.set_result(a_report(), {}, folder=tmp_path / "thick")
    return session


@pytest.fixture(params=KEYS)
def thick_desk(request, desk, thick):
    """The desk, its CT, and the axis through the plane that is shown."""
    desk.panel.adopt(thick)
    desk.session = thick
    desk.press(request.param)
    return desk, desk.cockpit.layer("ct"), KEYS[request.param]


@pytest.mark.gui
def test_the_picture_shows_the_slice_that_the_readout_names(thick_desk):
    """napari's sliders step by 1 mm where rings and lines lie; a fifth of all places fell on the slice beside."""
    desk, ct, through = thick_desk
    session = desk.session
    for voxels in np.arange(10.0, 12.0, 0.13):
        index = np.array([20.0, 20.0, 20.0])
        index[through] = voxels
        session.go_to(tuple(session.grid.to_mm(index)))
        desk.settle()
        at = np.rint(session.grid.to_index(session.point_mm)).astype(int)
        assert seen(ct, desk) == session.shown.array[tuple(at)], voxels
        assert f"slice {at[through] + 1}/" in desk.viewer.canvas.overlays["nodulus_readout"].text


@pytest.mark.gui
def test_the_slider_goes_by_slices_of_the_ct_and_takes_the_session_along(thick_desk):
    desk, ct, through = thick_desk
    session = desk.session
    assert desk.viewer.dims.nsteps == session.grid.shape
    session.go_to(MARKS[0][0])  # between two slices
    for step in (5, 6, 7, 6):
        desk.viewer.dims.set_current_step(through, step)
        desk.settle()
        at = np.rint(session.grid.to_index(session.point_mm)).astype(int)
        assert at[through] == step
        assert seen(ct, desk) == session.shown.array[tuple(at)]


# --- the slab -------------------------------------------------------------------------------------------------------
@pytest.mark.gui
def test_a_slab_holds_as_many_slices_on_both_sides_whichever_slice_it_is_on(thick_desk):
    """The slow twin: every voxel whose middle lies less than half a voxel off the slab around the slice that is shown.

    Values grow along every axis, so one slice too few or too many at the far end is seen.
    """
    desk, ct, through = thick_desk
    session = desk.session
    for slab_mm in SLABS_MM[1:]:
        desk.press("L")
        for voxel in (10, 11, 12.4):
            index = np.array([20.0, 20.0, 20.0])
            index[through] = voxel
            session.go_to(tuple(session.grid.to_mm(index)))
            desk.settle()
            column = np.moveaxis(session.shown.array, through, 0)[:, 20, 20]
            step = session.grid.spacing_mm[through]
            away = np.abs(np.arange(len(column)) - round(voxel)) * step
            expected = column[away < slab_mm / 2 + step / 2 - 1e-6].max()
            assert seen(ct, desk) == expected, (slab_mm, voxel)


def rings_seen(desk):
    """How many pixels of the picture are of a ring."""
    for overlay in desk.viewer.canvas.overlays.values():
        overlay.visible = False
    desk.settle()
    picture = desk.viewer.screenshot(canvas_only=True, flash=False).astype(int)
    return int(((picture[..., 0] > 120) & (picture[..., 2] < 60)).sum())


@pytest.mark.gui
@pytest.mark.parametrize("key", KEYS)
def test_a_slab_shows_the_ring_of_every_nodule_that_it_meets(desk, key):
    """The first mark's ring is a ball of 8 mm around it; napari asks for the slab's middle to meet it."""
    desk.press(key)
    desk.session.set_result(a_report(findings=findings()[:1]), {}, folder=desk.session.folder)
    for slab_mm, away_mm, met in ((0, 9, False), (5, 0, True), (5, 9, True), (5, 14, False), (15, 14, True)):
        while desk.session.slab_mm != slab_mm:
            desk.press("L")
        point = list(MARKS[0][0])
        point[2 - KEYS[key]] += away_mm
        desk.session.go_to(tuple(point))
        assert (rings_seen(desk) > 20) == met, (slab_mm, away_mm)


# --- 3D and back ----------------------------------------------------------------------------------------------------
@pytest.mark.gui
@pytest.mark.parametrize("key", KEYS)
def test_3d_and_back_leaves_the_crosshair_and_the_plane(desk, key):
    """napari puts its slider where the camera looks; E would have moved the finding there."""
    desk.press(key)
    desk.press("N")
    order, point = desk.viewer.dims.order, desk.session.point_mm
    for ndisplay, by_key in ((3, True), (2, True), (3, False), (2, False)):
        if by_key:
            desk.press("0")
        else:
            desk.viewer.dims.ndisplay = ndisplay
            desk.settle()
        assert desk.viewer.dims.ndisplay == ndisplay
        assert desk.session.point_mm == pytest.approx(point, abs=1e-6)
    assert desk.viewer.dims.order == order
    at = np.rint(desk.session.grid.to_index(point)).astype(int)
    assert seen(desk.cockpit.layer("ct"), desk) == desk.session.shown.array[tuple(at)] == 40.0


# --- results, hidden or not -----------------------------------------------------------------------------------------
@pytest.mark.gui
@pytest.mark.parametrize("slabs", [0, 1])
def test_a_result_that_comes_later_is_cut_as_the_ct_is(desk, slabs):
    """napari's default for a new picture is the mean over the viewer's thickness, here over eight centimetres."""
    for _ in range(slabs):
        desk.press("L")
    session, heat = desk.session, desk.session.maps["grad_cam"]
    session.set_result(session.report, {"grad_cam": (heat.copy(), session.grid)}, folder=session.folder)
    at = round(float(session.grid.to_index(MARKS[0][0])[0]))
    reach = round(session.slab_mm / 2 / session.grid.spacing_mm[0])
    expected = heat[at - reach : at + reach + 1].max(axis=0)
    for row, column in ((27, 20), (30, 25), (40, 33), (20, 12)):
        session.go_to(tuple(session.grid.to_mm((at, row, column))))
        desk.settle()
        assert seen(desk.cockpit.layer("grad_cam"), desk) == pytest.approx(expected[row, column], abs=1e-6)


@pytest.mark.gui
def test_what_arrives_while_the_ai_is_hidden_stays_hidden_and_the_corner_says_so(desk):
    session = desk.session
    desk.press("H")
    session.set_result(session.report, {"grad_cam": (a_map(session.grid), session.grid)}, folder=session.folder)
    desk.press("M")
    assert not any(desk.cockpit.layer(role).visible for role in ("grad_cam", "findings"))
    assert "AI hidden" in desk.viewer.canvas.overlays["nodulus_state"].text
    assert desk.viewer.layers.selection.active is desk.cockpit.layer("ct")
    desk.press("H")
    assert all(desk.cockpit.layer(role).visible for role in ("grad_cam", "findings"))
    assert "AI hidden" not in desk.viewer.canvas.overlays["nodulus_state"].text


def test_a_segmentation_stays_when_a_result_comes(session):
    grid = session.grid
    session.lay_over(nodule_labels(grid), grid)
    session.set_result(session.report, {"grad_cam": (a_map(grid), grid)}, folder=session.folder)
    assert set(session.maps) == {"segmentation", "grad_cam"}
    np.testing.assert_array_equal(session.maps["segmentation"], nodule_labels(grid))


def test_what_the_ai_drew_is_hidden_and_faint_in_both_studies(tmp_path):
    comparison = Comparison(*now_and_then(tmp_path), ALIGNMENT)
    here, other = comparison.session, comparison.other
    here.toggle_ai()
    assert not other.ai_shown
    other.next_opacity()
    assert here.opacity == other.opacity == 0.8
    comparison.close()


@pytest.mark.gui
def test_the_window_in_the_corner_is_the_one_that_is_drawn(desk):
    """napari's own sliders move the window too."""
    desk.cockpit.layer("ct").contrast_limits = (-160, 240)
    assert desk.session.window == (40.0, 400.0)
    assert "W 400 L 40 mediastinum" in desk.viewer.canvas.overlays["nodulus_state"].text
    desk.press("0")
    desk.cockpit.layer("ct").contrast_limits = (100, 1100)
    assert "W 1000 L 600" in desk.viewer.canvas.overlays["nodulus_state"].text
    desk.press("0")
    assert desk.cockpit.layer("ct").contrast_limits == [-160, 240]
    for width in (12000, 12100):  # wider than the span of napari's slider
        desk.session.set_window(2000, width)
        assert desk.session.window == (2000, width)
        assert desk.cockpit.layer("ct").contrast_limits == [2000 - width / 2, 2000 + width / 2]


# --- other people's layers, and the panel ---------------------------------------------------------------------------
@pytest.mark.gui
def test_a_picture_that_was_there_before_the_ct_shows_its_slice_and_is_given_back(desk):
    session = desk.session
    desk.panel.leave()
    other = somebody_elses(desk.viewer)
    assert other.projection_mode == "mean"
    desk.panel.adopt(session)
    session.go_to((-69.0, -60.0, -160.0))
    desk.settle()
    assert seen(other, desk) == 12.0  # (-160 + 190) / 2.5
    desk.panel.leave()
    assert other.projection_mode == "mean"
    desk.viewer.layers.remove(other)


@pytest.mark.gui
def test_a_picture_that_comes_later_shows_its_slice_and_the_thickness_goes_with_the_session(desk):
    other = somebody_elses(desk.viewer)
    desk.session.go_to((-69.0, -60.0, -160.0))
    desk.settle()
    assert seen(other, desk) == 12.0  # (-160 + 190) / 2.5
    assert desk.viewer.dims.thickness != (0.0,) * 3
    desk.panel.leave()
    assert desk.viewer.dims.thickness == (0.0,) * 3
    desk.viewer.layers.remove(other)


@pytest.mark.gui
def test_beside_a_series_in_time_the_planes_and_the_jumps_are_right(desk):
    four = desk.viewer.add_image(np.zeros((2, 5, 5, 5), np.float32), name="a series in time")
    desk.viewer.dims.set_point(0, 1)
    session = desk.session
    for key, through in KEYS.items():
        desk.press(key)
        desk.press("N")
        desk.press("Up")
        assert desk.viewer.dims.order[1] == through + 1
        assert desk.viewer.dims.point[0] == 1
        at = np.rint(session.grid.to_index(session.point_mm)).astype(int)
        assert seen(desk.cockpit.layer("ct"), desk) == session.shown.array[tuple(at)]
    desk.viewer.layers.remove(four)
    desk.press("7")
    desk.press("N")
    assert desk.viewer.dims.ndim == 3


@pytest.mark.gui
def test_a_panel_that_is_taken_out_lets_go_and_the_next_one_takes_over(desk):
    from pipelines.viewer.docking import dock_panel

    viewer, session, first = desk.viewer, desk.session, desk.panel
    desk.press("N")
    first.leave()
    before = len(viewer.mouse_wheel_callbacks), dict(viewer.keymap)
    first.adopt(session)
    viewer.window.remove_dock_widget(first)
    desk.settle()
    assert (len(viewer.mouse_wheel_callbacks), dict(viewer.keymap)) == before
    assert viewer.dims.thickness == (0.0,) * 3
    desk.panel = dock_panel(viewer)
    desk.settle()
    assert desk.panel is not first
    assert desk.panel.session is session
    assert first.session is None
    roles = [layer.metadata["nodulus"] for layer in desk.cockpit.own_layers()]
    assert len(roles) == len(set(roles))
    desk.press("N")
    desk.press("Up")
    assert session.point_mm[2] == pytest.approx(MARKS[1][0][2] + 2.5)
    desk.panel.leave()
    assert list(viewer.layers) == []


@pytest.mark.gui
@pytest.mark.parametrize("end", [0, 1])
def test_a_crosshair_near_the_edge_adds_no_slices_to_the_slider(desk, end):
    grid = desk.session.grid
    desk.session.go_to(tuple(grid.to_mm((np.asarray(grid.shape) - 1) * end)))
    desk.session.set_result(desk.session.report, {}, folder=desk.session.folder)
    desk.settle()
    assert desk.viewer.dims.nsteps == grid.shape
    assert desk.viewer.dims.range[0][0] == -190.0


@pytest.mark.gui
def test_a_ct_opens_in_its_middle(desk):
    """Though napari stands at nought before, which may be anywhere."""
    assert desk.session.point_mm == pytest.approx(desk.session.grid.centre_mm)
