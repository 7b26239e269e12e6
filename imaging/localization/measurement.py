"""Size and attenuation of a segmented lesion.

Volume counts partial voxels by their HU: a voxel half way between lung and lesion counts half. That holds for voxels
around the outline only; the inside counts whole, and vessels that were taken off do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imaging.findings import Point
from imaging.localization.patch import Floats, Floats32, Mask
from imaging.localization.segmentation import Lesion

#: How far from the outline blur still carries HU of the lesion, mm in plane; along the normal the slice spacing adds.
BLUR_MM = 1.4
#: Voxels this deep inside count whole, mm.
INSIDE_MM = 1.0
#: Solid lesions whose core is blurred away are taken to be at most so dense, HU.
SOLID_HU = 50.0


@dataclass(frozen=True)
class Measurement:
    """What was measured on one lesion.

    Args:
        centre_mm: LPS; the centre of mass, or the nearest place inside where that lies outside.
        volume_mm3: with partial volume.
        diameter_mm: of the ball with that volume.
        long_axis_mm, short_axis_mm: largest extent in the plane of a slice, and the extent across it in that plane.
        long_axis_ends_mm: LPS.
        mean_hu: inside the lesion, a millimetre off its rim where it is thick enough for that.
    """

    centre_mm: Point
    volume_mm3: float
    diameter_mm: float
    long_axis_mm: float
    short_axis_mm: float
    long_axis_ends_mm: tuple[Point, Point]
    mean_hu: float


def measure(lesion: Lesion, fractions: Floats32) -> Measurement:
    """Centre, volume, diameters and attenuation of a lesion; `fractions` is its `occupancy`."""
    volume = float(fractions.sum(dtype=np.float64)) * lesion.patch.grid.voxel_volume_mm3
    ends, long_axis, short_axis = _axes(lesion, solid_shape(lesion, fractions))
    return Measurement(
        centre_mm=_centre(lesion, fractions),
        volume_mm3=volume,
        diameter_mm=float(np.cbrt(6 * volume / np.pi)),
        long_axis_mm=long_axis,
        short_axis_mm=short_axis,
        long_axis_ends_mm=ends,
        mean_hu=float(lesion.patch.hu[_inside(lesion)].mean(dtype=np.float64)),
    )


def occupancy(lesion: Lesion) -> Floats32:
    """Which part of each voxel of the cube the lesion fills; noise carries it a little below 0 and above 1.

    The lesion's HU is that of its inside; where blur leaves none (thick slices, small lesions) it follows from the
    spread of its HU in the plane of the slices, where CT is sharp.
    """
    lung_hu = _lung_around(lesion)
    near = _near(lesion)
    lesion_hu = _core_hu(lesion, near, lung_hu)
    fractions = np.where(near, (lesion.patch.hu - np.float32(lung_hu)) / np.float32(lesion_hu - lung_hu), 0)
    # One noisy or calcified voxel of the rim must not count as several.
    fractions = np.clip(fractions, -0.5, 1.0 if lesion.ground_glass else 1.25).astype(np.float32)
    fractions[lesion.depth_mm >= INSIDE_MM] = 1
    return fractions


def solid_shape(lesion: Lesion, fractions: Floats32) -> Floats32:
    """`occupancy` in [0, 1] on the lesion and one voxel around; its outline lies at `outline_level`."""
    return np.where(lesion.mask | _rim(lesion.mask), np.clip(fractions, 0, 1), np.float32(0))


def outline_level(shape: Floats32) -> float:
    """Half full; half of the fullest voxel where a lesion thinner than a slice fills none whole."""
    return 0.5 * min(1.0, float(shape.max()))


def _near(lesion: Lesion) -> Mask:
    """The lesion and the blur around it, without its neighbours."""
    from scipy import ndimage

    spacing = lesion.patch.spacing_mm
    stretch = BLUR_MM / (BLUR_MM + 0.5 * lesion.patch.slice_spacing_mm)
    away = ndimage.distance_transform_edt(~lesion.mask, sampling=(spacing * stretch, spacing, spacing))
    near: Mask = (away <= BLUR_MM) & ~lesion.neighbours
    return near


def _lung_around(lesion: Lesion) -> float:
    """Median HU of the aerated lung in a ring of 3 to 7 mm around the lesion."""
    from scipy import ndimage

    away = ndimage.distance_transform_edt(~lesion.mask) * lesion.patch.spacing_mm
    ring = (away > 3) & (away < 7) & lesion.patch.lung & ~lesion.neighbours & (lesion.patch.hu < -500)
    return float(np.median(lesion.patch.hu[ring])) if ring.sum() >= 100 else lesion.lung_hu


def _inside(lesion: Lesion) -> Mask:
    """The lesion without its blurred rim, or all of it where nothing would be left."""
    deep: Mask = lesion.depth_mm >= INSIDE_MM + 0.25 * lesion.patch.slice_spacing_mm
    return deep if deep.sum() >= 8 else lesion.mask


def _core_hu(lesion: Lesion, near: Mask, lung_hu: float) -> float:
    """HU of the lesion free of blur."""
    inside = lesion.depth_mm >= INSIDE_MM + 0.5 * lesion.patch.slice_spacing_mm
    if lesion.ground_glass:  # of the shell: the denser core is inside anyway
        inside = (lesion.depth_mm >= INSIDE_MM) & (lesion.depth_mm < 2 * INSIDE_MM)
    if inside.sum() >= 8:
        return max(float(np.median(lesion.patch.hu[inside])), lung_hu + 50)
    seen = float(np.percentile(lesion.patch.hu[lesion.mask], 95))
    spread = _hu_from_spread(lesion, near, lung_hu)
    return max(seen, min(spread, SOLID_HU))


def _hu_from_spread(lesion: Lesion, near: Mask, lung_hu: float) -> float:
    """HU of the ball that has the lesion's sum of HU over lung and its extent in the plane of the slices.

    A ball of radius R has a variance of R^2 / 5 along each axis; the blur of kernel and pixels is subtracted.
    """
    excess = np.where(near, lesion.patch.hu - lung_hu, 0).astype(np.float64)
    flat = np.maximum(excess.sum(axis=0), 0)
    total = flat.sum()
    rows, columns = np.indices(flat.shape) * lesion.patch.spacing_mm
    variance: float = sum(
        float((flat * axis**2).sum() / total - ((flat * axis).sum() / total) ** 2) for axis in (rows, columns)
    )
    radius = np.sqrt(5 * max(variance / 2 - 0.35, 0.3))
    return lung_hu + float(total) * lesion.patch.grid.voxel_volume_mm3 / (4 / 3 * np.pi * radius**3)


def _centre(lesion: Lesion, fractions: Floats32) -> Point:
    """Centre of mass; the inscribed ball's centre where that lies outside (a crescent)."""
    weights = np.maximum(fractions, 0) * lesion.mask
    where = np.argwhere(weights > 0)
    mass = weights[tuple(where.T)].astype(np.float64)
    centre: Floats = (where * mass[:, None]).sum(axis=0) / mass.sum()
    nearest = tuple(int(i) for i in np.rint(centre))
    return lesion.patch.to_point(centre if lesion.mask[nearest] else lesion.inscribed_at)


def _axes(lesion: Lesion, shape: Floats32) -> tuple[tuple[Point, Point], float, float]:
    """Ends of the long axis, its length, and the extent across it in the same plane."""
    areas = lesion.mask.sum(axis=(1, 2))
    best: tuple[float, int, Floats] = (-1.0, 0, np.zeros((2, 2)))
    for plane in np.flatnonzero(areas >= 0.6 * areas.max()).tolist():
        outline = _outline(shape[plane], lesion.mask[plane])
        apart = np.linalg.norm(outline[:, None] - outline[None], axis=-1)
        first, second = np.unravel_index(int(np.argmax(apart)), apart.shape)
        if apart[first, second] > best[0] + 1e-6:
            best = (float(apart[first, second]), plane, outline[[first, second]])
    length, plane, ends = best
    along = (ends[1] - ends[0]) / max(length, 1e-9)
    across = _outline(shape[plane], lesion.mask[plane]) @ np.array([-along[1], along[0]])
    points = [lesion.patch.to_point((plane, *end)) for end in sorted(ends.tolist())]
    spacing = lesion.patch.spacing_mm
    return (points[0], points[1]), length * spacing, float(np.ptp(across)) * spacing


def _rim(mask: Mask) -> Mask:
    from scipy import ndimage

    rim: Mask = ndimage.binary_dilation(mask) & ~mask
    return rim


def _outline(shape: Floats32, mask: Mask) -> Floats:
    """Points (row, column) of the outline in one plane; those on its convex hull suffice."""
    from skimage.measure import find_contours

    contours: list[Floats] = find_contours(np.pad(shape, 1), outline_level(shape))
    if not contours:
        contours = find_contours(np.pad(mask.astype(np.float32), 1), 0.5)
    points: Floats = np.concatenate(contours) - 1
    return _hull(points)


def _hull(points: Floats) -> Floats:
    from scipy.spatial import ConvexHull, QhullError

    try:
        hull: Floats = points[ConvexHull(points).vertices]
    except QhullError:  # a line or a point
        return points
    return hull
