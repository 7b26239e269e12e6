"""Stacks with gaps or uneven steps, made even on request: planes between the measured ones are interpolated, and told.

Nobody gets this unasked: `imaging.io.dicom_geometry.place` refuses such stacks, because a nodule may lie in the gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.geometry.grid import Grid
from imaging.io.dicom_geometry import TOLERANCE_MM, Planes, Stack, prepare, shape_notices
from imaging.io.dicom_slices import Slice

#: Even steps are the smallest measured one, but no finer than this part of the usual one.
_FINEST_PART = 0.5
#: As many gaps are written out in the notice.
_GAPS_SHOWN = 8


@dataclass(frozen=True, eq=False)
class Filling:
    """How m even planes come from n measured ones: plane k is ``(1 - part[k]) * slice[below[k]] + part[k] * next``."""

    below: npt.NDArray[np.intp]
    part: npt.NDArray[np.float32]

    @property
    def measured(self) -> int:
        """How many of the even planes are measured ones, unchanged."""
        return int(np.count_nonzero(self.part == 0))

    def apply(self, array: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The even planes (m, rows, columns) of the measured ones (n, rows, columns)."""
        filled = np.empty((len(self.below), *array.shape[1:]), dtype=np.float32)
        for plane, below, part in zip(filled, self.below, self.part, strict=True):
            plane[...] = array[below]
            if part:
                plane += part * (array[below + 1] - array[below])
        return filled


def place_evenly(slices: Sequence[Slice]) -> tuple[Stack, Filling]:
    """Order slices and lay an even grid through them, whatever their steps; `Stack.grid` is the even one.

    Raises:
        InputError: all that `dicom_geometry.place` raises but ``geometry.gap``; ``geometry.irregular`` only if the
            slices do not lie along a straight line.
    """
    planes, copies, frame_uid, notices = prepare(slices)
    distances = planes.distances_mm
    step_mm = _even_step_mm(np.diff(distances))
    count = round(float(distances[-1] - distances[0]) / step_mm) + 1
    grid = _even_grid(planes, count, frame_uid)
    filling = _filling(distances, count)
    notices += [*shape_notices(grid, planes.normal), _told(planes, filling, grid)]
    return Stack(tuple(planes.slices), copies, grid, tuple(notices)), filling


def _even_step_mm(steps_mm: npt.NDArray[np.float64]) -> float:
    """The step that all are multiples of, so that every measured slice stays; else about the smallest."""
    finest = float(max(steps_mm.min(), _FINEST_PART * np.median(steps_mm)))
    multiples = np.round(steps_mm / finest)
    if np.abs(steps_mm / finest - multiples).max() < 0.2 and multiples.min() >= 1:
        return float(steps_mm.sum() / multiples.sum())
    return finest


def _even_grid(planes: Planes, count: int, frame_uid: str | None) -> Grid:
    """`count` planes from the first slice to the last.

    Raises:
        InputError: ``geometry.irregular`` if a slice lies beside the line between them.
    """
    first, last = planes.positions_mm[0], planes.positions_mm[-1]
    distances = planes.distances_mm
    along = ((distances - distances[0]) / (distances[-1] - distances[0]))[:, None]
    beside = np.linalg.norm(planes.positions_mm - (first + along * (last - first)), axis=1)
    if beside.max() > TOLERANCE_MM:
        worst = planes.slices[int(beside.argmax())]
        raise InputError(
            "geometry.irregular",
            f"slices lie up to {beside.max():.3g} mm beside the line from the first to the last; "
            f"ImagePositionPatient is {worst.get('ImagePositionPatient')}",
            where=worst.name,
        )
    spacing = np.median(planes.spacings_mm, axis=0)
    affine = np.eye(4)
    affine[:3, 0] = (last - first) / (count - 1)
    affine[:3, 1] = np.median(planes.columns, axis=0) * spacing[0]
    affine[:3, 2] = np.median(planes.rows, axis=0) * spacing[1]
    affine[:3, 3] = first
    return Grid((count, *planes.size), affine, frame_uid)


def _filling(distances_mm: npt.NDArray[np.float64], count: int) -> Filling:
    """Linear weights; an even plane where a slice was measured (to within the tolerance) is that slice."""
    wanted = np.linspace(distances_mm[0], distances_mm[-1], count)
    below = np.clip(np.searchsorted(distances_mm, wanted, side="right") - 1, 0, len(distances_mm) - 2)
    low, high = distances_mm[below], distances_mm[below + 1]
    snap = min(TOLERANCE_MM, 0.1 * float(wanted[1] - wanted[0]))
    part = (wanted - low) / (high - low)
    part[np.abs(wanted - low) <= snap] = 0.0
    upper = np.abs(wanted - high) <= snap
    below[upper], part[upper] = below[upper] + 1, 0.0
    return Filling(below, part.astype(np.float32))


def _told(planes: Planes, filling: Filling, grid: Grid) -> Notice:
    steps = np.diff(planes.distances_mm)
    wide = np.flatnonzero(steps > 1.5 * float(steps.min()))
    gaps = "; ".join(
        f"{steps[i]:.4g} mm between {planes.slices[i].name} and {planes.slices[i + 1].name}" for i in wide[:_GAPS_SHOWN]
    )
    more = f" and {len(wide) - _GAPS_SHOWN} more" if len(wide) > _GAPS_SHOWN else ""
    count = grid.shape[0]
    return Notice(
        "geometry.filled",
        f"{count - filling.measured} of {count} planes, {grid.spacing_mm[0]:.4g} mm apart, were interpolated "
        f"between {len(planes.slices)} measured ones with steps from {steps.min():.4g} to {steps.max():.4g} mm"
        + (f": {gaps}{more}" if gaps else ""),
    )
