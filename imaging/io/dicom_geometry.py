"""Slices become a grid: order, spacing, shear; what is repaired, and what is refused.

Only ImagePositionPatient, ImageOrientationPatient and PixelSpacing are believed. SliceThickness, SpacingBetweenSlices,
SliceLocation, GantryDetectorTilt, PatientPosition, instance numbers and file names are wrong too often, and never used.

Source: DICOM PS3.3 C.7.6.2 (image plane module), in particular C.7.6.2.1.1 for the equation of a pixel's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.geometry.grid import Grid
from imaging.io.dicom_slices import Slice
from imaging.io.plausible import doubt_about_spacing

Floats = npt.NDArray[np.float64]
#: Plane -> further images at the same place.
Copies = dict[int, tuple[Slice, ...]]

#: No voxel may lie further than this from where its own header puts it.
TOLERANCE_MM = 0.1
#: Two images closer than this lie at one place.
SAME_PLACE_MM = 0.02
#: Pixel spacings that differ by more than this part are different, even in a small image.
SPACING_PART = 1e-3
#: Images whose axes differ by more than this many degrees are turned against each other, even if small.
ANGLE_DEGREES = 0.5
#: Scatter of positions that is worth telling.
_JITTER_MM = 1e-3
#: A missing unit length or right angle beyond this is no rounding.
_COSINE = 5e-3


@dataclass(frozen=True, eq=False)
class Planes:
    """The planes of n slices, in the order given.

    Args:
        slices: n of them.
        positions_mm: (n, 3) centre of the first pixel, LPS.
        rows, columns: (n, 3) unit vectors along a row (column index grows) and along a column (row index grows).
        spacings_mm: (n, 2) distance between rows, between columns.
        size: rows, columns of each image.
    """

    slices: Sequence[Slice]
    positions_mm: Floats
    rows: Floats
    columns: Floats
    spacings_mm: Floats
    size: tuple[int, int]

    @property
    def normal(self) -> Floats:
        """Unit normal of the mean plane, right-handed: along a row x along a column."""
        normal = np.cross(self.rows.mean(0), self.columns.mean(0))
        return np.asarray(normal / np.linalg.norm(normal))

    @property
    def distances_mm(self) -> Floats:
        """(n,) place of each slice along the normal."""
        return np.asarray(self.positions_mm @ self.normal)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in the order of a grid.

    Args:
        slices: one for each plane of the grid.
        copies: plane -> further images at the same place, which must hold the same pixels.
        grid: where the voxels lie.
        notices: what was repaired or is in doubt.
    """

    slices: tuple[Slice, ...]
    copies: Copies
    grid: Grid
    notices: tuple[Notice, ...]


def place(slices: Sequence[Slice]) -> Stack:
    """Order slices along their normal and fit a grid to them.

    Raises:
        InputError: ``dicom.missing``, ``dicom.value``, ``geometry.orientation``, ``geometry.pixel_spacing``,
            ``geometry.frames_of_reference``, ``geometry.conflict``, ``geometry.one_position``, ``series.single_slice``,
            ``geometry.gap``, ``geometry.irregular``.
    """
    chosen, copies, frame_uid, notices = prepare(slices)
    _check_gaps(chosen)
    grid, error_mm = _fit(chosen, frame_uid)
    if error_mm > _JITTER_MM:
        notices.append(
            Notice("geometry.jitter", f"positions scatter by up to {error_mm:.4g} mm around even spacing of "
                   f"{grid.spacing_mm[0]:.6g} mm, which was fitted")
        )  # fmt: skip
    notices.extend(shape_notices(grid, chosen.normal))
    return Stack(tuple(chosen.slices), copies, grid, tuple(notices))


def prepare(slices: Sequence[Slice]) -> tuple[Planes, Copies, str | None, list[Notice]]:
    """One plane for each place, in order along the normal; the copies of each; their frame of reference; doubts.

    Raises:
        InputError: as `place`, but steps along the stack are not looked at.
    """
    planes = read_planes(slices)
    _check_orientations(planes)
    _check_pixel_spacings(planes)
    ordered, others = _order(planes)
    frame_uid, notices = _frame_of_reference(slices, places=len(ordered))
    if len(ordered) < 2:
        raise _no_stack(slices)
    copies = {plane: tuple(slices[i] for i in indices) for plane, indices in others.items()}
    return read_planes([slices[index] for index in ordered]), copies, frame_uid, notices


def read_planes(slices: Sequence[Slice]) -> Planes:
    """The planes as numbers.

    Raises:
        InputError: ``dicom.missing`` or ``dicom.value``, naming attribute, value and file.
    """
    positions, orientations, spacings = [], [], []
    for one in slices:
        positions.append(_required(one, "ImagePositionPatient", 3))
        orientations.append(_required(one, "ImageOrientationPatient", 6))
        spacings.append(_spacing(one))
    axes = np.array(orientations, dtype=np.float64).reshape(-1, 2, 3)
    lengths = np.linalg.norm(axes, axis=2)
    wrong = (np.abs(lengths - 1) > _COSINE).any(1)
    axes = axes / np.where(lengths > 0, lengths, 1.0)[:, :, None]
    wrong |= np.abs((axes[:, 0] * axes[:, 1]).sum(1)) > _COSINE
    if wrong.any():
        one = slices[int(wrong.argmax())]
        raise InputError(
            "geometry.orientation",
            f"ImageOrientationPatient {one.get('ImageOrientationPatient')} is not two unit vectors at a right angle",
            where=one.name,
        )
    size = (slices[0].whole("Rows"), slices[0].whole("Columns"))
    return Planes(slices, np.array(positions), axes[:, 0], axes[:, 1], np.array(spacings), size)


def _required(one: Slice, keyword: str, count: int) -> tuple[float, ...]:
    if not one.get(keyword):
        substitute = {
            "ImagePositionPatient": "; SliceLocation, SliceThickness and instance numbers are no substitute",
            "PixelSpacing": "; ImagerPixelSpacing is no substitute",
        }.get(keyword, "")
        raise InputError("dicom.missing", f"{keyword} is missing{substitute}", where=one.name)
    return one.numbers(keyword, count)


def _spacing(one: Slice) -> tuple[float, ...]:
    spacing = _required(one, "PixelSpacing", 2)
    if min(spacing) <= 0:
        raise InputError(
            "dicom.value", f"PixelSpacing is {one.get('PixelSpacing')}; it must be positive", where=one.name
        )
    return spacing


def _check_orientations(planes: Planes) -> None:
    """All images must be parallel and turned the same way, so well that no corner moves by more than the tolerance."""
    reference_row, reference_column = np.median(planes.rows, axis=0), np.median(planes.columns, axis=0)
    extents = (np.array(planes.size) - 1) * planes.spacings_mm
    turn_row = np.linalg.norm(planes.rows - reference_row, axis=1)
    turn_column = np.linalg.norm(planes.columns - reference_column, axis=1)
    corner_mm = turn_row * extents[:, 1] + turn_column * extents[:, 0]
    angle = np.degrees(np.maximum(turn_row, turn_column))
    wrong = (angle > ANGLE_DEGREES) | (corner_mm > TOLERANCE_MM)
    if wrong.any():
        worst = planes.slices[int(np.where(wrong, angle, 0).argmax())]
        raise InputError(
            "geometry.orientation",
            f"{int(wrong.sum())} of {len(wrong)} images are turned against the others, by up to "
            f"{angle.max():.3g} degrees: ImageOrientationPatient is {worst.get('ImageOrientationPatient')}, "
            f"elsewhere {_numbers(np.r_[reference_row, reference_column])}",
            where=worst.name,
        )


def _check_pixel_spacings(planes: Planes) -> None:
    reference = np.median(planes.spacings_mm, axis=0)
    part = np.abs(planes.spacings_mm / reference - 1).max(axis=1)
    if part.max() > SPACING_PART:
        worst = planes.slices[int(part.argmax())]
        raise InputError(
            "geometry.pixel_spacing",
            f"PixelSpacing is {worst.get('PixelSpacing')} mm in {int((part > SPACING_PART).sum())} of {len(part)} "
            f"images, elsewhere {_numbers(reference)} mm",
            where=worst.name,
        )


def _frame_of_reference(slices: Sequence[Slice], *, places: int) -> tuple[str | None, list[Notice]]:
    """The frame of reference all images share.

    Nearly as many frames as images (as places, where some images are there twice) are the work of an anonymiser that
    renames each one; a few clean groups are not.
    """
    first: dict[str, Slice] = {}
    for one in slices:
        if uid := one.get("FrameOfReferenceUID"):
            first.setdefault(uid, one)
    if not first:
        return None, [Notice("geometry.no_frame_of_reference", "FrameOfReferenceUID is missing in all images")]
    if len(first) == 1:
        return next(iter(first)), []
    if places >= 3 and len(first) >= 0.8 * places:
        return None, [
            Notice("geometry.frames_all_distinct", f"{len(slices)} images name {len(first)} FrameOfReferenceUIDs")
        ]
    examples = "; ".join(f"{uid} (first in {one.name})" for uid, one in list(first.items())[:3])
    raise InputError(
        "geometry.frames_of_reference", f"{len(slices)} images name {len(first)} FrameOfReferenceUIDs: {examples}"
    )


def _order(planes: Planes) -> tuple[list[int], dict[int, list[int]]]:
    """Indices along the normal, one for each place; and plane -> indices of further images at that place."""
    distances = planes.distances_mm
    names = np.array([one.get("SOPInstanceUID") or one.name for one in planes.slices])
    ordered: list[int] = []
    copies: dict[int, list[int]] = {}
    for index in (int(i) for i in np.lexsort((names, np.round(distances, 4)))):
        if ordered and abs(distances[index] - distances[ordered[-1]]) <= SAME_PLACE_MM:
            shift = np.linalg.norm(planes.positions_mm[index] - planes.positions_mm[ordered[-1]])
            if shift > SAME_PLACE_MM:
                raise conflict(
                    planes.slices[ordered[-1]], planes.slices[index], f"lie side by side, {shift:.3g} mm apart"
                )
            copies.setdefault(len(ordered) - 1, []).append(index)
        else:
            ordered.append(index)
    return ordered, copies


def conflict(first: Slice, second: Slice, what: str) -> InputError:
    """The refusal of two images in one plane that are not the same."""
    return InputError(
        "geometry.conflict",
        f"two images {what}, at ImagePositionPatient {first.get('ImagePositionPatient')}: "
        f"{first.name} and {second.name}",
        where=second.name,
    )


def _no_stack(slices: Sequence[Slice]) -> InputError:
    if len(slices) == 1:
        return InputError("series.single_slice", "the series has one image", where=slices[0].name)
    return InputError(
        "geometry.one_position",
        f"all {len(slices)} images lie at ImagePositionPatient {slices[0].get('ImagePositionPatient')}",
        where=slices[0].name,
    )


def _check_gaps(planes: Planes) -> None:
    """Refuse a hole in the stack, or another spacing in a part of it, by naming the place."""
    steps = np.diff(planes.distances_mm)
    base = float(median_low(steps.tolist()))
    wrong = np.flatnonzero((steps > 1.5 * base) | (steps < 0.5 * base))
    if not len(wrong):
        return
    parts = steps / base
    holes = 3 * len(wrong) <= len(steps) + 1 and bool(
        (np.abs(parts - np.round(parts)) < 0.2).all() and parts.min() > 0.5
    )
    shown = "; ".join(
        f"{steps[i]:.4g} mm between {planes.slices[i].name} and {planes.slices[i + 1].name}" for i in wrong[:4]
    )
    raise InputError(
        "geometry.gap" if holes else "geometry.irregular",
        f"{len(wrong)} of {len(steps)} steps along the stack are not {base:.4g} mm: {shown}",
        where=planes.slices[int(wrong[0])].name,
    )


def _fit(planes: Planes, frame_uid: str | None) -> tuple[Grid, float]:
    """The grid nearest to all planes, and the furthest that a corner lies from where its own header puts it, in mm."""
    count = len(planes.slices)
    numbers = np.arange(count) - (count - 1) / 2
    offsets = planes.positions_mm - planes.positions_mm[0]  # so that even positions come out without rounding noise
    step = numbers @ offsets / (numbers @ numbers)
    origin = planes.positions_mm[0] + (offsets.mean(0) - step * (count - 1) / 2)
    spacing = np.median(planes.spacings_mm, axis=0)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = np.median(planes.columns, axis=0) * spacing[0]
    affine[:3, 2] = np.median(planes.rows, axis=0) * spacing[1]
    affine[:3, 3] = origin
    grid = Grid((count, *planes.size), affine, frame_uid)
    errors = _corner_errors(planes, grid)
    steps = np.diff(planes.distances_mm)
    if errors.max() > min(TOLERANCE_MM, 0.25 * grid.spacing_mm[0]):
        worst = planes.slices[int(errors.argmax())]
        raise InputError(
            "geometry.irregular",
            f"slices lie up to {errors.max():.3g} mm off even spacing (steps from {steps.min():.4g} to "
            f"{steps.max():.4g} mm along the normal; up to {TOLERANCE_MM} mm is tolerated); ImagePositionPatient is "
            f"{worst.get('ImagePositionPatient')}",
            where=worst.name,
        )
    return grid, float(errors.max())


def _corner_errors(planes: Planes, grid: Grid) -> Floats:
    """(n,) the furthest a corner of each slice lies from where its own header puts it, in mm."""
    rows, columns = planes.size
    worst = np.zeros(len(planes.slices))
    for row, column in ((0, 0), (0, columns - 1), (rows - 1, 0), (rows - 1, columns - 1)):
        own = (
            planes.positions_mm
            + planes.columns * (planes.spacings_mm[:, :1] * row)
            + planes.rows * (planes.spacings_mm[:, 1:] * column)
        )
        index = np.column_stack([np.arange(len(worst)), np.full(len(worst), row), np.full(len(worst), column)])
        worst = np.maximum(worst, np.linalg.norm(own - grid.to_mm(index), axis=1))
    return worst


def shape_notices(grid: Grid, normal: Floats) -> list[Notice]:
    """What is to be told of a stack that leans against its planes' normal, or whose voxels have a strange size."""
    doubt = doubt_about_spacing(grid.spacing_mm)
    notices = [] if doubt is None else [Notice("geometry.spacing_doubtful", doubt)]
    step = grid.affine[:3, 0]
    along = float(step @ normal)
    drift = float(np.linalg.norm(step - along * normal))
    if drift * (grid.shape[0] - 1) > TOLERANCE_MM:
        angle = np.degrees(np.arctan2(drift, along))
        text = f"the stack leans by {angle:.2f} degrees: {grid.spacing_mm[0]:.4g} mm along it, "
        notices.append(Notice("geometry.sheared", f"{text}{along:.4g} mm along the normal"))
    return notices


def _numbers(values: npt.ArrayLike) -> str:
    return "\\".join(f"{value:g}" for value in np.asarray(values).tolist())
