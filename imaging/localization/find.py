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
from imaging.geometry import Volume
from imaging.localization.peaks import find_peaks
from imaging.localization.places import Place, centred, folded, label_array, outline_peaks
from imaging.localization.site import locate

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap
    from imaging.models.second_look import Look
    from imaging.models.weights import LoadedModel
    from imaging.preprocessing.lungs import Lungs

Progress = Callable[[int, int], None]
#: A second look at each of some LPS points with the diameters of their lesions.
SecondLook = Callable[["LoadedModel", Volume, Sequence[Point], Sequence[float | None]], Sequence["Look"]]
#: Names and scores of attributes for windows around LPS points.
Describe = Callable[["LoadedModel", Volume, Sequence[Point]], Sequence[Mapping[str, float]]]

#: Lesions that usually get a second look.
CANDIDATES = 28
#: So many peaks are looked at for each finding wanted: a large mass can light up in a dozen places.
PEAKS_A_FINDING = 12


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


def find_findings(
    volume: Volume,
    lungs: Lungs,
    token_map: TokenMap,
    model: LoadedModel,
    *,
    threshold: float | None = None,
    max_findings: int = 20,
    candidates: int = CANDIDATES,
    describe: Describe | None = None,
    second_look: SecondLook | None = None,
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
        candidates: lesions that get a second look, however few findings are wanted.
        describe: attribute scores for places; by default the model's text tower.
        second_look: by default windows right around each place (`imaging.models.second_look.look_at_places`).
        on_progress: called as (peaks done, peaks).
    """
    least = model.operating_point.threshold if threshold is None else threshold
    most = min(max_findings, 255)
    looked_at = max(candidates, most)
    strongest = find_peaks(token_map, limit=PEAKS_A_FINDING * looked_at)
    above = min(len(strongest), looked_at + looked_at // 2)
    places = outline_peaks(volume, lungs, token_map, strongest, above=above, most=looked_at, on_progress=on_progress)
    places = look_again(places, model, volume, lungs, second_look)
    places = [place for place in places if model.calibrate(place.logit) >= least]
    places = places[:most]
    centres = [place.centre_mm for place in places]
    sites = locate(lungs, centres)
    attributes = (describe or _text_attributes)(model, volume, centres) if centres else []
    findings = tuple(
        replace(_finding(place, number, model, volume.seriesuid), side=side, zone=zone, attributes=names)
        for number, (place, (side, zone), names) in enumerate(zip(places, sites, attributes, strict=True), 1)
    )
    return Localization(findings, label_array(volume.grid, places))


def look_again(
    places: Sequence[Place], model: LoadedModel, volume: Volume, lungs: Lungs, second_look: SecondLook | None = None
) -> list[Place]:
    """The places with the logits and, for small lesions, the centres of a second look; sorted, one a lesion."""
    diameters = [None if place.measured is None else place.measured.diameter_mm for place in places]
    looks = (second_look or _window_looks)(model, volume, [place.looked_at_mm for place in places], diameters)
    return folded([centred(volume, lungs, place, look) for place, look in zip(places, looks, strict=True)])


def _window_looks(
    model: LoadedModel, volume: Volume, centres: Sequence[Point], diameters: Sequence[float | None]
) -> Sequence[Look]:
    from imaging.models.second_look import look_at_places

    return look_at_places(model, volume, centres, diameters) if centres else []


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


def _finding(place: Place, number: int, model: LoadedModel, seriesuid: str) -> Finding:
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
