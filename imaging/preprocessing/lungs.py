"""The lungs of a chest CT: right and left, filled, on the CT's own grid, or a refusal where there are none.

The lungs are found and repaired on a small upright copy (`anatomy`, `air`, `lung_shape`) and carried back to the CT's
grid along a surface that follows HU, so the result is finer than the copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.geometry.boxes import Box, crop_grid, mask_box
from imaging.geometry.grid import Grid
from imaging.geometry.resample import resample_array
from imaging.geometry.volume import Volume
from imaging.preprocessing.anatomy import Anatomy, anatomy_of
from imaging.preprocessing.lung_shape import LEFT, RIGHT, LungShape, lung_shape
from imaging.preprocessing.morphology import highest_near
from imaging.preprocessing.scan_quality import scan_notices

Progress = Callable[[int, int], None]
#: Slices carried back to the CT's grid at a time, to keep memory low.
SLAB = 16


@dataclass(frozen=True, eq=False)
class Lungs:
    """Both lungs on the grid of the CT they were found in.

    Args:
        labels: uint8 (slice, row, column), read-only: 0 outside, 1 the patient's right lung, 2 the left. Filled:
            vessels, tumours and nodules on the pleura are inside; windpipe and main bronchi are not.
        grid: the CT's grid.
        volume_ml: of both lungs.
        notices: doubts about what was scanned (``lungs.truncated``, ``series.thick_slices`` ...).
    """

    labels: npt.NDArray[np.uint8]
    grid: Grid
    volume_ml: float
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.labels.shape) != self.grid.shape:
            raise ValueError(f"labels {self.labels.shape} and grid {self.grid.shape} differ in shape")
        labels = self.labels.view()
        labels.setflags(write=False)
        object.__setattr__(self, "labels", labels)

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        """True inside either lung; a new array."""
        return self.labels > 0


def find_lungs(volume: Volume, *, on_progress: Progress | None = None) -> Lungs:
    """Find both lungs.

    Args:
        volume: a CT in HU, on any grid (coronal, feet first, left-handed, sheared).
        on_progress: called as (slices done, slices); may raise to cancel.

    Raises:
        InputError: ``lungs.none`` where no lung is found: a head, an abdomen, a test object, air.
    """
    total = volume.grid.shape[0]
    if on_progress is not None:
        on_progress(0, total)
    anatomy = anatomy_of(volume)
    shape = lung_shape(anatomy)
    if shape is None:
        raise InputError("lungs.none", _what_was_seen(anatomy), where=volume.seriesuid or None)
    labels = _on_grid(shape, anatomy, volume.grid, on_progress)
    volume_ml = float(np.count_nonzero(labels)) * volume.grid.voxel_volume_mm3 / 1000.0
    return Lungs(labels, volume.grid, volume_ml, scan_notices(volume, anatomy, shape))


def _what_was_seen(anatomy: Anatomy) -> str:
    extent = [n * s for n, s in zip(anatomy.grid.shape, anatomy.spacing_mm, strict=True)]
    tissue = float((anatomy.hu > -300).sum()) * anatomy.voxel_ml / 1000.0
    return (
        f"no aerated lung in a scan of {extent[0]:.0f} mm from head to foot, {extent[2]:.0f} mm from side to side "
        f"and {extent[1]:.0f} mm from front to back with {tissue:.1f} litres of tissue"
    )


def _on_grid(shape: LungShape, anatomy: Anatomy, grid: Grid, on_progress: Progress | None) -> npt.NDArray[np.uint8]:
    """Carry the labels to the CT's grid: inside where the interpolated field is above 0, side of the nearest voxel."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    sides = _extended(shape)
    box = _reached(shape, anatomy, grid)
    for start in range(box.start[0], box.stop[0], SLAB):
        stop = min(start + SLAB, box.stop[0])
        slab = Box((start, *box.start[1:]), (stop, *box.stop[1:]))
        target = crop_grid(grid, slab)
        inside = resample_array(shape.field, anatomy.grid, target, fill=-1.0) > 0
        side = resample_array(sides, anatomy.grid, target, order=0)
        labels[slab.slices] = np.where(inside, side, 0)
        if on_progress is not None:
            on_progress(stop, grid.shape[0])
    if on_progress is not None:
        on_progress(grid.shape[0], grid.shape[0])
    return labels


def _extended(shape: LungShape) -> npt.NDArray[np.uint8]:
    """Sides with a margin of one voxel, so that the surface between two voxels has a side."""
    grown = highest_near(shape.labels)
    both = (shape.labels == RIGHT).any() and (shape.labels == LEFT).any()
    sides = np.where(shape.labels > 0, shape.labels, grown if both else shape.labels.max())
    return sides.astype(np.uint8)


def _reached(shape: LungShape, anatomy: Anatomy, grid: Grid) -> Box:
    """The box of the CT's voxels that the lungs can reach."""
    box = mask_box(shape.labels)
    assert box is not None
    ends = np.array([[a - 1.5, b + 0.5] for a, b in zip(box.start, box.stop, strict=True)])
    corners = grid.to_index(anatomy.grid.to_mm(np.array(np.meshgrid(*ends)).reshape(3, -1).T))
    low = np.floor(corners.min(axis=0)).astype(int)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    start, stop = tuple(int(v) for v in low), tuple(int(v) for v in high)
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])).clipped(grid.shape)
