"""The coarse lattice on which organs are worked out, and its values at the finer places of a drawing.

Organs are smooth, so a field of depths every few millimetres is enough; a plane of the drawing interpolates it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imaging.simulation.shapes import Axes, Field

#: Spacing of the lattice in mm.
LATTICE_MM = 3.2


class Scale(NamedTuple):
    """The size of the patient against a full-grown one: head to feet, and across (side to side, back to front)."""

    along: float
    across: float


#: For each place the knot below it, and how far it is to the next one (0 to 1).
Weights = tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]


def lattice_over(extent_mm: npt.NDArray[np.float64]) -> Axes:
    """Open coordinates of the coarse lattice, a step beyond the CT on all sides; the centre is 0."""
    z, y, x = (
        np.linspace(-e / 2 - LATTICE_MM, e / 2 + LATTICE_MM, int(np.ceil(e / LATTICE_MM)) + 3, dtype=np.float32)
        for e in extent_mm
    )
    return Axes(x[None, None, :], y[None, :, None], z[:, None, None])


def points_at(lattice: Axes, index: tuple[npt.NDArray[np.intp], ...]) -> Field:
    """The (n, 3) knots in (x, y, z) mm of an index in (slice, row, column), as `numpy.nonzero` gives one."""
    slices, rows, columns = index
    points: Field = np.stack([lattice.x[0, 0, columns], lattice.y[0, rows, 0], lattice.z[slices, 0, 0]], axis=1)
    return points


def weights_between(places: Field, knots: Field) -> Weights:
    """For each place the knot below it and how far it is to the next one (0 to 1)."""
    position = (places - knots[0]) / (knots[1] - knots[0])
    low = np.clip(np.floor(position).astype(np.intp), 0, len(knots) - 2)
    return low, np.clip(position - low, 0.0, 1.0).astype(np.float32)


def window_of(weights: Weights, knots: npt.NDArray[np.intp]) -> slice:
    """The places next to a run of knots."""
    low = weights[0]
    return slice(int(np.searchsorted(low, knots[0] - 1)), int(np.searchsorted(low, knots[-1], side="right")))


def interpolated(coarse: Field, down: Weights, across: Weights, window: tuple[slice, slice]) -> Field:
    """Bilinear values of a coarse plane in a window of the fine one."""
    low, weight = down[0][window[0]], down[1][window[0]][:, None]
    rows = coarse[low] * (1 - weight) + coarse[low + 1] * weight
    low, weight = across[0][window[1]], across[1][window[1]][None, :]
    fine = rows[:, low] * (1 - weight) + rows[:, low + 1] * weight
    return fine.astype(np.float32, copy=False)
