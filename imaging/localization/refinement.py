"""From a token's centre, which is a few millimetres off, to a place inside the lesion.

First the mean of the neighbouring tokens weighted by their softmax, then the peak of smoothed HU within about one token
of it. The centre of mass of the outline, grown from there, comes last (`imaging.localization.measurement`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from imaging.findings import Point
from imaging.geometry import Volume
from imaging.localization.patch import Floats, Floats32, Patch, cut_patch
from imaging.localization.segmentation import LUNG_HU

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap
    from imaging.preprocessing.lungs import Lungs

#: Reach of the softmax over neighbouring tokens: a Gaussian of this sigma, mm.
NEIGHBOURHOOD_MM = 2.5
#: How far from there the peak of smoothed HU is looked for, mm.
REACH_MM = 2.0
#: The same where mirrored windows have placed the tokens better, mm.
MIRRORED_REACH_MM = 1.0
#: Evidence of mirrored windows counts from this part of its peak on.
HALF = 0.5
#: Sigma of the smoothing, mm: a nodule of 4 mm stands out, a vessel of 2 mm hardly.
SMOOTH_MM = 1.2


def refine(volume: Volume, lungs: Lungs, token_map: TokenMap, peak_mm: Point) -> Point:
    """The place of densest tissue near a peak of the token map; LPS mm."""
    return _densest_near(volume, lungs, token_centre(token_map, peak_mm), REACH_MM)


def _densest_near(volume: Volume, lungs: Lungs, centre_mm: Point, reach_mm: float) -> Point:
    patch = cut_patch(volume, lungs, centre_mm, half_mm=reach_mm + 3 * SMOOTH_MM)
    return densest_point(patch, centre_mm, reach_mm=reach_mm)


def refine_mirrored(volume: Volume, lungs: Lungs, evidence: TokenMap) -> Point:
    """Where mirrored windows see a small lesion: in their plane midway between evidence and dense tissue; LPS mm.

    The evidence alone is smooth and pulled by what lies around, the densest tissue alone is often a vessel's; their
    errors are not the same. Both and their mean were measured on validation windows.
    """
    middle = evidence_middle(evidence)
    densest = _densest_near(volume, lungs, middle, MIRRORED_REACH_MM)
    return (middle[0] + densest[0]) / 2, (middle[1] + densest[1]) / 2, densest[2]


def evidence_middle(evidence: TokenMap) -> Point:
    """Centre of mass of the evidence around its peak, as far as it is connected and at least `HALF` as strong; LPS mm.

    Args:
        evidence: logarithms, see `imaging.models.second_look.Look`.
    """
    from scipy import ndimage

    logs = np.where(np.isnan(evidence.logits), -np.inf, evidence.logits)
    weights = np.exp(logs - logs.max())
    parts, _ = ndimage.label(weights >= HALF)
    around = parts == parts[np.unravel_index(int(weights.argmax()), weights.shape)]
    x, y, z = evidence.grid.to_mm(np.array(ndimage.center_of_mass(weights * around)))
    return float(x), float(y), float(z)


def token_centre(token_map: TokenMap, peak_mm: Point) -> Point:
    """Mean place of the tokens around a peak, weighted by softmax of their logits and by nearness; LPS mm.

    Repeated from each new centre until it rests, so that it hardly matters which of two equal tokens was the peak.
    """
    points, logits = _tokens_near(token_map, peak_mm, 4 * NEIGHBOURHOOD_MM)
    centre = np.asarray(peak_mm, dtype=np.float64)
    weights = np.exp(logits - logits.max())
    for _ in range(20):
        nearness = np.exp(-((points - centre) ** 2).sum(axis=1) / (2 * NEIGHBOURHOOD_MM**2))
        mean = (points * (weights * nearness)[:, None]).sum(axis=0) / (weights * nearness).sum()
        moved = float(np.linalg.norm(mean - centre))
        centre = mean
        if moved < 1e-3:
            break
    return float(centre[0]), float(centre[1]), float(centre[2])


def _tokens_near(token_map: TokenMap, point_mm: Point, reach_mm: float) -> tuple[Floats, Floats]:
    """Centres (n, 3) in LPS mm and logits (n,) of the scored tokens around a place."""
    grid = token_map.grid
    here = grid.to_index(point_mm)
    # Along each index axis, as far as the reach can get on a grid of any shear.
    span = reach_mm * np.linalg.norm(grid.inverse[:3, :3], axis=1)
    low = np.clip(np.ceil(here - span).astype(int), 0, np.asarray(grid.shape) - 1)
    high = np.clip(np.floor(here + span).astype(int) + 1, low + 1, grid.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.argwhere(np.isfinite(token_map.logits[box])) + low
    return grid.to_mm(index), token_map.logits[tuple(index.T)].astype(np.float64)


def densest_point(patch: Patch, centre_mm: Point, *, reach_mm: float = REACH_MM) -> Point:
    """Peak of smoothed HU within reach of a place, to a fraction of a voxel; outside the lungs nothing counts."""
    from scipy import ndimage

    inside = bool(patch.lung[patch.distance_mm(centre_mm) <= reach_mm].any())
    hu = np.where(patch.lung, patch.hu, np.float32(LUNG_HU)) if inside else patch.hu
    smooth = ndimage.gaussian_filter(np.clip(hu, -1024, 100), SMOOTH_MM / patch.spacing_mm)
    near = patch.distance_mm(centre_mm) <= reach_mm
    flat = int(np.argmax(np.where(near, smooth, -np.inf)))
    return patch.to_point(_between_voxels(smooth, np.array(np.unravel_index(flat, smooth.shape))))


def _between_voxels(smooth: Floats32, index: np.ndarray[tuple[int], np.dtype[np.int_]]) -> Floats:
    """Vertex of the parabola through a voxel and its neighbours along each axis, at most half a voxel away."""
    place: Floats = index.astype(np.float64)
    for axis in range(3):
        step = np.eye(3, dtype=int)[axis]
        below, here, above = (float(smooth[tuple(index + k * step)]) for k in (-1, 0, 1))
        bend = below - 2 * here + above
        if bend < 0:
            place[axis] += np.clip(0.5 * (below - above) / bend, -0.5, 0.5)
    return place
