"""`seg.dcm`: the outlined findings as a DICOM segmentation, one binary segment a finding.

Labels and tracking UIDs are those of `sr.dcm`; a finding that could not be outlined has no segment. Frames lie where
the slices of the CT lie, also where the gantry was tilted. Every segment has a frame for every slice, because masks
land in the wrong place in viewers that count frames instead of reading positions; only beyond `MOST_FRAMES` are empty
ones left out.

Source: DICOM PS3.3 A.51, C.8.20.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import highdicom as hd
import numpy as np
from highdicom import seg
from pydicom.dataset import Dataset

from imaging.errors import UsageError
from imaging.findings import Finding, Report
from imaging.outputs import codes
from imaging.outputs.case import CaseResult
from imaging.outputs.dicom_file import (
    MANUFACTURER,
    algorithm_name,
    identity,
    software,
    tracking_identifier,
    write_dataset,
)
from imaging.outputs.dicom_source import (
    DicomSource,
    decimals,
    read_source,
    result_uid,
    slice_distance_mm,
    slice_position,
)

FILE_NAME: Final = "seg.dcm"
#: 4,000 frames of 512 x 512 are 131 MB.
MOST_FRAMES: Final = 4000


def segmentation(result: CaseResult) -> seg.Segmentation:
    """The outlines as a DICOM data set.

    Raises:
        UsageError: ``outputs.no_findings`` if there is nothing to outline.
        OutputError: ``outputs.header_unusable`` if patient, study, series, instances or space cannot be named.
    """
    report, grid = result.report, result.volume.grid
    findings = result.outlined()
    if not findings:
        raise UsageError("outputs.no_findings", "a DICOM segmentation needs a segment, and no finding has an outline")
    source = read_source(result.volume)
    dataset = seg.Segmentation(
        source_images=list(source.images),
        pixel_array=_outlines(result, findings),
        segmentation_type=seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(report, number, finding) for number, finding in enumerate(findings, 1)],
        content_label="NODULES",
        content_description="Outlined lung nodules; research, not for diagnosis",
        omit_empty_frames=len(findings) * grid.shape[0] > MOST_FRAMES,
        **_places(result, source),
        **identity(report, "seg"),
    )
    dataset.BodyPartExamined = "CHEST"
    _name_dimensions(dataset, result_uid(report, "seg dimensions"))
    return dataset


def _places(result: CaseResult, source: DicomSource) -> dict[str, Any]:
    """Where the frames lie, for highdicom; nothing where each slice is an instance, whose places it then takes."""
    grid, image = result.volume.grid, source.images[0]
    if len(source.images) == grid.shape[0]:
        return {}
    measures = hd.PixelMeasuresSequence(
        pixel_spacing=decimals(grid.spacing_mm[1:]),
        slice_thickness=image.SliceThickness,
        spacing_between_slices=decimals([slice_distance_mm(grid)])[0],
    )
    return {
        "pixel_measures": measures,
        "plane_orientation": hd.PlaneOrientationSequence("PATIENT", image.ImageOrientationPatient),
        "plane_positions": [hd.PlanePositionSequence("PATIENT", slice_position(grid, i)) for i in range(grid.shape[0])],
    }


def _outlines(result: CaseResult, findings: tuple[Finding, ...]) -> np.ndarray:
    """uint8 (slice, row, column); the value is the place of the finding among `findings`, from 1."""
    table = np.zeros(256, np.uint8)
    for segment, finding in enumerate(findings, 1):
        table[finding.number] = segment
    outlines: np.ndarray = table[result.nodules]
    return outlines


def _segment(report: Report, number: int, finding: Finding) -> seg.SegmentDescription:
    algorithm = hd.AlgorithmIdentificationSequence(
        name=algorithm_name(report),
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=software(report),
        source=MANUFACTURER,
    )
    description = seg.SegmentDescription(
        segment_number=number,
        segment_label=tracking_identifier(finding),
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.NODULE,
        algorithm_type=seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=finding.tracking_uid,
        tracking_id=tracking_identifier(finding),
        anatomic_regions=[codes.LUNG],
        display_color=hd.color.CIELabColor.from_rgb(230, 159, 0),
    )
    if finding.side:
        side = hd.sr.CodedConcept.from_code(codes.SIDES[finding.side])
        description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [side]
    return description


def _name_dimensions(dataset: Dataset, uid: str) -> None:
    """highdicom draws the UID of the dimensions by lot; ours follows from the content."""
    for item in [*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence]:
        item.DimensionOrganizationUID = uid


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `seg.dcm`; patient and study are those of the CT, whatever `show_identifiers` says.

    Raises:
        UsageError: ``outputs.no_findings``.
        OutputError: ``outputs.header_unusable``.
    """
    path = folder / FILE_NAME
    write_dataset(segmentation(result), path)
    return {FILE_NAME: path}
