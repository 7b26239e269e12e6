"""The findings of a structured report by TID 1500, of this or another product.

A report is walked item by item, so that a group that is not built exactly by the template is still understood where
its parts are. Places stand in it as points in the patient (SCOORD3D) or as outlines on slices (SCOORD); for these the
CT is needed. A group whose place stands in a segmentation, which is another file, has none here.

Source: DICOM PS3.16 TID 1410, 1411, 1419, 1501 (measurement groups); PS3.3 C.18.6.1.2 (outlines: the middle of the
first pixel is at 0.5, 0.5) and C.18.9.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from imaging.findings import Finding, Side, Zone
from imaging.geometry.grid import Floats
from imaging.geometry.volume import Volume
from imaging.io.dicom_decisions import Stated, stated_in
from imaging.io.dicom_site import site_of

#: Code value -> what it means here (scheme DCM): group, tracking UID, certainty; names of a device and of a person.
GROUP, TRACKING_UID, CERTAINTY = "125007", "112040", "111012"
DEVICE_NAME, PERSON_NAME = "121013", "121008"
SEGMENTATIONS: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")


@dataclass(frozen=True)
class Group:
    """What one measurement group says; `place` is the centre in LPS mm and a diameter in mm, if it has them."""

    place: tuple[Floats, float | None] | None
    uid: str
    diameter_mm: float | None
    volume_mm3: float | None
    score: float
    outlined: bool
    """Whether it refers to a region at all, here or in a segmentation."""
    side: Side | None = None
    zone: Zone | None = None
    stated: Stated | None = None
    """What a reader had decided on it, in a report of nodulus's own."""

    @property
    def rejected(self) -> bool:
        """Whether the report names it only to say that it is no finding."""
        return self.stated is not None and self.stated.verdict == "rejected"


def read_groups(dataset: Any, volume: Volume | None) -> list[Group]:
    """The measurement groups of a report, the most certain first, those that a reader rejected last.

    A group without a tracking UID gets one that follows from the report's own and the order.

    Args:
        dataset: a structured report.
        volume: the CT that it is about, as it was read; without it outlines on slices have no place.
    """
    groups = sorted(_groups(dataset.ContentSequence, volume), key=lambda group: (group.rejected, -group.score))
    own = str(dataset.SOPInstanceUID)
    return [replace(group, uid=group.uid or f"{own}.{number}") for number, group in enumerate(groups, start=1)]


def to_findings(groups: list[Group]) -> tuple[Finding, ...]:
    """The groups that have a place, numbered by their order in all."""
    return tuple(
        Finding(
            number=number,
            tracking_uid=group.uid,
            centre_mm=(float(group.place[0][0]), float(group.place[0][1]), float(group.place[0][2])),
            score=group.score,
            logit=0.0,
            diameter_mm=group.diameter_mm or group.place[1],
            volume_mm3=group.volume_mm3,
            side=group.side,
            zone=group.zone,
        )
        for number, group in enumerate(groups, start=1)
        if group.place is not None
    )


def observer_of(dataset: Any) -> str:
    """The name of the first observer that a report names, a device before a person; empty without one."""
    items = dataset.get("ContentSequence", [])
    devices = [str(item.get("TextValue", "")) for item in items if _code(item) == DEVICE_NAME]
    people = [str(item.get("PersonName", "")) for item in items if _code(item) == PERSON_NAME]
    return next((" ".join(name.replace("^", " ").split()) for name in devices + people if name.strip("^ ")), "")


def names_a_device(dataset: Any) -> bool:
    """Whether a product is among the observers of a report."""
    return any(_code(item) == DEVICE_NAME for item in dataset.get("ContentSequence", []))


def _groups(items: Any, volume: Volume | None) -> Iterator[Group]:
    for item in items:
        children = item.get("ContentSequence", [])
        if _code(item) != GROUP:
            yield from _groups(children, volume)
            continue
        inside = list(_all_items(children))
        side, zone = site_of(inside)
        yield Group(
            place=_place(inside, volume),
            uid=next((str(i.UID) for i in inside if _code(i) == TRACKING_UID), ""),
            diameter_mm=_diameter(inside),
            volume_mm3=next(
                (v for _, meaning, unit, v in _numbers(inside) if unit == "mm3" and "olume" in meaning), None
            ),
            score=_score(inside),
            outlined=any(i.ValueType in ("SCOORD", "SCOORD3D") or _is_segment(i) for i in inside),
            side=side,
            zone=zone,
            stated=stated_in(inside),
        )


def _is_segment(item: Any) -> bool:
    references = item.get("ReferencedSOPSequence", [])
    return item.ValueType == "IMAGE" and any(str(r.ReferencedSOPClassUID) in SEGMENTATIONS for r in references)


def _all_items(items: Any) -> Iterator[Any]:
    for item in items:
        yield item
        yield from _all_items(item.get("ContentSequence", []))


def _code(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


# --- places ----------------------------------------------------------------------------------------------------------
def _place(items: list[Any], volume: Volume | None) -> tuple[Floats, float | None] | None:
    """Centre and diameter of all regions of a group together, larger ones counting more."""
    shapes = [(str(i.GraphicType), np.reshape(i.GraphicData, (-1, 3))) for i in items if i.ValueType == "SCOORD3D"]
    if not shapes and volume is not None:
        outlines = [(i, _on_slice(i, volume)) for i in items if i.ValueType == "SCOORD"]
        shapes = [(str(i.GraphicType), points) for i, points in outlines if points is not None]
    if not shapes:
        return None
    parts = [_middle(kind, points) for kind, points in shapes]
    sizes = np.array([size for _, size, _ in parts])
    centre: Floats = np.average([middle for middle, _, _ in parts], axis=0, weights=sizes if sizes.all() else None)
    diameters = [diameter for _, _, diameter in parts if diameter is not None]
    return centre, max(diameters, default=None)


def _on_slice(item: Any, volume: Volume) -> Floats | None:
    """The LPS points of an outline in pixels of a slice of the CT; None where it lies on another image."""
    uids = [
        str(reference.ReferencedSOPInstanceUID)
        for child in item.get("ContentSequence", [])
        for reference in child.get("ReferencedSOPSequence", [])
    ]
    instances = volume.origin.instances if volume.origin else ()
    at = next((n for n, one in enumerate(instances) if one.sop_instance_uid in uids), None)
    if at is None or len(instances) != volume.grid.shape[0]:
        return None
    columns, rows = np.reshape(item.GraphicData, (-1, 2)).astype(np.float64).T - 0.5
    return volume.grid.to_mm(np.stack([np.full(len(rows), float(at)), rows, columns], axis=-1))


def _middle(kind: str, points: Floats) -> tuple[Floats, float, float | None]:
    """Centre, size (an area where it encloses one, else 0) and diameter of one shape; a circle is centre and rim."""
    if kind == "CIRCLE" and len(points) == 2:
        radius = float(np.linalg.norm(points[1] - points[0]))
        return points[0], np.pi * radius**2, 2 * radius
    closed = len(points) > 3 and np.allclose(points[0], points[-1])
    corners = points[:-1] if closed else points
    if kind in ("POLYLINE", "POLYGON") and len(corners) > 2:
        return *_centroid(corners), None
    return corners.mean(axis=0), 0.0, None


def _centroid(corners: Floats) -> tuple[Floats, float]:
    """Centre of the area and area of a flat polygon in space; the mean of its corners where it has no area."""
    first = corners[0]
    fans = np.cross(corners[1:-1] - first, corners[2:] - first) / 2
    normal = fans.sum(axis=0)
    area = float(np.linalg.norm(normal))
    if area < 1e-9:
        return corners.mean(axis=0), 0.0
    weights = fans @ normal / area**2
    centre: Floats = ((first + corners[1:-1] + corners[2:]) / 3 * weights[:, None]).sum(axis=0)
    return centre, area


# --- measures --------------------------------------------------------------------------------------------------------
def _numbers(items: list[Any]) -> Iterator[tuple[str, str, str, float]]:
    """(code, meaning, unit, value) of each measure."""
    for item in items:
        if item.ValueType == "NUM" and item.get("MeasuredValueSequence"):
            value = item.MeasuredValueSequence[0]
            unit = str(value.MeasurementUnitsCodeSequence[0].CodeValue)
            yield _code(item), str(item.ConceptNameCodeSequence[0].CodeMeaning), unit, float(value.NumericValue)


def _diameter(items: list[Any]) -> float | None:
    """A diameter in mm; else the long axis; else nothing."""
    lengths = {meaning.lower(): value for _, meaning, unit, value in _numbers(items) if unit == "mm"}
    for word in ("diameter", "long axis", "length"):
        found = [value for meaning, value in lengths.items() if word in meaning]
        if found:
            return found[0]
    return None


def _score(items: list[Any]) -> float:
    """The certainty in [0, 1]; 1 where the report only says that the finding is there."""
    for code, _, unit, value in _numbers(items):
        if code == CERTAINTY:
            return min(1.0, max(0.0, value / 100 if unit == "%" else value))
    return 1.0
