"""The outline of one lesion, grown in HU from a place inside it.

Grown at the HU midway between lesion and lung; thinner things that hang on it (vessels) are taken off by an opening
whose ball follows the lesion's own thickness; the filled lung mask cuts at the pleura. Ground glass around a dense core
is added where it is a compact shell and not just blur.

Source: the opening follows J.-M. Kuhnigk et al., IEEE Trans Med Imaging 25 (2006) 417, doi:10.1109/TMI.2006.871547.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.findings import Point
from imaging.geometry import Volume
from imaging.localization.patch import Floats32, Mask, Patch, cut_patch

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

Index = tuple[int, int, int]

#: (half edge, voxel) in mm of the cubes that are tried; the next where a lesion reaches the cube's border.
CUBES_MM = ((17.5, 0.7), (32.2, 0.92), (55.0, 1.25))
#: What is kept around a lesion for measuring, mm.
MARGIN_MM = 8.0
#: Gaussian sigma before growing, mm: below the blur of any CT kernel, above a voxel's noise.
SMOOTH_MM = 0.6
#: The opening's radius as a fraction of the lesion's inscribed radius; the next where the result is not compact.
OPENINGS = (0.45, 0.62, 0.78)
#: Inscribed radius over the radius of the ball of equal volume; a ball has 1, a 3:1:1 ellipsoid 0.69.
LEAST_COMPACTNESS = 0.5
#: A nodule's outline holds its seed, give or take this, mm; else it is the outline of something beside it.
SEED_SLACK_MM = 1.5
#: Bounds of the HU that count as lesion core when the threshold is set: bone-like calcium must not raise it.
CORE_HU = (-650.0, 60.0)
#: What lung is where too little of it lies around to measure.
LUNG_HU = -860.0
#: How much denser than lung a ground-glass shell is at least, HU.
GROUND_GLASS_CONTRAST_HU = 130.0
#: A rim outside the core that may be ground glass, mm; blur alone makes 0.8 to 1.6 (phantoms, slices of 0.7 to 5 mm).
LEAST_SHELL_MM = 1.5
#: A rim that blur cannot make, mm.
CLEAR_SHELL_MM = 2.5
#: HU gradient in the rim over the core's contrast, per mm: solid nodules gave 0.18 to 0.32, shells 0.10 to 0.15.
PLATEAU_STEEPNESS = 0.165


@dataclass(frozen=True, eq=False)
class Lesion:
    """One segmented lesion.

    Args:
        patch: the cube it was grown in.
        mask: bool, shape of the cube.
        neighbours: what was grown along with it and taken off again (vessels), and what lies outside the lungs.
        inscribed_mm: radius of the largest ball inside.
        inscribed_at: its centre, an index of the cube; always inside the lesion.
        lesion_hu, lung_hu: attenuation of its inside and of the lung around.
        ground_glass: whether the outline is that of ground glass (its inside may be denser).
        leaked: whether growing ran into something else and the mask is only the inscribed ball.
    """

    patch: Patch
    mask: Mask
    neighbours: Mask
    inscribed_mm: float
    inscribed_at: Index
    lesion_hu: float
    lung_hu: float
    ground_glass: bool = False
    leaked: bool = False

    @property
    def equivalent_radius_mm(self) -> float:
        """Radius of the ball with as many voxels."""
        return float(np.cbrt(self.mask.sum() * 3 / (4 * np.pi)) * self.patch.spacing_mm)

    @cached_property
    def depth_mm(self) -> Floats32:
        """How deep each voxel lies inside, 0 outside; the cube's border is no surface."""
        return _depth_mm(self.mask, self.patch.spacing_mm)

    @property
    def compactness(self) -> float:
        """Inscribed radius over the radius of the ball of equal volume."""
        return self.inscribed_mm / max(self.equivalent_radius_mm, 1e-6)


def segment_lesion(volume: Volume, lungs: Lungs, seed_mm: Point) -> Lesion | None:
    """The lesion at a place, or None where nothing there is denser than lung.

    Args:
        volume: HU.
        lungs: filled lung mask on the same grid.
        seed_mm: LPS, inside the lesion or within 1 mm of it.
    """
    lesion = None
    for half_mm, spacing_mm in CUBES_MM:
        patch = cut_patch(volume, lungs, seed_mm, half_mm=half_mm, spacing_mm=spacing_mm)
        lesion, at_border = _segment_in(patch, seed_mm)
        if not at_border:
            break
    else:
        lesion = None if lesion is None else _inscribed_ball(lesion)
    return None if lesion is None else _cropped(lesion)


def _cropped(lesion: Lesion) -> Lesion:
    """The same lesion in the part of its cube that measuring needs."""
    margin = int(np.ceil(MARGIN_MM / lesion.patch.spacing_mm))
    where = np.argwhere(lesion.mask)
    low = np.maximum(where.min(axis=0) - margin, 0)
    high = np.minimum(where.max(axis=0) + margin + 1, lesion.mask.shape)
    box = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    a, b, c = (int(i - o) for i, o in zip(lesion.inscribed_at, low, strict=True))
    return replace(
        lesion,
        patch=lesion.patch.cropped(box),
        mask=lesion.mask[box].copy(),
        neighbours=lesion.neighbours[box].copy(),
        inscribed_at=(a, b, c),
    )


def _segment_in(patch: Patch, seed_mm: Point) -> tuple[Lesion | None, bool]:
    """The lesion in one cube, and whether a larger cube is needed."""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(patch.hu, SMOOTH_MM / patch.spacing_mm)
    allowed = _allowed(patch, seed_mm)
    seed = _densest_near(smooth, allowed, patch, seed_mm)
    lung_hu = _lung_hu(patch, smooth)
    lesion_hu = float(np.clip(smooth[seed], *CORE_HU))
    if smooth[seed] - lung_hu < GROUND_GLASS_CONTRAST_HU:
        return None, False
    lesion = _grow(patch, smooth, allowed, seed, lesion_hu, lung_hu)
    if lesion is None:
        return None, False
    lesion = _with_ground_glass(lesion, smooth, allowed, seed)
    at_border = _touches_border(lesion.mask)
    if not at_border and lesion.compactness < LEAST_COMPACTNESS:
        lesion = _inscribed_ball(lesion)
    return lesion, at_border


def _allowed(patch: Patch, seed_mm: Point) -> Mask:
    """Where a lesion may be: the filled lungs; all of the body where the seed itself lies outside of them."""
    near = patch.distance_mm(seed_mm) <= 2.0
    return patch.lung if patch.lung[near].mean() >= 0.5 else np.ones_like(patch.lung)


def _densest_near(smooth: Floats32, allowed: Mask, patch: Patch, seed_mm: Point) -> Index:
    """The densest voxel within 1 mm of the seed: a seed on the rim must not start in lung."""
    near = (patch.distance_mm(seed_mm) <= 1.0) & allowed
    near[patch.to_index(seed_mm)] = True
    flat = int(np.argmax(np.where(near, smooth, -np.inf)))
    a, b, c = np.unravel_index(flat, smooth.shape)
    return int(a), int(b), int(c)


def _lung_hu(patch: Patch, smooth: Floats32) -> float:
    """Median of the aerated lung around, or a usual value where there is little of it."""
    aerated = smooth[patch.lung & (smooth < -600)]
    return float(np.clip(np.median(aerated), -960, -700)) if aerated.size >= 200 else LUNG_HU


def _grow(
    patch: Patch, smooth: Floats32, allowed: Mask, seed: Index, lesion_hu: float, lung_hu: float
) -> Lesion | None:
    """Region above the midway HU that holds the seed, opened until it is compact."""
    from scipy import ndimage

    dense = (smooth >= (lesion_hu + lung_hu) / 2) & allowed
    labels, _ = ndimage.label(dense)
    if labels[seed] == 0:
        return None
    grown = _without_holes(labels == labels[seed])
    depth = _depth_mm(grown, patch.spacing_mm)
    summit = _climb(depth, seed, patch.spacing_mm)
    lesion = _opened(patch, grown, depth, summit, lesion_hu, lung_hu)
    near_seed = patch.distance_mm(patch.to_point(seed)) <= SEED_SLACK_MM
    if not (lesion.mask & near_seed).any():  # the climb has left the seed for something beside it
        local = np.unravel_index(int(np.argmax(np.where(near_seed, depth, -1.0))), depth.shape)
        summit = (int(local[0]), int(local[1]), int(local[2]))
        lesion = _opened(patch, grown, depth, summit, lesion_hu, lung_hu)
    return replace(lesion, neighbours=(dense & ~lesion.mask) | ~allowed)


def _opened(patch: Patch, grown: Mask, depth: Floats32, summit: Index, lesion_hu: float, lung_hu: float) -> Lesion:
    """The region around a summit with thinner things taken off, ever thicker ones until it is compact."""
    inscribed = float(depth[summit])
    for fraction in OPENINGS:
        mask = _open(grown, depth, summit, fraction * inscribed, patch.spacing_mm)
        lesion = Lesion(patch, mask, grown & ~mask, inscribed, summit, lesion_hu, lung_hu)
        if lesion.compactness >= LEAST_COMPACTNESS and not _touches_border(mask):
            break
    return lesion


def _without_holes(mask: Mask) -> Mask:
    """The mask with enclosed cavities filled: a cavity is part of its nodule."""
    from scipy import ndimage

    box = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in ndimage.find_objects(mask.astype(np.uint8))[0])
    outside, _ = ndimage.label(~mask[box])
    rims = [np.take(outside, side, axis=axis).ravel() for axis in range(3) for side in (0, -1)]
    filled: Mask = mask.copy()
    filled[box] |= ~np.isin(outside, np.unique(np.concatenate(rims)))
    return filled


def _depth_mm(mask: Mask, spacing_mm: float) -> Floats32:
    """How deep each voxel lies inside, mm to the surface; 0 outside. The cube's border is no surface."""
    from scipy import ndimage

    depth = np.zeros(mask.shape, dtype=np.float32)
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    wide = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    # From a voxel's centre to the next outer centre, less half a voxel: the surface lies between them.
    depth[wide] = np.maximum(ndimage.distance_transform_edt(mask[wide]) - 0.5, 0) * spacing_mm
    return depth


def _climb(depth: Floats32, start: Index, spacing_mm: float) -> Index:
    """From ball to larger ball: the centre of the largest one inscribed that overlapping ones lead to."""
    here = start
    while True:
        reach = max(1, int(depth[here] / spacing_mm + 0.5))
        low = [max(0, i - reach) for i in here]
        window = depth[tuple(slice(a, i + reach + 1) for a, i in zip(low, here, strict=True))]
        grids = np.ogrid[tuple(slice(0, n) for n in window.shape)]
        squared = sum((g - (i - a)) ** 2 for g, i, a in zip(grids, here, low, strict=True))
        inside = np.where(squared <= reach * reach, window, -1.0)
        best = np.unravel_index(int(np.argmax(inside)), window.shape)
        there = (int(best[0]) + low[0], int(best[1]) + low[1], int(best[2]) + low[2])
        if depth[there] <= depth[here] + 1e-4:
            return here
        here = there


def _open(grown: Mask, depth: Floats32, summit: Index, radius_mm: float, spacing_mm: float) -> Mask:
    """What a ball of the radius reaches without leaving the region, in one piece with the summit."""
    from scipy import ndimage

    labels, _ = ndimage.label(depth > radius_mm)
    core = labels == labels[summit] if labels[summit] else labels == -1
    core[summit] = True
    reach = int(np.ceil(radius_mm / spacing_mm)) + 1
    found = ndimage.find_objects(core.view(np.uint8))[0]
    box = tuple(slice(max(s.start - reach, 0), s.stop + reach) for s in found)
    opened: Mask = np.zeros_like(grown)
    away = ndimage.distance_transform_edt(~core[box]) * spacing_mm
    # Half a voxel of slack gives back the corners that the discrete ball cannot reach.
    opened[box] = grown[box] & (away <= radius_mm + 0.7 * spacing_mm)
    return opened


def _with_ground_glass(lesion: Lesion, smooth: Floats32, allowed: Mask, seed: Index) -> Lesion:
    """The lesion out to the rim of its ground glass, where a compact shell of it surrounds the core."""
    rim_hu = lesion.lung_hu + 2 * GROUND_GLASS_CONTRAST_HU
    if lesion.lesion_hu <= rim_hu:
        return lesion
    wider = _grow(lesion.patch, smooth, allowed, seed, rim_hu, lesion.lung_hu)
    if wider is None or wider.compactness < LEAST_COMPACTNESS or _touches_border(wider.mask):
        return lesion
    core_mm = lesion.equivalent_radius_mm if lesion.compactness >= LEAST_COMPACTNESS else lesion.inscribed_mm
    shell_mm = wider.equivalent_radius_mm - core_mm
    if shell_mm < LEAST_SHELL_MM:
        return lesion
    if shell_mm < CLEAR_SHELL_MM and _steepness(lesion, wider) > PLATEAU_STEEPNESS:
        return lesion
    return replace(wider, ground_glass=True)


def _steepness(core: Lesion, wider: Lesion) -> float:
    """Median HU gradient between the two outlines, per mm, over the core's contrast: blur is steep."""
    from scipy import ndimage

    spacing = core.patch.spacing_mm
    gradient = ndimage.gaussian_gradient_magnitude(core.patch.hu, 1.0 / spacing)[wider.mask & ~core.mask] / spacing
    return float(np.median(gradient)) / (core.lesion_hu - core.lung_hu) if gradient.size else np.inf


def _touches_border(mask: Mask) -> bool:
    return any(bool(np.take(mask, side, axis=axis).any()) for axis in range(3) for side in (0, -1))


def _inscribed_ball(lesion: Lesion) -> Lesion:
    """Only the largest ball inside: what is left to say where growing ran into something else."""
    ball = lesion.patch.distance_mm(lesion.patch.to_point(lesion.inscribed_at)) <= lesion.inscribed_mm
    ball[lesion.inscribed_at] = True
    mask: npt.NDArray[np.bool_] = ball & (lesion.mask | ball)
    return replace(lesion, mask=mask, leaked=True)
