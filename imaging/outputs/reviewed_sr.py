"""`sr_reviewed.dcm`: what a reader made of an AI's report, as a new version that names the AI's and never replaces it.

Only findings that the reader decided on are in it. Accepted, corrected and added ones are measurement groups with a
point, as in `sr`; a rejected one is a group without a type and without a point, so that no viewer draws it, and its
tracking UID says which of the AI's it was. Each group carries the decision in a code. The report is verified, and with
that final, only where the reader said so, for an organisation, after every finding was decided; it is partial before.
Decided but unverified it is complete and yet preliminary: nobody answers for it, so it is not what is acted upon.

Source: DICOM PS3.3 C.17.2 (predecessor documents, verifying observer, flags), PS3.16 TID 1500, 1501, 1003.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.valuerep import DT

from imaging.errors import OutputError
from imaging.findings import Finding, Report
from imaging.geometry.grid import Grid
from imaging.io.dicom_decisions import Verdict
from imaging.outputs import codes
from imaging.outputs.case import CaseResult
from imaging.outputs.dicom_file import (
    MANUFACTURER,
    SR_SERIES_NUMBER,
    equipment,
    long_string,
    write_dataset,
)
from imaging.outputs.dicom_source import DicomSource, read_source, result_uid
from imaging.outputs.sr import (
    algorithm,
    centre,
    certainty,
    device_observer,
    measures,
    site,
    slices_of_findings,
    tracking,
)
from imaging.provenance import creation_time, software_version

FILE_NAME: Final = "sr_reviewed.dcm"
SERIES_DESCRIPTION: Final = "AI lung nodules reviewed by a reader, research"
#: Behind the AI's own report and segmentation.
SERIES_NUMBER: Final = SR_SERIES_NUMBER + 2


@dataclass(frozen=True)
class Decision:
    """What a reader decided on one finding.

    Args:
        finding: as the reader left it.
        verdict: one of `codes.DECISIONS`.
        comment: the reader's words on it.
        by_hand: names of measures (``diameter_mm`` ...) that are the reader's, not the algorithm's.
    """

    finding: Finding
    verdict: Verdict
    comment: str = ""
    by_hand: tuple[str, ...] = ()


@dataclass(frozen=True)
class Review:
    """What a reader made of a report.

    Args:
        decisions: one a finding that was decided on.
        readers: names, as they were typed; at least one.
        complete: whether no finding is left undecided.
        predecessors: the AI's report first, then earlier versions of this review: data sets with study, series, class
            and instance.
        by_nodulus: whether nodulus made the findings; another product's are not called nodulus's.
        organisation: for which the report is verified; empty where it is not to be verified.
        verifier: the name of the reader who verifies it.
    """

    decisions: tuple[Decision, ...]
    readers: tuple[str, ...]
    complete: bool
    predecessors: tuple[Dataset, ...]
    by_nodulus: bool = True
    organisation: str = ""
    verifier: str = ""


def reviewed_structured_report(result: CaseResult, review: Review) -> sr.Comprehensive3DSR:
    """The reviewed report as a DICOM data set.

    Args:
        result: the CT and the report as the reader left it.
        review: the decisions.

    Raises:
        OutputError: ``review.unsigned`` without a decision, without a reader's name, or if it is to be verified with
            findings undecided; ``outputs.header_unusable`` as `imaging.outputs.sr`.
    """
    _check(review)
    source = read_source(result.volume)
    document = sr.Comprehensive3DSR(
        evidence=list(source.images),
        content=_measurement_report(result, review, source),
        series_instance_uid=_uid(result.report, review, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid(result.report, review, "instance"),
        instance_number=1,
        series_description=SERIES_DESCRIPTION,
        is_complete=review.complete,
        is_final=bool(review.organisation),
        is_verified=bool(review.organisation),
        verifying_observer_name=person_name(review.verifier) if review.organisation else None,
        verifying_organization=long_string(review.organisation) or None,
        previous_versions=list(review.predecessors) or None,
        **equipment(long_string(software_version()), result.report.provenance.weights_sha256 or "none"),
    )
    document.CodingSchemeIdentificationSequence = [_own_scheme()]
    for observer in document.get("VerifyingObserverSequence", []):
        observer.VerificationDateTime = DT(creation_time().strftime("%Y%m%d%H%M%S+0000"))
    return document


def _own_scheme() -> Dataset:
    """Whose codes the private ones are (PS3.3 C.12.1)."""
    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.DECISION.scheme_designator
    scheme.CodingSchemeName = "nodulus: decisions of readers"
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    return scheme


def _check(review: Review) -> None:
    if not review.decisions:
        raise OutputError("review.unsigned", "nothing was decided, so there is no reviewed report")
    if not any(name.strip() for name in review.readers):
        raise OutputError("review.unsigned", "no reader's name stands beside the decisions")
    if review.organisation and not review.complete:
        raise OutputError("review.unsigned", "some findings are undecided, so the report cannot be verified")
    if review.organisation and not review.verifier.strip():
        raise OutputError("review.unsigned", "nobody's name is given, so the report cannot be verified")


def _uid(report: Report, review: Review, what: str) -> str:
    """Another UID for each state of the review, the same for the same."""
    state = "/".join([result_uid(report, f"reviewed sr {what}"), repr(review.decisions), *review.readers])
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{state}/{review.organisation}/{review.verifier}').int}"


def person_name(text: str) -> str:
    """A typed name as a DICOM person name: one component of at most 64 characters, closed by a caret.

    >>> person_name("Dr. A. Reader")
    'Dr. A. Reader^'
    >>> person_name("Reader^Ada")
    'Reader^Ada'
    """
    name = long_string(text.replace("=", " "))[:63].strip()
    return name if "^" in name and name.count("^") <= 4 else name.replace("^", " ") + "^"


def _measurement_report(result: CaseResult, review: Review, source: DicomSource) -> sr.MeasurementReport:
    context = sr.ObservationContext()
    for name in review.readers:
        person = sr.PersonObserverIdentifyingAttributes(name=person_name(name))
        kind = sr.CodedConcept.from_code(codes.PERSON)
        context.extend(sr.ObserverContext(observer_type=kind, observer_identifying_attributes=person))
    if review.by_nodulus:
        context.extend(device_observer(result.report))
    return sr.MeasurementReport(
        observation_context=context,
        procedure_reported=codes.CHEST_CT,
        imaging_measurements=[_group(result, review, decision, source) for decision in review.decisions],
        referenced_images=slices_of_findings(result, source) or None,
    )


def _group(result: CaseResult, review: Review, decision: Decision, source: DicomSource) -> Any:
    finding = decision.finding
    said = [sr.QualitativeEvaluation(name=codes.DECISION, value=codes.DECISIONS[decision.verdict])]
    if decision.verdict == "rejected":
        image = _nearest(result.volume.grid, finding, source)
        group: Any = sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(finding),
            qualitative_evaluations=said,
            source_images=[sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID)],
        )
    else:
        by_ai = decision.verdict != "added"
        score = [certainty(finding)] if by_ai else []
        group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking(finding),
            referenced_region=centre(finding, source),
            finding_category=codes.ABNORMAL_STRUCTURE,
            finding_type=codes.NODULE,
            finding_sites=[site(finding)],
            algorithm_id=algorithm(result.report) if by_ai and review.by_nodulus else None,
            geometric_purpose=codes.CENTRE,
            measurements=[*score, *measures(finding, by_hand=decision.by_hand)],
            qualitative_evaluations=said,
        )
    if decision.comment:
        group[0].ContentSequence.append(_comment(decision.comment))
    return group


def _comment(text: str) -> sr.TextContentItem:
    plain = " ".join(text.split())[:1024]
    return sr.TextContentItem(name=codes.COMMENT, value=plain, relationship_type=sr.RelationshipTypeValues.CONTAINS)


def _nearest(grid: Grid, finding: Finding, source: DicomSource) -> Dataset:
    """The instance nearest to a finding; the only one of a multi-frame series."""
    index = int(np.rint(grid.to_index(finding.centre_mm)[0]))
    return source.images[min(max(index, 0), len(source.images) - 1)]


def write(result: CaseResult, review: Review, folder: Path) -> dict[str, Path]:
    """Write `sr_reviewed.dcm` into `folder`.

    Raises:
        OutputError: ``review.unsigned``; ``outputs.header_unusable``.
    """
    path = folder / FILE_NAME
    write_dataset(reviewed_structured_report(result, review), path)
    return {FILE_NAME: path}
