"""`sr.dcm`: findings as a DICOM structured report (Comprehensive 3D SR, template TID 1500).

One measurement group a finding: tracking identifier and UID, a point in the frame of reference, site, measures, score,
algorithm. A CT without findings gets a real report too: one group over the series that says "All algorithms succeeded;
without findings" and names no nodule, so that silence is never taken for health.

Source: DICOM PS3.16 TID 1500, 1410, 1501, 300, 4019; PS3.17 F.3 (reports without findings).
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any, Final

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from imaging.findings import Finding, Report
from imaging.outputs import codes
from imaging.outputs.case import CaseResult
from imaging.outputs.dicom_file import (
    MANUFACTURER,
    MODEL_NAME,
    algorithm_name,
    identity,
    long_string,
    parameters,
    software,
    tracking_identifier,
    write_dataset,
)
from imaging.outputs.dicom_source import CT_IMAGE, DicomSource, device_uid, read_source, result_uid

FILE_NAME: Final = "sr.dcm"

#: Measure -> concept, unit, method.
_MEASURES: Final[dict[str, tuple[Code, Code, Code | None]]] = {
    "long_axis_mm": (codes.LONG_AXIS, codes.MILLIMETRE, codes.IN_PLANE),
    "short_axis_mm": (codes.SHORT_AXIS, codes.MILLIMETRE, codes.IN_PLANE),
    "diameter_mm": (codes.DIAMETER, codes.MILLIMETRE, codes.IN_SPACE),
    "volume_mm3": (codes.VOLUME, codes.CUBIC_MILLIMETRE, codes.IN_SPACE),
    "mean_hu": (codes.MEAN_ATTENUATION, codes.HOUNSFIELD, codes.IN_SPACE),
}


def structured_report(result: CaseResult) -> sr.Comprehensive3DSR:
    """The report as a DICOM data set.

    Raises:
        OutputError: ``outputs.header_unusable`` if patient, study, series, instances or space cannot be named.
    """
    report, source = result.report, read_source(result.volume)
    if report.findings:
        groups = [_finding_group(report, finding, source) for finding in report.findings]
    else:
        groups = [_empty_group(report, source)]
    document = sr.Comprehensive3DSR(
        evidence=list(source.images),
        content=_measurement_report(result, groups, source),
        is_complete=True,
        is_final=False,
        is_verified=False,
        **identity(report, "sr"),
    )
    return document


def _measurement_report(result: CaseResult, groups: list[Any], source: DicomSource) -> sr.MeasurementReport:
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device_observer(result.report)),
        procedure_reported=codes.CHEST_CT,
        imaging_measurements=groups,
        referenced_images=slices_of_findings(result, source) or None,
    )


def device_observer(report: Report) -> sr.ObserverContext:
    """The software with its weights as an observer."""
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(report),
        name=software(report),
        manufacturer_name=MANUFACTURER,
        model_name=MODEL_NAME,
        serial_number=long_string(report.provenance.weights_sha256),
    )
    kind = sr.CodedConcept.from_code(codes.DEVICE)
    return sr.ObserverContext(observer_type=kind, observer_identifying_attributes=device)


def slices_of_findings(result: CaseResult, source: DicomSource) -> list[Dataset]:
    """The instance nearest to each finding, for viewers that jump to an image; none if instances are not slices."""
    if len(source.images) != result.volume.grid.shape[0] or source.images[0].SOPClassUID != CT_IMAGE:
        return []
    centres = np.array([finding.centre_mm for finding in result.report.findings]).reshape(-1, 3)
    indices = np.rint(result.volume.grid.to_index(centres)[:, 0]).astype(int)
    return [source.images[i] for i in sorted(set(indices.clip(0, len(source.images) - 1).tolist()))]


def _finding_group(report: Report, finding: Finding, source: DicomSource) -> Any:
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(finding),
        referenced_region=centre(finding, source),
        finding_category=codes.ABNORMAL_STRUCTURE,
        finding_type=codes.NODULE,
        finding_sites=[site(finding)],
        algorithm_id=algorithm(report),
        geometric_purpose=codes.CENTRE,
        measurements=_measurements(finding),
    )


def tracking(finding: Finding) -> sr.TrackingIdentifier:
    """The name and the UID by which a finding is known in every result."""
    return sr.TrackingIdentifier(uid=finding.tracking_uid, identifier=tracking_identifier(finding))


def centre(finding: Finding, source: DicomSource) -> sr.ImageRegion3D:
    """The centre as a point of the CT's frame of reference."""
    return sr.ImageRegion3D(
        graphic_type=sr.GraphicTypeValues3D.POINT,
        graphic_data=np.array([finding.centre_mm]),
        frame_of_reference_uid=source.frame_of_reference_uid,
    )


def site(finding: Finding) -> sr.FindingSite:
    """The zone of the lung, or the lung, and its side."""
    location = codes.ZONES[finding.zone] if finding.zone else codes.LUNG
    return sr.FindingSite(location, laterality=codes.SIDES[finding.side] if finding.side else None)


def _measurements(finding: Finding) -> list[sr.Measurement]:
    """The measures that were taken, and the calibrated score as certainty in percent."""
    return [certainty(finding), *measures(finding)]


def certainty(finding: Finding) -> sr.Measurement:
    """The calibrated score in percent."""
    return sr.Measurement(name=codes.CERTAINTY, value=100.0 * finding.score, unit=codes.PERCENT)


def measures(finding: Finding, *, by_hand: Container[str] = ()) -> list[sr.Measurement]:
    """The measures that were taken; those named in `by_hand` without the algorithm's method."""
    return [
        sr.Measurement(name=name, value=float(value), unit=unit, method=None if field in by_hand else method)
        for field, (name, unit, method) in _MEASURES.items()
        if (value := getattr(finding, field)) is not None
    ]


def algorithm(report: Report) -> sr.AlgorithmIdentification:
    """Software, weights and what a reader has to know of them."""
    return sr.AlgorithmIdentification(
        name=algorithm_name(report),
        version=software(report),
        manufacturer=MANUFACTURER,
        parameters=parameters(report),
        family=codes.ARTIFICIAL_INTELLIGENCE,
    )


def _empty_group(report: Report, source: DicomSource) -> Any:
    """One group over the whole series: it was analysed, and there is no mark. It names no finding."""
    seen = [sr.SourceImageForMeasurementGroup(i.SOPClassUID, i.SOPInstanceUID) for i in source.images]
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=result_uid(report, "negative"), identifier="Whole series"),
        algorithm_id=algorithm(report),
        finding_sites=[sr.FindingSite(codes.LUNG)],
        qualitative_evaluations=[sr.QualitativeEvaluation(name=codes.SUMMARY, value=codes.WITHOUT_FINDINGS)],
        source_images=seen,
    )


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `sr.dcm`; patient and study are those of the CT, whatever `show_identifiers` says.

    Raises:
        OutputError: ``outputs.header_unusable``.
    """
    path = folder / FILE_NAME
    write_dataset(structured_report(result), path)
    return {FILE_NAME: path}
