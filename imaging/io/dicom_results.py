"""What others say about a CT: DICOM segmentations and TID 1500 reports of this or another product.

Only what a viewer needs is taken: outlines with their place, and points with their size (`dicom_report`).

Source: DICOM PS3.3 A.51 (segmentation), A.35 (reports).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.findings import Finding
from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.io.dicom_decisions import Stated, doubts, persons_of
from imaging.io.dicom_report import SEGMENTATIONS, names_a_device, observer_of, read_groups, to_findings
from imaging.io.identifiers import LEFT_OUT, identifying_words, without

REPORTS: Final = (
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D
    "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible
)


@dataclass(frozen=True, eq=False)
class OutsideResult:
    """A result that is not a nodulus folder.

    Args:
        by: the product that made it, as it says.
        findings: points of a report; empty for a segmentation.
        labels: uint8 on `grid`, one value a segment; None for a report.
        series: Series Instance UIDs of the images it refers to.
        notices: ``result.unplaced`` where some findings have no place here; of a reviewed report ``result.rejected``,
            ``result.partial``, ``result.unverified``.
        stated: tracking UID -> what a reader had decided on that finding; empty but for nodulus's reviewed reports.
        readers: who decided that.
    """

    by: str
    findings: tuple[Finding, ...] = ()
    labels: npt.NDArray[np.uint8] | None = None
    grid: Grid | None = None
    series: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    stated: Mapping[str, Stated] = field(default_factory=dict)
    readers: tuple[str, ...] = ()


def is_outside_result(path: Path) -> bool:
    """Whether a file is a DICOM segmentation or a structured report; reads only its header."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        header = dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError):
        return False
    return str(header.get("SOPClassUID", "")) in (*SEGMENTATIONS, *REPORTS)


def read_outside_result(path: Path, volume: Volume | None = None) -> OutsideResult:
    """Read a DICOM segmentation or a structured report.

    Args:
        path: the file.
        volume: the CT that it is about, as it was read; outlines on slices have no place without it.

    Raises:
        InputError: ``result.unreadable`` if it is neither, or says nothing that has a place in three dimensions.
    """
    from pydicom import dcmread

    try:
        dataset = dcmread(path)
        if str(dataset.SOPClassUID) in SEGMENTATIONS:
            return _segmentation(dataset)
        if str(dataset.SOPClassUID) in REPORTS:
            return _report(dataset, volume)
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


def _report(dataset: Any, volume: Volume | None) -> OutsideResult:
    groups = read_groups(dataset, volume)
    findings = to_findings(groups)
    stated = {group.uid: group.stated for group in groups if group.stated is not None}
    series = _series(dataset)
    about = volume is None or not series or volume.seriesuid in series  # of another CT nothing has a place in this one
    unplaced = sum(group.outlined and group.place is None for group in groups) if about else 0
    message = f"{unplaced} findings have no place in it: they stand in a segmentation or on images that are not here"
    if unplaced and not findings:
        raise ValueError(message)
    notices = (Notice("result.unplaced", message),) if unplaced else ()
    return OutsideResult(
        # Reviewed with nodulus, but nodulus is no observer of it: the findings are another product's.
        "another product" if stated and not names_a_device(dataset) else _maker(dataset),
        findings=findings,
        series=series,
        notices=notices + doubts(dataset, list(stated.values())),
        stated=stated,
        readers=persons_of(dataset) if stated else (),
    )


def _maker(dataset: Any) -> str:
    """The product, else the first observer that has a name; a patient's name never."""
    product = (dataset.get("Manufacturer", ""), dataset.get("ManufacturerModelName", ""))
    name = " ".join(dict.fromkeys(str(part) for part in product if part)) or observer_of(dataset)
    return without(name, identifying_words(dataset)).strip(f"{LEFT_OUT} ") or "an unnamed product"


def _series(dataset: Any) -> tuple[str, ...]:
    """Series it refers to, from its references and its evidence, each once."""
    found = [str(s.SeriesInstanceUID) for s in dataset.get("ReferencedSeriesSequence", [])]
    for study in dataset.get("CurrentRequestedProcedureEvidenceSequence", []):
        found += [str(series.SeriesInstanceUID) for series in study.get("ReferencedSeriesSequence", [])]
    return tuple(dict.fromkeys(found))
