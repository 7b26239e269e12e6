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
