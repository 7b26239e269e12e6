"""The slab: what lies within its millimetres is seen in each plane, what lies beyond is not."""

from __future__ import annotations

import os

import numpy as np
import pytest
from viewer.conftest import MARKS

from pipelines.viewer.planes import PLANES, cut, to_picture
from pipelines.viewer.viewing import SLABS_MM

if not os.environ.get("NODULUS_REQUIRE_ALL"):
    pytest.importorskip("napari")


def beside(session, plane, slab_mm, voxels):
    """A point from which the slab ends `voxels` voxels short of the first mark's ball (negative: inside it)."""
    (centre, diameter), through = MARKS[0], plane.order[0]
    world = list(centre[::-1])
    world[through] += slab_mm / 2 + diameter / 2 + voxels * session.grid.spacing_mm[through]
    return tuple(world[::-1])


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("slab_mm", SLABS_MM)
def test_a_cut_holds_the_maximum_of_its_millimetres(session, name, slab_mm):
    """The slow twin: the largest HU of all voxels whose centre lies in the slab or less than half a voxel off it."""
    plane, grid, array = PLANES[name], session.grid, session.shown.array
    point = beside(session, plane, slab_mm, -2)
    through = plane.order[0]
    coordinate = grid.to_mm(np.stack(np.indices(grid.shape), axis=-1))[..., 2 - through]
    away = np.abs(coordinate - point[2 - through])
    inside = away <= slab_mm / 2 + grid.spacing_mm[through] / 2 + 1e-6
    expected = np.where(inside, array, -np.inf).max(axis=through)
    picture = cut(array, grid, plane, point, slab_mm=slab_mm)
    row, column = (round(v) for v in to_picture(grid, plane, MARKS[0][0]))
    index = np.rint(grid.to_index(MARKS[0][0])).astype(int)
    kept = [axis for axis in range(3) if axis != through]
    assert picture[row, column] == expected[tuple(index[kept])] == 40.0
    assert picture.max() == expected.max()


@pytest.mark.gui
@pytest.mark.parametrize(("key", "name"), [("7", "axial"), ("8", "coronal"), ("9", "sagittal")])
def test_the_slab_reaches_as_many_millimetres_as_it_says_in_each_plane(desk, key, name):
    desk.press(key)
    for slab_mm in SLABS_MM[1:]:
        desk.press("L")
        assert desk.session.slab_mm == slab_mm
        check_reach(desk, name, slab_mm)


def check_reach(desk, name, slab_mm):
    ct, centre = desk.cockpit.layer("ct"), MARKS[0][0]
    for voxels, expected in ((-1.5, 40.0), (1.5, -850.0)):
        point = beside(desk.session, PLANES[name], slab_mm, voxels)
        desk.session.go_to(point)
        desk.settle()
        world = np.array(centre[::-1])
        world[PLANES[name].order[0]] = desk.viewer.dims.point[PLANES[name].order[0]]
        assert float(ct.get_value(tuple(world), world=True)) == expected, (slab_mm, voxels)
        picture = cut(desk.session.shown.array, desk.session.grid, PLANES[name], point, slab_mm=slab_mm)
        row, column = (round(v) for v in to_picture(desk.session.grid, PLANES[name], centre))
        assert picture[row, column] == expected
    assert f"maximum of {slab_mm:.0f} mm" in desk.viewer.canvas.overlays["nodulus_state"].text


def seen(layer, viewer, row, column):
    """The value of a picture in the slice that is shown, at a voxel of that slice."""
    world = list(layer.data_to_world((0, row, column)))
    return float(layer.get_value((viewer.dims.point[0], *world[1:]), world=True))


@pytest.mark.gui
@pytest.mark.parametrize("slabs", [0, 1])
def test_a_result_that_comes_later_is_cut_as_the_ct_is(desk, slabs):
    """napari's default for a new picture is the mean over the viewer's thickness, here over eight centimetres."""
    for _ in range(slabs):
        desk.press("L")
    session, heat = desk.session, desk.session.maps["grad_cam"]
    session.set_result(session.report, {"grad_cam": (heat.copy(), session.grid)}, folder=session.folder)
    session.go_to(MARKS[0][0])
    desk.settle()
    at = round(float(session.grid.to_index(MARKS[0][0])[0]))
    reach = round(session.slab_mm / 2 / session.grid.spacing_mm[0])
    expected = heat[at - reach : at + reach + 1].max(axis=0)
    layer = desk.cockpit.layer("grad_cam")
    for row, column in ((27, 20), (30, 25), (40, 33), (20, 12)):
        assert seen(layer, desk.viewer, row, column) == pytest.approx(expected[row, column], abs=1e-6)


@pytest.mark.gui
def test_a_picture_of_somebody_else_shows_its_slice_and_the_thickness_goes_with_the_session(desk):
    array = np.arange(60, dtype=np.float32)[:, None, None] * np.ones((1, 4, 4), np.float32)
    other = desk.viewer.add_image(
        array, scale=(2.5, 1.5, 1.5), translate=(-190.0, -62.0, -71.0), name="somebody else's"
    )
    desk.session.go_to(MARKS[0][0])
    desk.settle()
    assert seen(other, desk.viewer, 1, 2) == 12.0  # (-160 + 190) / 2.5
    assert desk.viewer.dims.thickness != (0.0,) * 3
    desk.panel.leave()
    assert desk.viewer.dims.thickness == (0.0,) * 3
    desk.viewer.layers.remove(other)
