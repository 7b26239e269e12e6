"""`grad_cam.nii.gz`, `similarity.nii.gz`, `nodules.nii.gz`: maps that lie exactly over the CT in any viewer.

They have the CT's own voxels. A sheared CT (tilted gantry) is the exception: viewers built on ITK refuse a sheared
NIfTI, or straighten it behind one's back, so its maps are resampled onto the upright grid around it, where every viewer
shows them at the right millimetre; `describe` says so.

Heat maps are stored as uint8 with a scale factor (``scl_slope``), which every reader applies: the largest value is code
255, so that no value is off by more than 1/510 of the largest. Outlines are stored as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.io.nifti_write import write_nifti
from imaging.outputs.case import CaseResult
from imaging.outputs.words import prompt

GRAD_CAM: Final = "grad_cam.nii.gz"
SIMILARITY: Final = "similarity.nii.gz"
NODULES: Final = "nodules.nii.gz"

#: Codes of a quantised map; 0 is exactly zero, the last code exactly the largest value.
LARGEST_CODE: Final = 255


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


def _upright(array: npt.NDArray[Any], grid: Grid, *, order: int) -> tuple[npt.NDArray[Any], Grid]:
    """The array on a grid that any viewer understands: its own, unless that is sheared."""
    from imaging.geometry.resample import orthogonal_grid, resample_array

    target = orthogonal_grid(grid)
    if target is grid:
        return array, grid
    return resample_array(array, grid, target, order=1 if order else 0, fill=0), target


def _write_heat(result: CaseResult, array: npt.NDArray[np.float32], path: Path, description: str) -> Path:
    upright, grid = _upright(array, result.volume.grid, order=1)
    codes, scale = quantise(upright)
    largest = scale * float(codes.max(initial=0))
    return write_nifti(codes, grid, path, description=description, scale=scale, display_range=(0.0, largest))


def stored_as(grid: Grid) -> str:
    """How exact a heat map's file is, and on which grid, for the report."""
    return f"stored in {LARGEST_CODE + 1} steps, exact to 1/510 of the largest value{_place(grid)}"


def _place(grid: Grid) -> str:
    return "" if grid.is_orthogonal else "; the CT is sheared, this file is resampled onto an upright grid"


def describe(result: CaseResult) -> dict[str, str]:
    """File name -> what the file holds, in a sentence, for the report."""
    heat = f"higher is more suspicious; {stored_as(result.volume.grid)}"
    notes = {}
    if result.grad_cam is not None:
        notes[GRAD_CAM] = f"Grad-CAM of the image tower; {heat}"
    if result.similarity is not None:
        notes[SIMILARITY] = f"similarity in [0, 1] to {prompt(result.similarity_prompt)}; {heat}"
    notes[NODULES] = f"outlined findings, the value is the number of the finding{_place(result.volume.grid)}"
    return notes


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `nodules.nii.gz` and those of the two heat maps that were computed."""
    files = {}
    if result.grad_cam is not None:
        text = "nodulus Grad-CAM, higher is more suspicious"
        files[GRAD_CAM] = _write_heat(result, result.grad_cam, folder / GRAD_CAM, text)
    if result.similarity is not None:
        doubt = any(notice.code == "prompt.untrained" for notice in result.report.notices)
        text = f"nodulus similarity to {'an UNTRAINED' if doubt else 'a text'} prompt, 0 to 1"
        files[SIMILARITY] = _write_heat(result, result.similarity, folder / SIMILARITY, text)
    outlines, grid = _upright(result.nodules, result.volume.grid, order=0)
    text = "nodulus findings, value = number of the finding"
    files[NODULES] = write_nifti(outlines, grid, folder / NODULES, description=text)
    return files
