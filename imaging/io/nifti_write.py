"""NIfTI files that lie over the CT in any viewer, with the same bytes on every run.

RAS is spoken here and in `imaging.io.nifti` only: NIfTI's x and y point the other way than DICOM's.

Source: https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Floats, Grid
from imaging.io.atomic import atomic_path

#: LPS to RAS and back.
LPS_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: From NIfTI's (column, row, slice) index to ours, and back.
REVERSED = (2, 1, 0, 3)
#: A quaternion in single precision may lie this far off the true place before it is left out.
QFORM_TOLERANCE_MM = 1e-3
_SCANNER = 1


def ras_affine(grid: Grid) -> Floats:
    """4 x 4: takes NIfTI's (column, row, slice) index to RAS mm."""
    return LPS_RAS @ grid.affine[:, REVERSED]


def write_nifti(
    array: npt.NDArray[Any],
    grid: Grid,
    path: str | Path,
    *,
    description: str = "",
    scale: float = 1.0,
    display_range: tuple[float, float] | None = None,
    compress_level: int = 1,
) -> Path:
    """Write an array on its grid as NIfTI-1; compressed if the name ends with .gz.

    Both places of the header are filled: the sform always; the qform where the grid is orthogonal and single precision
    holds its rotation to 0.001 mm (a qform cannot carry a shear). Values are stored as they are.

    Args:
        array: (slice, row, column), of the grid's shape; bool becomes uint8.
        path: ends with .nii or .nii.gz; replaced as a whole.
        description: at most 79 ASCII characters for the header.
        scale: what every reader multiplies the stored values by (``scl_slope``).
        display_range: the values a viewer shows as black and white at first.
        compress_level: 1 (fast) to 9.

    Raises:
        ValueError: if the shapes differ, or NIfTI has no such data type.
        OutputError: ``output.disk_full``, ``output.not_writable`` or ``output.failed``.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"a NIfTI file is called .nii or .nii.gz, not {path.name}")
    if tuple(array.shape) != grid.shape:
        raise ValueError(f"array {array.shape} and grid {grid.shape} differ in shape")
    voxels = array.view(np.uint8) if array.dtype == np.bool_ else array
    voxels = np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))
    header = _header(voxels.dtype, grid, description, scale, display_range)
    with atomic_path(path) as unfinished, unfinished.open("wb") as stream:
        if path.suffix != ".gz":
            stream.write(header)
            stream.write(voxels.data)
        else:
            # No file name and no time in the gzip header: the same values give the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=compress_level, fileobj=stream, mtime=0) as packed:
                packed.write(header)
                for plane in voxels:
                    packed.write(plane.data)
    return path


def _header(
    dtype: np.dtype[Any], grid: Grid, description: str, scale: float, display_range: tuple[float, float] | None
) -> bytes:
    """348 bytes of header and four that say that no extension follows."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.spatialimages import HeaderDataError

    untyped: Any = Nifti1Header
    header = untyped(endianness="<")
    try:
        header.set_data_dtype(dtype)
        header.set_data_shape(grid.shape[::-1])
    except HeaderDataError as error:
        raise ValueError(f"NIfTI-1 cannot hold {dtype} values of shape {grid.shape}: {error}") from error
    affine = ras_affine(grid)
    header.set_zooms(grid.spacing_mm[::-1])
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(scale, 0.0)
    header.set_sform(affine, _SCANNER)
    if grid.is_orthogonal:
        header.set_qform(affine, _SCANNER)
        if _corner_distance_mm(header.get_qform(), affine, grid.shape[::-1]) > QFORM_TOLERANCE_MM:
            header["qform_code"] = 0
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    header["descrip"] = description.encode("ascii", "replace")[:79]
    if display_range is not None:
        header["cal_min"], header["cal_max"] = display_range
    return bytes(header.binaryblock) + b"\0\0\0\0"


def _corner_distance_mm(one: Floats, other: Floats, shape: tuple[int, ...]) -> float:
    """How far apart two affines put the farthest corner of a grid."""
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1)
    apart = (one - other)[:3, :3] @ corners + (one - other)[:3, 3:]
    return float(np.linalg.norm(apart, axis=0).max())
