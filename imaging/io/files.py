"""A volume in one file, whatever its format: a checked header first, then the voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.geometry.grid import Floats, Grid
from imaging.geometry.volume import Origin, Volume
from imaging.io.entries import Entry, file_entry
from imaging.io.limits import Limits
from imaging.io.plausible import doubt_about_range, doubt_about_spacing
from imaging.io.voxels import Layout, content_sha256, read_voxels

Format = Literal["nifti", "metaimage", "nrrd"]

#: Millimetres of one unit of length, by the names that headers use.
MILLIMETRES = {
    "mm": 1.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "millimetres": 1.0,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "micrometers": 1e-3,
    "cm": 10.0, "centimeter": 10.0, "centimeters": 10.0, "m": 1000.0, "meter": 1000.0, "meters": 1000.0,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class FileHeader:
    """What a file's header says about its one volume, checked; no voxel has been read.

    Args:
        format: of the file.
        grid: where the voxels lie.
        layout: how they are stored.
        entries: the header's file and, if it is another, the voxels'.
        notices: repairs and doubts.
        is_hu: False where the header itself says that the values are not HU.
    """

    format: Format
    grid: Grid
    layout: Layout
    entries: tuple[Entry, ...]
    notices: tuple[Notice, ...] = ()
    is_hu: bool = True

    def seriesuid(self) -> str:
        """``sha256:`` and the hash of the file's content, which is read for it."""
        return f"sha256:{content_sha256(self.entries)}"


def as_entry(source: Entry | str | Path, limits: Limits | None = None) -> Entry:
    """The entry of a path; an entry is given back as it is.

    Raises:
        InputError: ``input.missing``, ``input.unreadable``.
    """
    if isinstance(source, Entry):
        return source
    path = Path(source)
    if not path.exists():
        raise InputError("input.missing", "there is no file of this name", where=path)
    return file_entry(path, path.name, Limits() if limits is None else limits)


def read_volume(header: FileHeader) -> Volume:
    """The volume that a checked header describes.

    Raises:
        InputError: ``file.truncated``, ``file.surplus``, ``file.damaged``, ``input.unreadable``, ``archive.damaged``.
    """
    array, gaps = read_voxels(header.layout)
    digest = content_sha256(header.entries)
    is_hu, doubts = judge_hu(array)
    return Volume(
        array=array,
        grid=header.grid,
        warnings=header.notices + gaps + doubts,
        origin=Origin(seriesuid=f"sha256:{digest}", format=header.format, content_sha256=digest),
        is_hu=header.is_hu and is_hu,
    )


def judge_hu(array: npt.NDArray[np.float32]) -> tuple[bool, tuple[Notice, ...]]:
    """Whether values can be Hounsfield units, from their range; a file without a modality cannot say it itself.

    >>> judge_hu(np.array([0.0, 255.0], dtype=np.float32))[0]
    False
    """
    is_hu, doubt = doubt_about_range(float(array.min()), float(array.max()))
    return is_hu, () if doubt is None else (Notice("file.hu_doubtful" if is_hu else "file.not_hu", doubt),)


def grid_of(
    file_affine: Floats, shape: tuple[int, int, int], entry: Entry, *, fields: str
) -> tuple[Grid, tuple[Notice, ...]]:
    """The grid of a file's affine, and a doubt if its spacing is hardly that of a CT.

    Args:
        file_affine: takes the file's (column, row, slice) index to LPS mm.
        shape: (slice, row, column).
        fields: those of the header that the affine was made of, with their values; a refusal names them.

    Raises:
        InputError: ``geometry.singular``.
    """
    try:
        grid = Grid(shape, file_affine[:, (2, 1, 0, 3)])
    except InputError as error:
        raise InputError(error.code, f"{fields}: {error.message}", where=entry.name) from error
    doubt = doubt_about_spacing(grid.spacing_mm)
    return grid, () if doubt is None else (Notice("file.spacing_doubtful", doubt),)


def volume_shape(sizes: list[int], entry: Entry, limits: Limits, *, field: str) -> tuple[int, int, int]:
    """(slice, row, column) of a file's sizes, fastest first; further axes must have one step.

    Args:
        sizes: as the header gives them.
        field: the name that they have there; a refusal names it.

    Raises:
        InputError: ``file.dimensions``, ``file.header``, ``input.too_large``.
    """
    text = " x ".join(str(size) for size in sizes)
    if any(size < 1 for size in sizes):
        raise InputError("file.header", f"{field} {text}: each must be at least 1", where=entry.name)
    if len(sizes) < 3 or any(size != 1 for size in sizes[3:]):
        raise InputError("file.dimensions", f"{field} {text}: not three dimensions", where=entry.name)
    if min(sizes[:3]) < 2:
        raise InputError("file.dimensions", f"{field} {text}: a single slice is not a volume", where=entry.name)
    limits.check_voxels(*sizes[2::-1], where=entry.name)
    return sizes[2], sizes[1], sizes[0]
