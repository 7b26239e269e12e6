"""The front of the room: from a map of token logits to findings, one a lesion."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.findings import Finding, Point
from imaging.geometry import Grid, Volume
from imaging.localization.measurement import Measurement, measure, occupancy, outline_level, solid_shape
from imaging.localization.patch import Floats32, cut_patch
from imaging.localization.peaks import Peak, find_peaks
from imaging.localization.refinement import refine
from imaging.localization.segmentation import Lesion, segment_lesion
from imaging.localization.site import locate

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel
    from imaging.preprocessing.lungs import Lungs

Progress = Callable[[int, int], None]
#: Names and scores of attributes for windows around LPS points.
Describe = Callable[["LoadedModel", Volume, Sequence[Point]], Sequence[Mapping[str, float]]]

#: A finding lies inside the lungs or at most so far outside, mm.
LUNG_MARGIN_MM = 2.0
#: So many peaks are looked at for each finding wanted: a large mass can light up in a dozen places.
PEAKS_A_FINDING = 12
#: Two centres closer than this are one lesion, mm.
SAME_MM = 4.0
#: The ball inside a leaked outline is kept where its centre is this near to the seed, mm.
NEAR_SEED_MM = 3.0
#: Radius of the ball that marks a finding without an outline in the label array, mm.
MARK_MM = 2.0


@dataclass(frozen=True, eq=False)
class Localization:
    """Findings and their outlines.

    Args:
        findings: the most suspicious first, numbered from 1.
        nodules: uint8 on the CT's grid, the value is a finding's number; the smaller number where outlines overlap.
            Without an outline (``measurement.none``, ``measurement.leaked``) a ball marks a finding: the largest one
            inside what was grown, or one of 2 mm radius.
        notices: what holds for all findings.
    """

    findings: tuple[Finding, ...]
    nodules: npt.NDArray[np.uint8]
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, eq=False)
class _Place:
    """One lesion on its way to a finding."""

    logit: float
    centre_mm: Point
    lesion: Lesion | None = None
    measured: Measurement | None = None
    shape: Floats32 | None = None
    leaked: bool = False


def find_findings(
    volume: Volume,
    lungs: Lungs,
    token_map: TokenMap,
    model: LoadedModel,
    *,
    threshold: float | None = None,
    max_findings: int = 20,
    describe: Describe | None = None,
    on_progress: Progress | None = None,
) -> Localization:
    """Findings of a CT, one a lesion, sorted by score.

    Args:
        volume: HU.
        lungs: of that volume.
        token_map: of that volume.
        model: gives the calibration, the default threshold and the attributes.
        threshold: least calibrated score; by default the model's operating point.
        max_findings: at most 255, the range of the label array.
        describe: attribute scores for places; by default the model's text tower.
        on_progress: called as (peaks done, peaks).
    """
    least = model.operating_point.threshold if threshold is None else threshold
    most = min(max_findings, 255)
    strongest = find_peaks(token_map, limit=PEAKS_A_FINDING * most)
    peaks = [p for p in strongest if model.calibrate(p.logit) >= least]
    places = _places(volume, lungs, token_map, peaks, most, on_progress)
    centres = [place.centre_mm for place in places]
    sites = locate(lungs, centres)
    attributes = (describe or _text_attributes)(model, volume, centres) if centres else []
    findings = tuple(
        replace(_finding(place, number, model, volume.seriesuid), side=side, zone=zone, attributes=names)
        for number, (place, (side, zone), names) in enumerate(zip(places, sites, attributes, strict=True), 1)
    )
    return Localization(findings, _label_array(volume.grid, places))


def tracking_uid(seriesuid: str, centre_mm: Point) -> str:
    """A DICOM UID (root 2.25) that follows from a series and a place rounded to whole millimetres.

    Source: DICOM PS3.5 B.2.
    """
    place = ",".join(str(round(c)) for c in centre_mm)
    digest = hashlib.sha256(f"nodulus finding|{seriesuid}|{place}".encode()).digest()
    return f"2.25.{uuid.UUID(bytes=digest[:16], version=5).int}"


def _text_attributes(model: LoadedModel, volume: Volume, centres: Sequence[Point]) -> Sequence[Mapping[str, float]]:
    from imaging.models.scoring import score_attributes

    return score_attributes(model, volume, centres)


def _places(
    volume: Volume,
    lungs: Lungs,
    token_map: TokenMap,
    peaks: Sequence[Peak],
    most: int,
    on_progress: Progress | None,
) -> list[_Place]:
    """Peaks refined and outlined, the strongest first; peaks inside an earlier lesion are that lesion."""
    places: list[_Place] = []
    for done, peak in enumerate(peaks):
        if len(places) >= most:
            break
        if on_progress is not None:
            on_progress(done, len(peaks))
        seed = refine(volume, lungs, token_map, peak.point_mm)
        if any(_holds(place, seed) for place in places):
            continue
        place = _outlined(volume, lungs, peak.logit, seed)
        if _in_lungs(volume, lungs, place.centre_mm):
            _add(places, place)
    if on_progress is not None:
        on_progress(len(peaks), len(peaks))
    return places


def _outlined(volume: Volume, lungs: Lungs, logit: float, seed_mm: Point) -> _Place:
    """The lesion at a seed; its centre is the centre of mass where the outline can be trusted, else the seed."""
    lesion = segment_lesion(volume, lungs, seed_mm)
    if lesion is None:
        return _Place(logit, seed_mm)
    if lesion.leaked:
        # The ball may have drifted into what was leaked into; then the seed is the better place.
        centre = lesion.patch.to_point(lesion.inscribed_at)
        if float(np.linalg.norm(np.subtract(centre, seed_mm))) > NEAR_SEED_MM:
            return _Place(logit, seed_mm, leaked=True)
        return _Place(logit, centre, lesion, shape=lesion.mask.astype(np.float32), leaked=True)
    fractions = occupancy(lesion)
    measured = measure(lesion, fractions)
    return _Place(logit, measured.centre_mm, lesion, measured, solid_shape(lesion, fractions))


def _holds(place: _Place, point_mm: Point) -> bool:
    """Whether a point belongs to a lesion: inside its outline or closer to its centre than two lesions can be."""
    if float(np.linalg.norm(np.subtract(place.centre_mm, point_mm))) < SAME_MM:
        return True
    if place.lesion is None:
        return False
    grid = place.lesion.patch.grid
    return bool(grid.contains(point_mm)) and bool(place.lesion.mask[place.lesion.patch.to_index(point_mm)])


def _add(places: list[_Place], new: _Place) -> None:
    """Append a lesion, or fold it into an earlier one that it is the same as; the better outline stays.

    A large mass lights up at its rim: a first peak may outline a knob of it, a later one the whole.
    """
    for index, old in enumerate(places):
        if _holds(old, new.centre_mm) or _holds(new, old.centre_mm):
            if _wider(new, old):
                places[index] = replace(new, logit=old.logit)
            return
    places.append(new)


def _wider(new: _Place, old: _Place) -> bool:
    if new.measured is None or old.measured is None:
        return old.measured is None and new.measured is not None
    return new.measured.volume_mm3 > old.measured.volume_mm3


def _in_lungs(volume: Volume, lungs: Lungs, centre_mm: Point) -> bool:
    patch = cut_patch(volume, lungs, centre_mm, half_mm=LUNG_MARGIN_MM)
    return bool((patch.lung & (patch.distance_mm(centre_mm) <= LUNG_MARGIN_MM)).any())


def _finding(place: _Place, number: int, model: LoadedModel, seriesuid: str) -> Finding:
    note = "measurement.leaked" if place.leaked else "measurement.none" if place.lesion is None else None
    finding = Finding(
        number=number,
        tracking_uid=tracking_uid(seriesuid, place.centre_mm),
        centre_mm=place.centre_mm,
        score=float(model.calibrate(place.logit)),
        logit=place.logit,
        notes=() if note is None else (note,),
    )
    if place.measured is None:
        return finding
    return replace(
        finding,
        diameter_mm=place.measured.diameter_mm,
        long_axis_mm=place.measured.long_axis_mm,
        short_axis_mm=place.measured.short_axis_mm,
        long_axis_ends_mm=place.measured.long_axis_ends_mm,
        volume_mm3=place.measured.volume_mm3,
        mean_hu=place.measured.mean_hu,
    )


def _label_array(grid: Grid, places: Sequence[_Place]) -> npt.NDArray[np.uint8]:
    """Finding numbers on the CT's grid; every finding gets at least the voxel at its centre."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for number, place in reversed(list(enumerate(places, 1))):
        centre = np.clip(np.rint(grid.to_index(place.centre_mm)), 0, np.asarray(grid.shape) - 1).astype(int)
        span = np.ceil(_reach_mm(place) * np.linalg.norm(grid.inverse[:3, :3], axis=1)).astype(int)
        low = np.maximum(centre - span, 0)
        box = tuple(slice(a, b) for a, b in zip(low, np.minimum(centre + span + 1, grid.shape), strict=True))
        index = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1)
        labels[box][_filled(place, grid.to_mm(index))] = number
    for number, place in reversed(list(enumerate(places, 1))):
        centre = np.clip(np.rint(grid.to_index(place.centre_mm)), 0, np.asarray(grid.shape) - 1).astype(int)
        labels[tuple(centre)] = number
    return labels


def _reach_mm(place: _Place) -> float:
    """How far from its centre a lesion's outline goes, at most."""
    if place.lesion is None:
        return MARK_MM
    corners = place.lesion.patch.grid.to_mm(np.argwhere(place.lesion.mask)) - np.asarray(place.centre_mm)
    return float(np.linalg.norm(corners, axis=1).max()) + place.lesion.patch.spacing_mm


def _filled(place: _Place, points_mm: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which points (..., 3) lie inside a lesion's outline."""
    from scipy import ndimage

    if place.lesion is None or place.shape is None:
        near: npt.NDArray[np.bool_] = np.linalg.norm(points_mm - place.centre_mm, axis=-1) <= MARK_MM
        return near
    index = np.moveaxis(place.lesion.patch.grid.to_index(points_mm), -1, 0)
    part = ndimage.map_coordinates(place.shape, index, order=1, prefilter=False)
    inside: npt.NDArray[np.bool_] = part >= outline_level(place.shape)
    return inside
