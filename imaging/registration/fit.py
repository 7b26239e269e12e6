"""Find the affine that lays the lungs of one CT on those of another CT of the same patient.

Both CTs are reduced to about 3 mm along the patient's axes (`anatomy`). The start lays one pair of lungs on the other
by their centres and tries shifts along the body, for stacks that do not show the whole lungs; then twelve numbers are
fitted to the HU in and around the lungs by mutual information, from coarse to fine. Every sum runs in one thread over
fixed samples, so that the same CTs give the same affine (to a billionth of a millimetre; ITK's blur has threads).

Source: Mattes et al. 2003, doi:10.1109/TMI.2003.809072 (the metric, as in ITK).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.geometry.grid import Floats, Grid
from imaging.geometry.upright import upright_array
from imaging.geometry.volume import Volume
from imaging.preprocessing.anatomy import anatomy_of
from imaging.preprocessing.lung_shape import lung_shape
from imaging.registration.alignment import Alignment

Progress = Callable[[int, int], None]

#: HU beyond this tell nothing about where the lungs lie: air below, bone and contrast above.
HU_RANGE: Final = (-1000.0, 150.0)
#: The chest wall around the lungs takes part this far; it holds the ribs' and the diaphragm's shape.
AROUND_MM: Final = 12.0
#: Shifts along the body that are tried at the start, in mm.
SHIFTS_MM: Final = tuple(range(-80, 81, 10))
START_SHRINK: Final = 3
#: Lungs that overlap less than this after alignment are doubted.
LEAST_OVERLAP: Final = 0.85
#: Shrink factor, blur in mm and share of the voxels that is sampled, coarse to fine.
LEVELS: Final = ((4, 6.0, 1.0), (2, 3.0, 0.3), (1, 0.0, 0.1))
STEPS_PER_LEVEL: Final = 60


@dataclass(frozen=True, eq=False)
class _Chest:
    """HU and lungs on one small grid along (head, back, left)."""

    hu: npt.NDArray[np.float32]
    lungs: npt.NDArray[np.bool_]
    grid: Grid


def align(first: Volume, second: Volume, *, on_progress: Progress | None = None) -> Alignment:
    """The affine from `first` to `second`.

    Args:
        first, second: CTs in HU of one patient, on any grids.
        on_progress: called as (steps done, steps); may raise to cancel.

    Raises:
        InputError: ``lungs.none`` where no lung is found in one of them.
    """
    total = 2 + len(LEVELS) * STEPS_PER_LEVEL
    tell = on_progress or (lambda done, of: None)
    tell(0, total)
    here = _chest(first)
    tell(1, total)
    other = _chest(second)
    tell(2, total)
    matrix = _fit(here, other, lambda step: tell(2 + min(step, total - 2), total))
    overlap = _overlap(here, other, matrix)
    tell(total, total)
    return Alignment(matrix, overlap, _doubts(overlap))


def _doubts(overlap: float) -> tuple[Notice, ...]:
    if overlap >= LEAST_OVERLAP:
        return ()
    message = f"after alignment the lungs overlap by {overlap:.0%} only; places in the other study may be far off"
    return (Notice("compare.poor_match", message),)


def _chest(volume: Volume) -> _Chest:
    anatomy = anatomy_of(volume)
    shape = lung_shape(anatomy)
    if shape is None:
        message = "there are no lungs in it that another study could be laid on"
        raise InputError("lungs.none", message, where=volume.seriesuid or None)
    hu, grid = upright_array(np.clip(anatomy.hu, *HU_RANGE), anatomy.grid, fill=HU_RANGE[0])
    lungs, _ = upright_array(shape.labels > 0, anatomy.grid, order=0)
    return _Chest(np.ascontiguousarray(hu), np.ascontiguousarray(lungs), grid)


# --- the fit ---------------------------------------------------------------------------------------------------------
def _fit(here: _Chest, other: _Chest, on_step: Callable[[int], None]) -> Floats:
    import SimpleITK as sitk

    fixed, moving = _image(here.hu, here.grid), _image(other.hu, other.grid)
    mask = _image(_around(here).astype(np.uint8), here.grid)
    transform = sitk.AffineTransform(3)
    transform.SetCenter(_centre(here).tolist())
    transform.SetTranslation(_start(here, other, fixed, moving, mask, transform).tolist())
    method = _method(mask)
    method.SetInitialTransform(transform, inPlace=True)
    stopped: list[BaseException] = []

    def report() -> None:
        try:
            on_step(method.GetCurrentLevel() * STEPS_PER_LEVEL + method.GetOptimizerIteration())
        except BaseException as error:  # must not fly through ITK; it is raised again below
            stopped.append(error)
            method.StopRegistration()

    method.AddCommand(sitk.sitkIterationEvent, report)
    method.Execute(fixed, moving)
    if stopped:
        raise stopped[0]
    return _matrix(transform)


def _method(mask: Any) -> Any:
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(numberOfHistogramBins=32)
    method.SetMetricFixedMask(mask)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentagePerLevel([share for _, _, share in LEVELS], seed=1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetShrinkFactorsPerLevel([factor for factor, _, _ in LEVELS])
    method.SetSmoothingSigmasPerLevel([blur for _, blur, _ in LEVELS])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=3.0, minStep=0.02, numberOfIterations=STEPS_PER_LEVEL, relaxationFactor=0.6
    )
    return method


def _start(here: _Chest, other: _Chest, fixed: Any, moving: Any, mask: Any, transform: Any) -> Floats:
    """The translation from the lungs' centre to that of the others, moved along the body where that fits better."""
    import SimpleITK as sitk

    between = _centre(other) - _centre(here)
    fixed, moving, mask = (sitk.Shrink(image, [START_SHRINK] * 3) for image in (fixed, moving, mask))
    method = _method(mask)
    method.SetMetricSamplingPercentage(0.5, seed=1)
    best, least = between, np.inf
    for shift in sorted(SHIFTS_MM, key=abs):
        candidate = sitk.AffineTransform(transform)
        candidate.SetTranslation((between + np.array([0.0, 0.0, shift])).tolist())
        method.SetInitialTransform(candidate)
        try:
            value = method.MetricEvaluate(fixed, moving)
        except RuntimeError:  # too little of the samples lies in the other CT
            continue
        if value < least - 1e-3:
            best, least = between + np.array([0.0, 0.0, shift]), value
    return best


def _matrix(transform: Any) -> Floats:
    """4 x 4 of an ITK affine, which turns about a centre."""
    linear = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = centre + shift - linear @ centre
    return matrix


def _image(array: npt.NDArray[Any], grid: Grid) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.to_mm([0, 0, 0]).tolist())
    return image


def _around(chest: _Chest) -> npt.NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    around: npt.NDArray[np.bool_] = distance_transform_edt(~chest.lungs, sampling=chest.grid.spacing_mm) <= AROUND_MM
    return around


def _centre(chest: _Chest) -> Floats:
    centre: Floats = chest.grid.to_mm(np.argwhere(chest.lungs).mean(axis=0))
    return centre


def _overlap(here: _Chest, other: _Chest, matrix: Floats) -> float:
    """Dice of both pairs of lungs, where both CTs show the body."""
    there = _share_inside(here, other, matrix)
    back = _share_inside(other, here, np.linalg.inv(matrix).astype(np.float64))
    return 0.0 if there + back == 0 else 2 * there * back / (there + back)


def _share_inside(source: _Chest, target: _Chest, matrix: Floats) -> float:
    points = source.grid.to_mm(np.argwhere(source.lungs)) @ matrix[:3, :3].T + matrix[:3, 3]
    index = np.rint(target.grid.to_index(points)).astype(int)
    inside = np.all((index >= 0) & (index < target.grid.shape), axis=1)
    return float(target.lungs[tuple(index[inside].T)].mean()) if inside.any() else 0.0
