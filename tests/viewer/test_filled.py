"""Layers that draw only what is not zero show the same picture as napari's own, and keep their whole array."""

from __future__ import annotations

import os

import numpy as np
import pytest
from viewer.conftest import MARKS, a_map
from viewer.test_window import canvas_position

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")

from pipelines.viewer.moves import REST_MS
from pipelines.viewer.pictures import MARGIN, filled_box
from pipelines.viewer.shader_reuse import reuse

#: Places whose slices hold a whole mark, a part of one, one at two borders of the array, and nothing.
CORNER = (-71.0, -62.0, -190.0)
PLACES = (MARKS[0][0], (MARKS[1][0][0] + 2, *MARKS[1][0][1:]), CORNER, (20.0, 40.0, -150.0))


@pytest.mark.parametrize("place", [(0, 0), (5, 9), (19, 29), (3, 0)])
def test_the_box_holds_all_and_a_margin(place):
    array = np.zeros((20, 30), np.uint8)
    array[place] = 7
    array[min(place[0] + 4, 19), min(place[1] + 2, 29)] = 1
    rows, columns = filled_box(array)
    assert array[rows, columns].sum() == array.sum()
    at = np.argwhere(array)
    assert (rows.start, columns.start) == tuple(np.maximum(at.min(axis=0) - MARGIN, 0))
    assert (rows.stop, columns.stop) == tuple(np.minimum(at.max(axis=0) + MARGIN + 1, (20, 30)))


def test_a_slice_of_nothing_has_a_box_of_something_to_hand_to_the_drawing():
    rows, columns = filled_box(np.zeros((20, 30), np.float32))
    assert 0 < rows.stop - rows.start <= MARGIN + 1
    assert 0 < columns.stop - columns.start <= MARGIN + 1


def hot_near_marks(grid):
    """Zero but near the first mark, and in one voxel at a corner of the array."""
    heat = a_map(grid)
    heat[heat < 0.3] = 0
    heat[0, :2, :3] = 1.0
    return heat


@pytest.fixture
def pair(desk):
    """The desk with outlines and a map, and switches: our layers or napari's own in their place."""
    session = desk.session
    grid = session.grid
    labels = np.asarray(session.maps["nodules"]).copy()
    labels[0, :3, :2] = 2
    session.set_result(session.report, {"nodules": (labels, grid), "grad_cam": (hot_near_marks(grid), grid)})
    desk.settle()
    return Pair(desk)


class Pair:
    def __init__(self, desk):
        self.desk = desk
        self.ours = [desk.cockpit.layer(role) for role in ("grad_cam", "nodules")]
        self.whole = [self.twin(layer) for layer in self.ours]

    def twin(self, layer):
        """napari's own layer of the same options, drawn at the same height."""
        from napari.layers import Layer

        data, options, kind = layer.as_layer_data_tuple()
        twin = Layer.create(data, options | {"name": "whole", "visible": False, "metadata": {}}, kind)
        if kind == "labels":
            twin.contour = layer.contour
        layers = self.desk.viewer.layers
        layers.insert(layers.index(layer), twin)
        assert type(twin) is not type(layer)
        return twin

    def picture(self, *, ours):
        for one, other in zip(self.ours, self.whole, strict=True):
            one.visible, other.visible = ours, not ours
        return seen(self.desk)

    def check(self, *, visible=False):
        whole, ours = self.picture(ours=False), self.picture(ours=True)
        worst = int(np.abs(ours - whole).max())
        assert worst <= 1
        if visible:
            for one in self.ours:
                one.visible = False
            difference = int(np.abs(seen(self.desk) - ours).max())
            assert difference > 40


@pytest.mark.gui
def test_the_picture_is_that_of_whole_layers(pair):
    for key in ("8", "9", "7"):
        pair.desk.press(key)
        for place in PLACES:
            pair.desk.session.go_to(place)
            pair.check(visible=place is PLACES[0])
    for one in (pair.ours[1], pair.whole[1]):
        one.contour = 0
    pair.desk.session.go_to((MARKS[0][0][0], MARKS[0][0][1], MARKS[0][0][2] + 6))
    for _ in range(2):  # in slabs
        pair.desk.session.next_slab()
        for one, other in zip(pair.ours, pair.whole, strict=True):
            other.projection_mode = one.projection_mode
        pair.check()


@pytest.mark.gui
def test_the_whole_array_is_there_for_others(pair):
    pair.desk.session.go_to(MARKS[0][0])
    pair.desk.settle()
    heat, nodules = pair.ours
    assert (heat.as_layer_data_tuple()[2], nodules.as_layer_data_tuple()[2]) == ("image", "labels")
    for layer, other in zip(pair.ours, pair.whole, strict=True):
        other.visible = True
        assert layer.data.shape == pair.desk.session.grid.shape
        np.testing.assert_array_equal(layer.extent.world, other.extent.world)
        for place in (*PLACES, *(mark[0] for mark in MARKS)):
            world = (pair.desk.viewer.dims.point[0], *place[1::-1])
            assert layer.get_value(world, world=True) == other.get_value(world, world=True)
    pair.desk.qtbot.wait(2 * REST_MS)  # the layer list follows when the reader rests
    np.testing.assert_array_equal(nodules.thumbnail, pair.whole[1].thumbnail)


@pytest.mark.gui
def test_what_is_painted_outside_the_box_is_seen_at_once(pair):
    pair.desk.session.go_to(MARKS[0][0])
    pair.desk.settle()
    mine, other = pair.ours[1], pair.whole[1]
    slice_at = round(float(mine.world_to_data(MARKS[0][0][::-1])[0]))
    far = (slice_at, 60, 20)
    assert mine.data[far] == 0
    for layer in (mine, other):
        layer.data = layer.data.copy()
        layer.contour = 0
        layer.paint(far, 3)
    pair.check()
    for layer in (mine, other):
        layer.mode = "paint"
        layer.paint((slice_at, 20, 80), 2)
    assert mine._data_view.shape == mine.data.shape[1:]  # brushes are laid over whole slices
    pair.check()
    for layer in (mine, other):
        layer.mode = "pan_zoom"
        layer.paint(far, 0)
    assert mine._data_view.size < mine.data[0].size
    pair.check()
    for one in (pair.ours[0], pair.whole[0]):
        one.bounding_box.visible = True
    assert pair.ours[0]._data_view.size == pair.ours[0].data[0].size
    pair.check()


@pytest.mark.gui
def test_there_and_back_from_3d_and_from_hidden(pair):
    pair.desk.session.go_to(MARKS[0][0])
    pair.desk.press("0")
    assert pair.ours[1]._data_view.size == pair.ours[1].data.size
    for layer in pair.ours:
        layer.visible = False
    pair.desk.press("7")
    pair.desk.session.go_to(PLACES[1])
    pair.desk.settle()
    pair.check()


@pytest.mark.gui
def test_a_mesh_that_moves_is_compiled_once(desk, monkeypatch):
    """The crosshair and the shades behind the texts, at every step; the picture follows all the same."""
    from vispy.visuals.shaders.program import ModularProgram

    assert reuse()
    built, build = [], ModularProgram._build
    monkeypatch.setattr(ModularProgram, "_build", lambda program: built.append(program) or build(program))
    for _round in range(2):
        built.clear()  # each program may be built once
        for mark, _ in MARKS:
            desk.session.go_to(mark)
            desk.settle()
    assert len(built) == 0
    desk.session.go_to(MARKS[0][0])
    blue, crosshair = seen(desk), desk.cockpit.layer("crosshair")
    crosshair.visible = False
    lines = np.abs(blue - seen(desk)).max(axis=-1) > 20
    for beside in ((30.0, 0.0, 0.0), (0.0, 30.0, 0.0)):  # beyond the gap around the point
        column, row = canvas_position(desk, np.add(MARKS[0][0], beside))
        assert lines[row - 2 : row + 3, column - 2 : column + 3].any()
    crosshair.visible = True
    crosshair.edge_color = "red"
    redder = seen(desk) - blue
    assert int(redder[..., 0].max()) > 60
    assert int(redder[..., 2].min()) < -60


@pytest.mark.gui
def test_a_move_asks_for_slices_once_and_tells_the_layer_list_nothing(desk, monkeypatch):
    nodules, asked, heard = desk.cockpit.layer("nodules"), [], []
    slicer = type(desk.viewer._layer_slicer)
    submit = slicer.submit
    monkeypatch.setattr(slicer, "submit", lambda self, **options: asked.append(1) or submit(self, **options))
    desk.viewer.layers.events.connect(lambda event: heard.append(event.type) if nodules in event.sources else None)
    for mark, _ in (*MARKS, (PLACES[-1], 0.0)):
        asked.clear()
        desk.session.go_to(mark)
        assert len(asked) == 1
        assert heard == []
        world = desk.viewer.dims.point[-3:][desk.cockpit.plane.order[0]]
        index = desk.session.grid.to_index(mark)[desk.cockpit.plane.order[0]]
        shown = np.asarray(nodules.data)[round(float(index))]
        np.testing.assert_array_equal(nodules._slice.image.raw, shown)
        assert abs(world - mark[2]) <= desk.session.grid.spacing_mm[0] / 2 + 1e-6
    desk.viewer.dims.current_step = tuple(step - 2 for step in desk.viewer.dims.current_step)
    assert heard  # a hand on napari's own slider


@pytest.mark.gui
def test_the_layer_list_follows_when_the_reader_rests(desk):
    nodules, told = desk.cockpit.layer("nodules"), []
    desk.session.go_to(MARKS[0][0])
    desk.qtbot.wait(2 * REST_MS)
    nodules.events.thumbnail.connect(lambda event: told.append(nodules.thumbnail.copy()))
    for mark, _ in (*MARKS[1:], (PLACES[-1], 0.0)):
        desk.session.go_to(mark)
    assert told == []
    desk.qtbot.waitUntil(lambda: len(told) > 0, timeout=20 * REST_MS)
    assert len(told) == 1
    np.testing.assert_array_equal(told[0], nodules.thumbnail)
    desk.session.go_to(MARKS[0][0])
    desk.panel.leave()  # nothing is held back for ever
    assert len(told) >= 2


def seen(desk):
    desk.settle()
    return desk.viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
