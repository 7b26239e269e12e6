"""In which lung a finding lies, and in which third of that lung's height."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.findings import Point, Side, Zone

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

#: A finding further from any lung than this has no side, mm.
REACH_MM = 15.0
#: Values of `Lungs.labels`; the patient's sides.
SIDES: dict[int, Side] = {1: "right", 2: "left"}


def locate(lungs: Lungs, points_mm: list[Point]) -> list[tuple[Side | None, Zone | None]]:
    """Side and zone of each point, None where no lung is near; a zone is a third of the lung's height along LPS z."""
    heights = {label: _height_mm(lungs, label) for label in SIDES}
    return [_locate_one(lungs, heights, point) for point in points_mm]


def _locate_one(
    lungs: Lungs, heights: dict[int, tuple[float, float] | None], point_mm: Point
) -> tuple[Side | None, Zone | None]:
    label = _label_near(lungs, point_mm)
    height = heights.get(label)
    if height is None:
        return None, None
    low, high = height
    part = (point_mm[2] - low) / max(high - low, 1e-6)
    zone: Zone = "lower" if part < 1 / 3 else "middle" if part < 2 / 3 else "upper"
    return SIDES[label], zone


def _label_near(lungs: Lungs, point_mm: Point) -> int:
    """Label of the lung voxel nearest to a point, 0 if there is none within reach."""
    grid = lungs.grid
    here = grid.to_index(point_mm)
    nearest = np.clip(np.rint(here), 0, np.asarray(grid.shape) - 1).astype(int)
    label = int(lungs.labels[tuple(nearest)])
    if label:
        return label
    span = REACH_MM * np.linalg.norm(grid.inverse[:3, :3], axis=1)
    low = np.clip(np.floor(here - span).astype(int), 0, np.asarray(grid.shape) - 1)
    high = np.clip(np.ceil(here + span).astype(int) + 1, low + 1, grid.shape)
    index = np.argwhere(lungs.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]) + low
    if not index.size:
        return 0
    distances = np.linalg.norm(grid.to_mm(index) - np.asarray(point_mm), axis=1)
    if distances.min() > REACH_MM:
        return 0
    # Voxels of both lungs can be equally near; the smaller label wins whatever the order in which they are stored.
    return int(lungs.labels[tuple(index[distances <= distances.min() + 1e-3].T)].min())


def _height_mm(lungs: Lungs, label: int) -> tuple[float, float] | None:
    """Lowest and highest LPS z of a lung's voxels, or None where there is none."""
    along = lungs.grid.affine[2, :3]
    found: list[float] = []
    for index, plane in enumerate(lungs.labels):
        rows, columns = _filled(plane == label)
        if rows.size:
            edges = [along[1] * r + along[2] * c for r in (rows[0], rows[-1]) for c in (columns[0], columns[-1])]
            base = along[0] * index + lungs.grid.affine[2, 3]
            found += [base + min(edges), base + max(edges)]
    return (min(found), max(found)) if found else None


def _filled(plane: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    return np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
