"""What was found: frozen values that every output is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from imaging.errors import Notice
from imaging.provenance import Provenance

Point = tuple[float, float, float]
Side = Literal["left", "right"]
Zone = Literal["upper", "middle", "lower"]

#: Version of the layout of `Report.to_json`; raised whenever a field changes its meaning.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CtSlice:
    """The slice of the CT that a place lies in, as a reader finds it; None for whatever would not lead there surely.

    Args:
        centre_mm: the place, LPS millimetres; a slice says nothing of any other.
        number: position among the axial slices, counted from 1 at the feet's end as ``nodulus view`` counts.
        of: how many slices there are.
        instance_number: DICOM Instance Number of the slice.
        frame_number: the frame (from 1) where the slice is one of a multi-frame instance.
        sop_instance_uid: the DICOM instance that holds the slice.
    """

    centre_mm: Point
    number: int | None = None
    of: int | None = None
    instance_number: int | None = None
    frame_number: int | None = None
    sop_instance_uid: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The slice as plain values; the place is the finding's."""
        return {
            "number": self.number,
            "of": self.of,
            "instance_number": self.instance_number,
            "frame_number": self.frame_number,
            "sop_instance_uid": self.sop_instance_uid,
        }


@dataclass(frozen=True)
class Finding:
    """One suspected nodule.

    Args:
        number: 1 for the most suspicious finding of a report.
        tracking_uid: a DICOM UID that follows from the series and the place, the same on every run.
        centre_mm: LPS millimetres.
        score: calibrated, in [0, 1]; of a window around the finding, not a patient's probability.
        logit: the score before calibration, unrounded.
        diameter_mm: of the sphere of the same volume; None if the lesion could not be segmented.
        long_axis_mm, short_axis_mm: largest in-plane extent and the one across it.
        long_axis_ends_mm: both ends of the long axis in LPS mm.
        volume_mm3: of the segmented lesion.
        mean_hu: mean attenuation inside the segmented lesion.
        side, zone: left or right lung; upper, middle or lower third of that lung's height.
        attributes: name -> score in [0, 1] from the text tower (``solid``, ``ground-glass`` ...).
        notes: codes of doubts about this finding alone (``measurement.leaked`` ...).
        ct_slice: the slice of the centre, where a CT was at hand; follows from the centre, so findings are compared
            without it, and a finding that is moved loses it.
    """

    number: int
    tracking_uid: str
    centre_mm: Point
    score: float
    logit: float
    diameter_mm: float | None = None
    long_axis_mm: float | None = None
    short_axis_mm: float | None = None
    long_axis_ends_mm: tuple[Point, Point] | None = None
    volume_mm3: float | None = None
    mean_hu: float | None = None
    side: Side | None = None
    zone: Zone | None = None
    attributes: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ct_slice: CtSlice | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"a score lies in [0, 1], not at {self.score}")
        if self.ct_slice is not None and self.ct_slice.centre_mm != self.centre_mm:
            object.__setattr__(self, "ct_slice", None)
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))

    def to_json(self) -> dict[str, Any]:
        """The finding as plain values, unrounded."""
        ends = self.long_axis_ends_mm
        return {
            "number": self.number,
            "tracking_uid": self.tracking_uid,
            "centre_lps_mm": list(self.centre_mm),
            "score": self.score,
            "logit": self.logit,
            "diameter_mm": self.diameter_mm,
            "long_axis_mm": self.long_axis_mm,
            "short_axis_mm": self.short_axis_mm,
            "long_axis_ends_lps_mm": None if ends is None else [list(point) for point in ends],
            "volume_mm3": self.volume_mm3,
            "mean_hu": self.mean_hu,
            "side": self.side,
            "zone": self.zone,
            "attributes": dict(self.attributes),
            "notes": list(self.notes),
            "slice": None if self.ct_slice is None else self.ct_slice.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Finding:
        """The finding back from `to_json`; an older report says nothing of slices."""
        ends, ct_slice = values["long_axis_ends_lps_mm"], values.get("slice")
        centre_mm = _point(values["centre_lps_mm"])
        return cls(
            number=values["number"],
            tracking_uid=values["tracking_uid"],
            centre_mm=centre_mm,
            score=values["score"],
            logit=values["logit"],
            diameter_mm=values["diameter_mm"],
            long_axis_mm=values["long_axis_mm"],
            short_axis_mm=values["short_axis_mm"],
            long_axis_ends_mm=None if ends is None else (_point(ends[0]), _point(ends[1])),
            volume_mm3=values["volume_mm3"],
            mean_hu=values["mean_hu"],
            side=values["side"],
            zone=values["zone"],
            attributes=values["attributes"],
            notes=tuple(values["notes"]),
            ct_slice=None if ct_slice is None else CtSlice(centre_mm, **ct_slice),
        )


def _point(values: Any) -> Point:
    x, y, z = (float(v) for v in values)
    return x, y, z


@dataclass(frozen=True)
class OperatingPoint:
    """Above which score a mark is reported, what that costs in false marks per scan, and on which scans."""

    threshold: float
    false_marks_per_scan: float | None
    measured_on: str

    def to_json(self) -> dict[str, Any]:
        """The operating point as plain values."""
        return {
            "threshold": self.threshold,
            "false_marks_per_scan": self.false_marks_per_scan,
            "measured_on": self.measured_on,
        }


@dataclass(frozen=True)
class RejectedSeries:
    """A series of the same patient that was not analysed, and why."""

    seriesuid: str
    description: str
    code: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """The rejected series as plain values."""
        return {"seriesuid": self.seriesuid, "description": self.description, "code": self.code, "reason": self.reason}


@dataclass(frozen=True)
class Report:
    """Everything that is said about one CT: findings, doubts, the model, the operating point, and who made it."""

    seriesuid: str
    study_instance_uid: str | None
    study_date: str | None
    findings: tuple[Finding, ...]
    notices: tuple[Notice, ...]
    operating_point: OperatingPoint
    provenance: Provenance
    grid: Mapping[str, Any]
    series_choice: str = ""
    rejected_series: tuple[RejectedSeries, ...] = ()
    lungs_ml: float | None = None
    maps: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The report as plain values, with `schema_version`."""
        return {
            "schema_version": SCHEMA_VERSION,
            "seriesuid": self.seriesuid,
            "study_instance_uid": self.study_instance_uid,
            "study_date": self.study_date,
            "findings": [f.to_json() for f in self.findings],
            "notices": [n.to_json() for n in self.notices],
            "operating_point": self.operating_point.to_json(),
            "series_choice": self.series_choice,
            "rejected_series": [r.to_json() for r in self.rejected_series],
            "lungs_ml": self.lungs_ml,
            "maps": dict(self.maps),
            "grid": dict(self.grid),
            "provenance": self.provenance.to_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """The report back from `to_json`.

        Raises:
            ValueError: if the layout is of another schema version.
        """
        if values.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"report schema {values.get('schema_version')!r} is not {SCHEMA_VERSION}")
        return cls(
            seriesuid=values["seriesuid"],
            study_instance_uid=values["study_instance_uid"],
            study_date=values["study_date"],
            findings=tuple(Finding.from_json(f) for f in values["findings"]),
            notices=tuple(Notice(**n) for n in values["notices"]),
            operating_point=OperatingPoint(**values["operating_point"]),
            provenance=Provenance.from_json(values["provenance"]),
            grid=values["grid"],
            series_choice=values["series_choice"],
            rejected_series=tuple(RejectedSeries(**r) for r in values["rejected_series"]),
            lungs_ml=values["lungs_ml"],
            maps=values["maps"],
        )
