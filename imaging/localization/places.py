"""Peaks become lesions, one each: refined, outlined, and folded together where they are the same.

Tokens see 3 cm around them, so a large mass lights up at its rim, on its strands, and even in the lung beside it. A
peak inside a lesion or close to its outline is that lesion; a peak with no lesion under it belongs to the one it lies
beside, if there is one. The lesion keeps the strongest logit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.findings import Point
from imaging.geometry import Grid, Volume
from imaging.localization.measurement import Measurement, measure, occupancy, outline_level, solid_shape
from imaging.localization.patch import Floats32, cut_patch
from imaging.localization.peaks import Peak
from imaging.localization.refinement import refine, refine_mirrored
from imaging.localization.segmentation import Lesion, segment_lesion

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap
    from imaging.models.second_look import Look
    from imaging.preprocessing.lungs import Lungs

Progress = Callable[[int, int], None]

#: A finding lies inside the lungs or at most so far outside, mm.
LUNG_MARGIN_MM = 2.0
#: Two centres closer than this are one lesion, mm.
SAME_MM = 4.0
#: What lies this near to an outline, as a part of the lesion's diameter and at most in mm, belongs to it.
STRAND_PART, STRAND_MM = 0.2, 4.0
#: A peak without a lesion of its own belongs to one whose outline is so many radii away, within these bounds in mm.
GHOST_RADII, GHOST_MM = 1.2, (4.0, 14.0)
#: So many weaker peaks beside a peak without a lesion are outlined in search of its lesion.
GHOST_TRIES = 4
#: The ball inside a leaked outline is kept where its centre is this near to the seed, mm.
NEAR_SEED_MM = 3.0
#: A lesion that holds no ball as wide as this is small, mm: the evidence for it lies in its middle, and its outline may
#: have run along a vessel or the chest wall. Evidence for larger ones lies at the rim too. Chosen on `val`.
SMALL_MM = 6.0
#: A small lesion's outline with its centre farther than this from where mirrored windows see it went astray, mm.
ASIDE_MM = 1.5
#: Radius of the ball that marks a finding without an outline in the label array, mm.
MARK_MM = 2.0


@dataclass(frozen=True, eq=False)
class Place:
    """One lesion on its way to a finding.

    Args:
        logit: the strongest of its peaks.
        centre_mm: LPS.
        seed_mm: LPS; the densest place near the strongest token, from which the outline was grown.
        lesion, measured: None where it could not be outlined; `measured` alone is None where growing leaked.
        shape: which part of each voxel of the lesion's cube it fills.
        leaked: growing ran into something else.
    """

    logit: float
    centre_mm: Point
    seed_mm: Point
    lesion: Lesion | None = None
    measured: Measurement | None = None
    shape: Floats32 | None = None
    leaked: bool = False

    @property
    def is_ghost(self) -> bool:
        """Whether no lesion lies there: plain lung, or only the chest wall or another large structure."""
        return self.measured is None

    @property
    def is_small(self) -> bool:
        """Whether evidence can be trusted more than its outline."""
        return self.lesion is None or 2 * float(self.lesion.depth_mm.max()) < SMALL_MM

    @property
    def looked_at_mm(self) -> Point:
        """Where the window of its second look belongs; LPS."""
        return self.seed_mm if self.is_small else self.centre_mm

    def distance_mm(self, point_mm: Point) -> float:
        """From a point to the outline; 0 inside, infinite where there is no outline."""
        if self.lesion is None:
            return np.inf
        voxels = self.lesion.patch.grid.to_mm(np.argwhere(self.lesion.mask))
        nearest = float(np.linalg.norm(voxels - np.asarray(point_mm), axis=1).min())
        return max(0.0, nearest - self.lesion.patch.spacing_mm)

    def holds(self, point_mm: Point) -> bool:
        """Whether a point is part of the lesion: inside, on a strand of it, or nearer than two lesions can be."""
        if float(np.linalg.norm(np.subtract(self.centre_mm, point_mm))) < SAME_MM:
            return True
        strand = 0.0 if self.measured is None else min(STRAND_MM, STRAND_PART * self.measured.diameter_mm)
        return self.distance_mm(point_mm) <= strand


def outline_peaks(
    volume: Volume,
    lungs: Lungs,
    token_map: TokenMap,
    peaks: Sequence[Peak],
    *,
    above: int,
    most: int,
    on_progress: Progress | None = None,
) -> list[Place]:
    """Lesions at the first `above` of the peaks, the strongest first, at most `most`.

    Args:
        volume, lungs, token_map: of one CT.
        peaks: the strongest first; those after `above` serve to find the lesion that a stronger one belongs to.
        above: how many of them count.
        most: lesions wanted.
        on_progress: called as (peaks done, peaks).
    """
    places: list[Place] = []
    ghosts: list[Place] = []
    for done, peak in enumerate(peaks[:above]):
        if len(places) >= most:
            break
        if on_progress is not None:
            on_progress(done, above)
        place = _place_at(volume, lungs, token_map, peak, places)
        if place is not None and place.is_ghost:
            ghosts.append(place)
        elif place is not None:
            places = _joined(places, place)
    for ghost in ghosts:
        places = _settled(volume, lungs, token_map, ghost, places, peaks[above:])
    if on_progress is not None:
        on_progress(above, above)
    return _by_suspicion(places)[:most]


def _place_at(volume: Volume, lungs: Lungs, token_map: TokenMap, peak: Peak, known: Sequence[Place]) -> Place | None:
    """The lesion at a peak; None where it is part of a known one or lies outside the lungs."""
    seed = refine(volume, lungs, token_map, peak.point_mm)
    if any(place.holds(seed) for place in known):
        return None
    place = _outlined(volume, lungs, peak.logit, seed)
    return place if _in_lungs(volume, lungs, place.centre_mm) else None


def _outlined(volume: Volume, lungs: Lungs, logit: float, seed_mm: Point) -> Place:
    """The lesion at a seed; its centre is the centre of mass where the outline can be trusted, else the seed."""
    lesion = segment_lesion(volume, lungs, seed_mm)
    if lesion is None:
        return Place(logit, seed_mm, seed_mm)
    if lesion.leaked:
        # The ball may have drifted into what was leaked into; then the seed is the better place.
        centre = lesion.patch.to_point(lesion.inscribed_at)
        if float(np.linalg.norm(np.subtract(centre, seed_mm))) > NEAR_SEED_MM:
            return Place(logit, seed_mm, seed_mm, leaked=True)
        return Place(logit, centre, seed_mm, lesion, shape=lesion.mask.astype(np.float32), leaked=True)
    fractions = occupancy(lesion)
    measured = measure(lesion, fractions)
    return Place(logit, measured.centre_mm, seed_mm, lesion, measured, solid_shape(lesion, fractions))


def folded(places: Sequence[Place]) -> list[Place]:
    """One place a lesion, once their centres stand: the most suspicious first, with the strongest logit of each.

    A second look moves small places, and several peaks along a vessel can end at one spot.
    """
    kept: list[Place] = []
    for place in _by_suspicion(places):
        kept = _joined(kept, place)
    return _by_suspicion(kept)


def _by_suspicion(places: Sequence[Place]) -> list[Place]:
    return sorted(places, key=lambda place: (-place.logit, place.centre_mm))


def _joined(places: Sequence[Place], new: Place) -> list[Place]:
    """The places with a new one: added, folded into one it is part of, or taking in those that are part of it."""
    same = [old for old in places if old.holds(new.centre_mm) or new.holds(old.centre_mm)]
    if not same:
        return [*places, new]
    if any(_size(old) >= _size(new) for old in same):
        return list(places)
    strongest = max(old.logit for old in [*same, new])
    return [old for old in places if old not in same] + [replace(new, logit=strongest)]


def _size(place: Place) -> float:
    return 0.0 if place.measured is None else place.measured.volume_mm3


def _settled(
    volume: Volume, lungs: Lungs, token_map: TokenMap, ghost: Place, places: list[Place], weaker: Sequence[Peak]
) -> list[Place]:
    """The places with a ghost given to the lesion beside it, or kept as it is where there is none."""
    beside = min(places, key=lambda place: place.distance_mm(ghost.centre_mm), default=None)
    if beside is not None and _lights(beside, ghost):
        stronger = replace(beside, logit=max(beside.logit, ghost.logit))
        return [stronger if place is beside else place for place in places]
    near = [p for p in weaker if np.linalg.norm(np.subtract(p.point_mm, ghost.centre_mm)) <= 2 * GHOST_MM[1]]
    for peak in near[:GHOST_TRIES]:
        found = _place_at(volume, lungs, token_map, peak, places)
        if found is not None and _lights(found, ghost):
            return _joined(places, replace(found, logit=ghost.logit))
    return places if any(place.holds(ghost.centre_mm) for place in places) else [*places, ghost]


def _lights(place: Place, ghost: Place) -> bool:
    """Whether a lesion is large and near enough to light up what is beside it."""
    radius = 0.0 if place.measured is None else place.measured.diameter_mm / 2
    return place.distance_mm(ghost.centre_mm) <= float(np.clip(GHOST_RADII * radius, *GHOST_MM))


def centred(volume: Volume, lungs: Lungs, place: Place, look: Look) -> Place:
    """The place with the logit of a second look and, if it is small, with its centre where that look sees it.

    Its evidence lies in the axial plane of its window; along the body the outline is believed unless it went
    astray. Then no size is given.
    """
    looked = replace(place, logit=look.logit)
    if not place.is_small:
        return looked
    point = refine_mirrored(volume, lungs, look.evidence)
    if place.lesion is None or float(np.linalg.norm(np.subtract(point, place.centre_mm)[:2])) > ASIDE_MM:
        return Place(look.logit, point, place.seed_mm, leaked=place.leaked or place.lesion is not None)
    return replace(looked, centre_mm=(point[0], point[1], place.centre_mm[2]))


def _in_lungs(volume: Volume, lungs: Lungs, centre_mm: Point) -> bool:
    patch = cut_patch(volume, lungs, centre_mm, half_mm=LUNG_MARGIN_MM)
    return bool((patch.lung & (patch.distance_mm(centre_mm) <= LUNG_MARGIN_MM)).any())


def label_array(grid: Grid, places: Sequence[Place]) -> npt.NDArray[np.uint8]:
    """Numbers from 1 on the CT's grid; the smaller number where outlines overlap, each at least at its centre."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for number, place in reversed(list(enumerate(places, 1))):
        span = np.ceil(_reach_mm(place) * np.linalg.norm(grid.inverse[:3, :3], axis=1)).astype(int)
        centre = np.array(_voxel(grid, place))
        low = np.maximum(centre - span, 0)
        box = tuple(slice(a, b) for a, b in zip(low, np.minimum(centre + span + 1, grid.shape), strict=True))
        index = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1)
        labels[box][_filled(place, grid.to_mm(index))] = number
    for number, place in reversed(list(enumerate(places, 1))):
        labels[_voxel(grid, place)] = number
    return labels


def _voxel(grid: Grid, place: Place) -> tuple[int, int, int]:
    index = np.clip(np.rint(grid.to_index(place.centre_mm)), 0, np.asarray(grid.shape) - 1).astype(int)
    return int(index[0]), int(index[1]), int(index[2])


def _reach_mm(place: Place) -> float:
    """How far from its centre a lesion's outline goes, at most."""
    if place.lesion is None:
        return MARK_MM
    corners = place.lesion.patch.grid.to_mm(np.argwhere(place.lesion.mask)) - np.asarray(place.centre_mm)
    return float(np.linalg.norm(corners, axis=1).max()) + place.lesion.patch.spacing_mm


def _filled(place: Place, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points (..., 3) lie inside a lesion's outline."""
    from scipy import ndimage

    if place.lesion is None or place.shape is None:
        near: npt.NDArray[np.bool_] = np.linalg.norm(points_mm - place.centre_mm, axis=-1) <= MARK_MM
        return near
    index = np.moveaxis(place.lesion.patch.grid.to_index(points_mm), -1, 0)
    part = ndimage.map_coordinates(place.shape, index, order=1, prefilter=False)
    inside: npt.NDArray[np.bool_] = part >= outline_level(place.shape)
    return inside
