"""A crop of a CT carried on into a chest, so that what needs a whole chest can be run on it.

A crop of 128 x 128 pixels shows lung and chest wall around one nodule, but no body. Here it is mirrored at its sides,
its outermost slices go on, tissue surrounds it, and a second lung lies on the other side of the middle. What is within
three centimetres of the nodule is the CT's own, in plane; along the body the nodule's last slice goes on, so a nodule
on the pleura is a ridge there and harder to keep than in its scan. Where air beside the body or a large structure
parts the crop, its lung may be refused, because it is not inside one body: such crops say nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.lidc_data import Stack
from imaging.geometry import Grid, Volume

#: How far the crop is mirrored, and its outermost slices go on, mm.
IN_PLANE_MM: Final = 24.0
ALONG_MM: Final = 24.0
#: Tissue around all of it; beside the second lung there is more, so that the body's middle lies between both lungs, mm.
TISSUE_MM: Final = 24.0
BROAD_MM: Final = 60.0
SECOND_MM: Final = 70.0
TISSUE_HU: Final = 40.0
LUNG_HU: Final = -850.0
#: Columns of a whole scan; what lies in its left half belongs to the right lung.
SCAN_COLUMNS: Final = 512


def chest_around(stack: Stack, *, on_right: bool) -> tuple[Volume, tuple[slice, slice, slice]]:
    """A chest that holds a crop, and where in it the crop lies.

    Args:
        stack: the crop.
        on_right: whether it shows the patient's right lung; the second lung lies at larger columns then.
    """
    slice_mm, row_mm, column_mm = stack.volume.grid.spacing_mm
    along = int(np.ceil(ALONG_MM / slice_mm))
    rows, columns = (int(np.ceil(IN_PLANE_MM / mm)) for mm in (row_mm, column_mm))
    wall = int(np.ceil(TISSUE_MM / row_mm))
    broad, second = (int(np.ceil(mm / column_mm)) for mm in (BROAD_MM, SECOND_MM))
    carried = np.pad(stack.volume.array, [(0, 0), (rows,) * 2, (columns,) * 2], mode="symmetric")
    carried = np.pad(carried, [(along,) * 2, (0, 0), (0, 0)], mode="edge")
    sides = (wall, 2 * broad + second) if on_right else (2 * broad + second, wall)
    array = np.pad(carried, [(0, 0), (wall, wall), sides], constant_values=TISSUE_HU)
    start = sides[0] + carried.shape[2] + broad if on_right else broad
    noise = np.random.default_rng(0).normal(scale=30.0, size=(array.shape[0], carried.shape[1], second))
    array[:, wall:-wall, start : start + second] = LUNG_HU + noise
    low = (along, wall + rows, sides[0] + columns)
    inside = [slice(a, a + n) for a, n in zip(low, stack.volume.grid.shape, strict=True)]
    affine = stack.volume.grid.affine.copy()
    affine[:3, 3] = stack.volume.grid.to_mm(-np.asarray(low))
    volume = Volume(np.ascontiguousarray(array, dtype=np.float32), Grid((*array.shape,), affine))
    return volume, (inside[0], inside[1], inside[2])


def on_right(origin_column: float) -> bool:
    """Whether a crop that starts at this column of its scan lies in the right lung; right where that is unknown."""
    return not origin_column + 64 > SCAN_COLUMNS / 2
