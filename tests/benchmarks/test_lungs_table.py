"""The table of nodules inside the lung mask: a drawn crop becomes a chest with two lungs, and groups are counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.carried_on import chest_around, on_right
from benchmarks.lidc_data import Stack
from benchmarks.lungs import Kept, nodule_rows
from imaging.geometry import Grid, Volume
from imaging.preprocessing.lungs import find_lungs

WALL = 40


def drawn(wall_left: bool) -> Stack:
    """Six slices of lung beside a chest wall of 40 columns, with a nodule 5 mm wide sunk into the wall's edge."""
    hu = np.random.default_rng(0).normal(-860, 30, (6, 128, 128)).astype(np.float32)
    hu[:, :, :WALL] = 40
    rows, columns = np.mgrid[:128, :128]
    disc = (rows - 64) ** 2 + (columns - WALL - 2) ** 2 <= 3.5**2
    hu[:, disc] = 30
    readers = np.broadcast_to(disc, hu.shape).astype(np.uint8) * 4
    if not wall_left:
        hu, readers = hu[:, :, ::-1].copy(), readers[:, :, ::-1].copy()
    grid = Grid.from_spacing((6, 128, 128), spacing_mm=(2.0, 0.7, 0.7), origin_mm=(10.0, 20.0, -30.0))
    return Stack("P", 0, Volume(hu, grid), np.arange(6), readers, readers > 0, np.ones(6, bool))


@pytest.mark.parametrize("wall_left", [True, False])
def test_a_crop_becomes_a_chest_in_its_own_place(wall_left):
    stack = drawn(wall_left)
    volume, box = chest_around(stack, on_right=wall_left)
    assert np.array_equal(volume.array[box], stack.volume.array)
    corner = [s.start for s in box]
    np.testing.assert_allclose(volume.grid.to_mm(corner), stack.volume.grid.to_mm((0, 0, 0)), atol=1e-9)
    lungs = find_lungs(volume)
    own, other = (1, 2) if wall_left else (2, 1)
    assert set(np.unique(lungs.labels[box])) == {0, own}
    assert (lungs.labels == other).any()
    lung = stack.volume.array < -500
    assert lungs.mask[box][lung].mean() > 0.98
    assert lungs.mask[box][stack.agreed].mean() > 0.7
    assert lungs.mask[box][~lung & ~stack.agreed].mean() < 0.1


def test_the_side_of_a_crop_follows_from_its_column_and_is_right_where_that_is_unknown():
    assert [on_right(column) for column in (0.0, 150.0, 200.0, 384.0, float("nan"))] == [True, True, False, False, True]


def test_groups_by_size_count_what_lies_outside():
    kept = [Kept(4.0, 1.0, 0.0), Kept(5.0, 0.5, 2.5), Kept(7.0, 0.9, 1.9), Kept(20.0, 0.8, 3.0)]
    assert nodule_rows(kept) == [
        ["0 to 6 mm", "2", "0.750", "1"],
        ["6 to 8 mm", "1", "0.900", "0"],
        ["15 to inf mm", "1", "0.800", "1"],
        ["all", "4", "0.800", "2"],
    ]
