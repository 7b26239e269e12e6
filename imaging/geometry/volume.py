"""A CT in memory: Hounsfield units on a `Grid`, with everything that was repaired or doubted on the way in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.geometry.grid import Grid
from imaging.geometry.resample import Order, orthogonal_grid, resample_array


@dataclass(frozen=True)
class Instance:
    """One DICOM instance a volume was read from, in the order of the volume's slices.

    `number` is what a reader calls the image: the instance number, or the frame's in a multi-frame instance; None where
    it is absent or another image of the series bears it too.
    """

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None
    number: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where a volume came from; never holds a patient's name.

    `seriesuid` is the Series Instance UID of a DICOM series and ``sha256:`` plus the content hash of any other file.
    `header` holds the DICOM attributes that derived objects copy (patient and study modules) as a pydicom data set; it
    is None for other formats and is never logged or written into text outputs.
    """

    seriesuid: str
    format: str
    content_sha256: str | None = None
    study_instance_uid: str | None = None
    study_date: str | None = None
    modality: str | None = None
    series_description: str | None = None
    manufacturer: str | None = None
    convolution_kernel: str | None = None
    slice_thickness_mm: float | None = None
    instances: tuple[Instance, ...] = ()
    header: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, eq=False)
class Volume:
    """HU values and their places.

    Args:
        array: float32 (slice, row, column); made read-only.
        grid: where its voxels lie.
        warnings: one `Notice` for each repair, drop and doubt.
        origin: where it came from, or None for an array made in memory.
        is_hu: False where the values are not known to be Hounsfield units (a notice says why).
    """

    array: npt.NDArray[np.float32]
    grid: Grid
    warnings: tuple[Notice, ...] = ()
    origin: Origin | None = None
    is_hu: bool = True

    def __post_init__(self) -> None:
        if tuple(self.array.shape) != self.grid.shape:
            raise ValueError(f"array {self.array.shape} and grid {self.grid.shape} differ in shape")
        array = self.array if self.array.dtype == np.float32 else self.array.astype(np.float32)
        array = array.view()
        array.setflags(write=False)
        object.__setattr__(self, "array", array)

    @property
    def seriesuid(self) -> str:
        """The series' UID, or the content hash of a file without one; empty for an array made in memory."""
        return self.origin.seriesuid if self.origin else ""

    def with_warnings(self, *notices: Notice) -> Volume:
        """The same volume with further notices (the array is shared)."""
        return replace(self, warnings=self.warnings + notices)

    def resampled(self, spacing_mm: tuple[float, float, float] | None = None) -> Volume:
        """The volume on an orthogonal grid of the given (slice, row, column) spacing, by linear interpolation.

        Axes follow the in-plane axes and their normal, so a sheared stack becomes upright; by default the spacing stays
        what it is (along the slice normal). Voxels outside the source are air (-1024 HU). A notice records it.
        """
        return self.resampled_onto(orthogonal_grid(self.grid, spacing_mm=spacing_mm))

    def resampled_onto(self, grid: Grid, *, order: Order = 1, fill_hu: float = -1024.0) -> Volume:
        """The volume on another grid; a notice ``geometry.resampled`` records it, unless both grids are the same.

        Args:
            grid: where values are wanted.
            order: 1 for linear interpolation, 0 for the nearest voxel.
            fill_hu: the value outside the source; air by default.
        """
        if self.grid.same_as(grid, tolerance_mm=1e-6):
            return self
        array = resample_array(self.array, self.grid, grid, order=order, fill=fill_hu)
        origin = None if self.origin is None else replace(self.origin, instances=())
        message = f"values were resampled from {_describe(self.grid)} to {_describe(grid)}"
        notices = (*self.warnings, Notice("geometry.resampled", message))
        return Volume(array, grid, warnings=notices, origin=origin, is_hu=self.is_hu)


def _describe(grid: Grid) -> str:
    size = " x ".join(str(n) for n in grid.shape)
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing_mm)
    return f"{size} voxels of {spacing} mm" + ("" if grid.is_orthogonal else " (sheared)")
