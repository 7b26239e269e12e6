"""`grad_cam.nii.gz`, `similarity.nii.gz`, `nodules.nii.gz`: maps that lie exactly over the CT in any viewer.

They have the CT's own voxels. A sheared CT (tilted gantry) is the exception: viewers built on ITK refuse a sheared
NIfTI, or straighten it behind one's back, so its maps are resampled onto the upright grid around it, where every viewer
shows them at the right millimetre; `describe` says so.

Heat maps are stored as uint8 with a scale factor (``scl_slope``), which every reader applies: the largest value is code
255, so that no value is off by more than 1/510 of the largest. Outlines are stored as they are.
"""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.io.atomic import write_bytes
from imaging.outputs.case import CaseResult

GRAD_CAM: Final = "grad_cam.nii.gz"
SIMILARITY: Final = "similarity.nii.gz"
NODULES: Final = "nodules.nii.gz"

#: Codes of a quantised map; 0 is exactly zero, the last code exactly the largest value.
LARGEST_CODE: Final = 255
#: Fast, and within a few percent of the best for maps that are mostly zero.
GZIP_LEVEL: Final = 1
#: Where values begin in a NIfTI-1 file: after the header and the flag for extensions, of which there are none.
VALUES_OFFSET: Final = 352


def quantise(values: npt.NDArray[np.floating[Any]]) -> tuple[npt.NDArray[np.uint8], float]:
    """A map >= 0 as codes and the scale that takes them back: ``values ~ codes * scale``.

    The error is at most half a step, 1/510 of the largest value. What is negative or not a number becomes 0.
    """
    largest = float(np.nanmax(values, initial=0.0))
    codes = np.zeros(values.shape, np.uint8)
    if not 0.0 < largest < np.inf:
        return codes, 1.0
    for plane, coded in zip(values, codes, strict=True):
        steps = np.nan_to_num(plane * np.float32(LARGEST_CODE / largest), nan=0.0)
        coded[...] = np.clip(np.rint(steps), 0, LARGEST_CODE)
    return codes, largest / LARGEST_CODE


def nifti_bytes(array: npt.NDArray[np.uint8], grid: Grid, *, scale: float = 1.0, description: str = "") -> bytes:
    """A gzip-compressed NIfTI-1 file; the same values give the same bytes.

    Args:
        array: (slice, row, column) on `grid`.
        grid: orthogonal.
        scale: what a reader multiplies the stored values by.
        description: up to 79 characters of ASCII.
    """
    import nibabel

    affine_ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.affine[:, [2, 1, 0, 3]]
    image = nibabel.Nifti1Image(array.T, affine_ras)
    image.header.set_sform(affine_ras, code=1)
    image.header.set_qform(affine_ras, code=1)
    image.header.set_xyzt_units(xyz="mm")
    image.header.set_slope_inter(scale, 0.0)
    image.header["descrip"] = description.encode("ascii", "replace")[:79]
    image.header["cal_max"] = scale * float(array.max(initial=0))
    image.header["vox_offset"] = VALUES_OFFSET
    header = image.header.binaryblock.ljust(VALUES_OFFSET, b"\0")
    return gzip.compress(header + np.ascontiguousarray(array).tobytes(), compresslevel=GZIP_LEVEL, mtime=0)


def _upright(array: npt.NDArray[Any], grid: Grid, *, order: int) -> tuple[npt.NDArray[Any], Grid]:
    """The array on a grid that any viewer understands: its own, unless that is sheared."""
    from imaging.geometry.resample import orthogonal_grid, resample_array

    target = orthogonal_grid(grid)
    if target is grid:
        return array, grid
    return resample_array(array, grid, target, order=1 if order else 0, fill=0), target


def _heat(result: CaseResult, array: npt.NDArray[np.float32], description: str) -> bytes:
    upright, grid = _upright(array, result.volume.grid, order=1)
    codes, scale = quantise(upright)
    return nifti_bytes(codes, grid, scale=scale, description=description)


def describe(result: CaseResult) -> dict[str, str]:
    """File name -> what the file holds, in a sentence, for the report."""
    place = (
        "" if result.volume.grid.is_orthogonal else "; the CT is sheared, this file is resampled onto an upright grid"
    )
    heat = f"higher is more suspicious; stored in {LARGEST_CODE + 1} steps, exact to 1/510 of the largest value{place}"
    notes = {}
    if result.grad_cam is not None:
        notes[GRAD_CAM] = f"Grad-CAM of the image tower; {heat}"
    if result.similarity is not None:
        notes[SIMILARITY] = f"similarity in [0, 1] to the text {result.similarity_prompt!r}; {heat}"
    notes[NODULES] = f"outlined findings, the value is the number of the finding{place}"
    return notes


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `nodules.nii.gz` and those of the two heat maps that were computed."""
    maps = {}
    if result.grad_cam is not None:
        maps[GRAD_CAM] = _heat(result, result.grad_cam, "nodulus Grad-CAM, higher is more suspicious")
    if result.similarity is not None:
        maps[SIMILARITY] = _heat(result, result.similarity, "nodulus similarity to a text prompt, 0 to 1")
    outlines, grid = _upright(result.nodules, result.volume.grid, order=0)
    maps[NODULES] = nifti_bytes(outlines, grid, description="nodulus findings, value = number of the finding")
    for name, content in maps.items():
        write_bytes(folder / name, content)
    return {name: folder / name for name in maps}
