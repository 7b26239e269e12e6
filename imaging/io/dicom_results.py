"""What others say about a CT: DICOM segmentations and TID 1500 reports of this or another product.

Only what a viewer needs is taken: outlines with their place, and points with their size. A report is walked item by
item, so that a group that is not built exactly by the template is still understood where its parts are.

Source: DICOM PS3.3 A.51 (segmentation), PS3.16 TID 1411, 1419, 1501 (measurement groups).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError
from imaging.findings import Finding
from imaging.geometry.grid import Grid

SEGMENTATION: Final = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
REPORTS: Final = (
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D
    "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible
)

#: Code value -> what it means here (scheme DCM): group, tracking UID, certainty.
GROUP, TRACKING_UID, CERTAINTY = "125007", "112040", "111012"


@dataclass(frozen=True, eq=False)
class OutsideResult:
    """A result that is not a nodulus folder.

    Args:
        by: the product that made it, as it says.
        findings: points of a report; empty for a segmentation.
        labels: uint8 on `grid`, one value a segment; None for a report.
        series: Series Instance UIDs of the images it refers to.
    """

    by: str
    findings: tuple[Finding, ...] = ()
    labels: npt.NDArray[np.uint8] | None = None
    grid: Grid | None = None
    series: tuple[str, ...] = ()


def is_outside_result(path: Path) -> bool:
    """Whether a file is a DICOM segmentation or a structured report; reads only its header."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError):
        return False
    return str(header.get("SOPClassUID", "")) in (*SEGMENTATION, *REPORTS)


def read_outside_result(path: Path) -> OutsideResult:
    """Read a DICOM segmentation or a structured report.

    Raises:
        InputError: ``result.unreadable`` if it is neither, or says nothing that has a place in three dimensions.
    """
    from pydicom import dcmread

    try:
        dataset = dcmread(path)
        if str(dataset.SOPClassUID) in SEGMENTATION:
            return _segmentation(dataset)
        if str(dataset.SOPClassUID) in REPORTS:
            return _report(dataset)
    except (AttributeError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        message = f"the DICOM object cannot be understood: {type(error).__name__}: {error}"
        raise InputError("result.unreadable", message, where=path) from error
    message = f"SOP class {dataset.SOPClassUID} is neither a segmentation nor a structured report"
    raise InputError("result.unreadable", message, where=path)


def _segmentation(dataset: Any) -> OutsideResult:
    from highdicom.seg import Segmentation

    volume = Segmentation.from_dataset(dataset, copy=False).get_volume(combine_segments=True)
    shape = volume.spatial_shape
    grid = Grid((shape[0], shape[1], shape[2]), volume.affine, str(dataset.FrameOfReferenceUID))
    return OutsideResult(_maker(dataset), labels=volume.array.astype(np.uint8), grid=grid, series=_series(dataset))


def _report(dataset: Any) -> OutsideResult:
    rows = sorted(_groups(dataset.ContentSequence), key=lambda row: -row["score"])
    findings = tuple(
        Finding(
            number=number,
            tracking_uid=row["uid"] or f"{dataset.SOPInstanceUID}.{number}",
            centre_mm=row["centre"],
            score=row["score"],
            logit=0.0,
            diameter_mm=row["diameter"],
        )
        for number, row in enumerate(rows, start=1)
    )
    return OutsideResult(_maker(dataset), findings=findings, series=_series(dataset))


def _groups(items: Any) -> Iterator[dict[str, Any]]:
    for item in items:
        children = item.get("ContentSequence", [])
        if _code(item) != GROUP:
            yield from _groups(children)
            continue
        inside = list(_all_items(children))
        points = [np.reshape(i.GraphicData, (-1, 3)) for i in inside if i.ValueType == "SCOORD3D"]
        if points:
            x, y, z = np.concatenate(points).mean(axis=0)
            yield {
                "centre": (float(x), float(y), float(z)),
                "uid": next((str(i.UID) for i in inside if _code(i) == TRACKING_UID), ""),
                "diameter": _diameter(inside),
                "score": _score(inside),
            }


def _all_items(items: Any) -> Iterator[Any]:
    for item in items:
        yield item
        yield from _all_items(item.get("ContentSequence", []))


def _code(item: Any) -> str:
    names = item.get("ConceptNameCodeSequence")
    return str(names[0].CodeValue) if names else ""


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


def _maker(dataset: Any) -> str:
    parts = (dataset.get("Manufacturer", ""), dataset.get("ManufacturerModelName", ""))
    return " ".join(dict.fromkeys(str(part) for part in parts if part)) or "an unnamed product"


def _series(dataset: Any) -> tuple[str, ...]:
    """Series it refers to, from its references and its evidence, each once."""
    found = [str(s.SeriesInstanceUID) for s in dataset.get("ReferencedSeriesSequence", [])]
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", []):
        found += [str(series.SeriesInstanceUID) for series in study.get("ReferencedSeriesSequence", [])]
    return tuple(dict.fromkeys(found))
