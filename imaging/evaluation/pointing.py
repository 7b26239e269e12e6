"""Does the point lie in the lesion, and how far from its middle? In plane, against several readers' outlines.

The strict pointing game asks for a point inside the outline of at least two readers, with no margin. Several windows of
one nodule share one vote.

Source: Zhang et al. 2018, doi:10.1007/s11263-017-1059-x (the pointing game, there with a margin).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: How many readers must have drawn around a pixel for it to count.
STRICT_READERS = 2


def agreed_region(outlines: Bools, *, readers: int = STRICT_READERS) -> Bools:
    """(rows, columns): inside the outline of at least `readers` readers; `outlines` is (readers, rows, columns)."""
    region: Bools = outlines.sum(axis=0) >= readers
    return region


def points_at(region: Bools, row_column: npt.ArrayLike) -> bool:
    """Whether a point (row, column; pixel centres at whole numbers) lies in a pixel of `region`."""
    row, column = np.floor(np.asarray(row_column, dtype=np.float64) + 0.5).astype(int)
    inside = 0 <= row < region.shape[0] and 0 <= column < region.shape[1]
    return bool(inside and region[row, column])


def centroid(region: Bools) -> Floats:
    """(row, column) of the middle of a region; NaN if it is empty."""
    if not region.any():
        return np.full(2, np.nan)
    return np.argwhere(region).mean(axis=0)


def in_plane_error_mm(row_column: npt.ArrayLike, region: Bools, *, pixel_spacing_mm: float) -> float:
    """Distance in mm between a point and the middle of `region`; NaN if the region is empty."""
    offset = np.asarray(row_column, dtype=np.float64) - centroid(region)
    return float(np.linalg.norm(offset) * pixel_spacing_mm)


def shared_votes(groups: npt.ArrayLike) -> Floats:
    """(n,) weights by which the members of each group share one vote."""
    _, index, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return 1.0 / counts[index]
