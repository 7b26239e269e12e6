"""The three planes: which axis is cut, which way is up, and the letters at the edges.

World axes are (z, y, x) in LPS mm: index 0 grows to the head (S), 1 to the back (P) and 2 to the patient's left (L).
Radiological convention: the patient faces the reader. Axial is seen from the feet, coronal from the front, sagittal
from the patient's left side, the front of the body on the left of the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.geometry import Grid

Point = tuple[float, float, float]

#: The letter at the end where the world coordinate (z, y, x) is largest, and where it is smallest.
LARGEST: Final = ("S", "P", "L")
SMALLEST: Final = ("I", "A", "R")


@dataclass(frozen=True)
class Plane:
    """One plane of reading.

    Args:
        name: axial, coronal or sagittal.
        order: world axes (0 = z, 1 = y, 2 = x): the one that is cut, the one that runs vertically, the horizontal one.
        orientation: where each of them grows on the screen: away or towards, up or down, left or right. All three are
            set so that a 3D view of the same order is not mirrored either.
    """

    name: str
    order: tuple[int, int, int]
    orientation: tuple[str, str, str]

    @property
    def letters(self) -> dict[str, str]:
        """The letter at each edge of the picture: left, right, top, bottom."""
        _, vertical, horizontal = self.order
        up = self.orientation[1] == "up"
        right = self.orientation[2] == "right"
        return {
            "left": (SMALLEST if right else LARGEST)[horizontal],
            "right": (LARGEST if right else SMALLEST)[horizontal],
            "top": (LARGEST if up else SMALLEST)[vertical],
            "bottom": (SMALLEST if up else LARGEST)[vertical],
        }


PLANES: Final[dict[str, Plane]] = {
    "axial": Plane("axial", (0, 1, 2), ("away", "down", "right")),
    "coronal": Plane("coronal", (1, 0, 2), ("away", "up", "right")),
    "sagittal": Plane("sagittal", (2, 0, 1), ("towards", "up", "right")),
}


def plane_of(order: tuple[int, ...]) -> Plane:
    """The plane whose cut axis comes first among the last three of `order`; axial for anything else."""
    through = order[-3] - (len(order) - 3) if len(order) >= 3 else None
    return next((plane for plane in PLANES.values() if plane.order[0] == through), PLANES["axial"])


def slab_reach(spacing_mm: float, slab_mm: float) -> int:
    """How many slices on each side of the middle one belong to a slab: those that begin inside its thickness.

    >>> [slab_reach(2.5, slab_mm) for slab_mm in (0, 5, 10, 15)], slab_reach(5.0, 15)
    ([0, 1, 2, 3], 1)
    """
    return max(0, math.ceil(slab_mm / 2 / spacing_mm - 0.5 - 1e-6))


def cut(
    array: npt.NDArray[Any], grid: Grid, plane: Plane, point_mm: Point, *, slab_mm: float = 0.0
) -> npt.NDArray[Any]:
    """The picture of one plane through a point: row 0 is the top, column 0 the left.

    Args:
        array: (z, y, x) on `grid`, an upright grid.
        point_mm: LPS mm; outside the grid the nearest slice is taken.
        slab_mm: the maximum over a slab of this thickness around the slice that holds the point; 0 for one slice.

    Returns:
        2D; a view of `array` for a single slice.
    """
    through = plane.order[0]
    last = grid.shape[through] - 1
    middle = int(np.clip(np.rint(grid.to_index(point_mm)[through]), 0, last))
    reach = slab_reach(grid.spacing_mm[through], slab_mm)
    first, stop = max(0, middle - reach), min(last, middle + reach) + 1
    block = np.moveaxis(array, plane.order, (0, 1, 2))[first:stop]
    picture = block[0] if stop - first == 1 else block.max(axis=0)
    if plane.orientation[1] == "up":
        picture = picture[::-1]
    shown: npt.NDArray[Any] = picture if plane.orientation[2] == "right" else picture[:, ::-1]
    return shown


def to_picture(grid: Grid, plane: Plane, point_mm: Point) -> tuple[float, float]:
    """(row, column) in the picture of `cut`, not rounded, of an LPS point."""
    index = grid.to_index(point_mm)
    _, vertical, horizontal = plane.order
    row, column = float(index[vertical]), float(index[horizontal])
    if plane.orientation[1] == "up":
        row = grid.shape[vertical] - 1 - row
    if plane.orientation[2] == "left":
        column = grid.shape[horizontal] - 1 - column
    return row, column


def from_picture(grid: Grid, plane: Plane, row: float, column: float, point_mm: Point) -> Point:
    """The LPS point at (row, column) of the picture; the coordinate across the plane stays that of `point_mm`."""
    index = np.array(grid.to_index(point_mm))
    _, vertical, horizontal = plane.order
    index[vertical] = grid.shape[vertical] - 1 - row if plane.orientation[1] == "up" else row
    index[horizontal] = grid.shape[horizontal] - 1 - column if plane.orientation[2] == "left" else column
    x, y, z = grid.to_mm(index)
    return float(x), float(y), float(z)
