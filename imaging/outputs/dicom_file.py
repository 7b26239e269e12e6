"""What `sr.dcm` and `seg.dcm` have in common: who made them, when, and how they become bytes."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Literal

from pydicom import dcmwrite
from pydicom.dataset import Dataset

from imaging.findings import Finding, Report
from imaging.io.atomic import write_bytes
from imaging.outputs.dicom_source import result_uid
from imaging.provenance import creation_time

MANUFACTURER: Final = "nodulus"
MODEL_NAME: Final = "nodulus"
SERIES_DESCRIPTION: Final = "AI lung nodules, research, not for diagnosis"
#: High, so that results sort behind the images of a study.
SR_SERIES_NUMBER: Final = 9701
SEG_SERIES_NUMBER: Final = 9702


def tracking_identifier(finding: Finding) -> str:
    """The readable name that SR and SEG give a finding beside its tracking UID."""
    return f"Nodule {finding.number}"


def long_string(text: str) -> str:
    """A text as a DICOM long string can hold it: at most 64 characters, no control character, no backslash."""
    return _plain(text).replace("\\", "/")[:64].strip()


def _plain(text: str) -> str:
    """Without control characters and lone surrogates, which no DICOM text may have."""
    return re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text)


def software(report: Report) -> str:
    """Name and version of what made the report."""
    return long_string(report.provenance.software)


def algorithm_name(report: Report) -> str:
    """Name of the weights, which is what distinguishes one model from another."""
    return long_string(report.provenance.weights_name) or MODEL_NAME


def parameters(report: Report) -> list[str]:
    """What a reader of the DICOM result has to know of the algorithm, a sentence each."""
    point, made = report.operating_point, report.provenance
    rate = "was not measured" if point.false_marks_per_scan is None else f"is {point.false_marks_per_scan:.3g}"
    sentences = [
        "For research; not for diagnosis",
        f"Weights: {made.weights_name}, sha256 {made.weights_sha256}",
        f"Marks with a score below {point.threshold:.4g} are not reported; "
        f"the mean number of false marks per scan at this threshold {rate} ({point.measured_on or 'no scans stated'})",
        "A score is of a window around the finding, not a probability of disease; no mark does not mean no nodule",
        *(f"Input check {notice.code}: {notice.message}" for notice in report.notices),
    ]
    return [_plain(sentence)[:1024] for sentence in sentences]


def times() -> dict[str, Any]:
    """Date and time of content and series, for highdicom's constructors."""
    moment = creation_time()
    date, time = moment.date(), moment.time().replace(microsecond=0)
    return {"content_date": date, "content_time": time, "series_date": date, "series_time": time}


def equipment(software_versions: str, weights_sha256: str) -> dict[str, Any]:
    """What made a result, when and what for, for highdicom's constructors."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": MODEL_NAME,
        "software_versions": software_versions,
        "device_serial_number": long_string(weights_sha256),
        "content_qualification": "RESEARCH",
        **times(),
    }


def identity(report: Report, kind: Literal["sr", "seg"]) -> dict[str, Any]:
    """Series and instance of a report's own result, with `equipment`; UIDs follow from the report."""
    return {
        "series_instance_uid": result_uid(report, f"{kind} series"),
        "series_number": SR_SERIES_NUMBER if kind == "sr" else SEG_SERIES_NUMBER,
        "series_description": SERIES_DESCRIPTION,
        "sop_instance_uid": result_uid(report, f"{kind} instance"),
        "instance_number": 1,
        **equipment(software(report), report.provenance.weights_sha256),
    }


def write_dataset(dataset: Dataset, path: Path) -> None:
    """Write a data set as a DICOM file, whole; its creation is stamped with `creation_time`."""
    moment = creation_time()
    dataset.InstanceCreationDate = moment.strftime("%Y%m%d")
    dataset.InstanceCreationTime = moment.strftime("%H%M%S")
    for equipment in dataset.get("ContributingEquipmentSequence", []):
        equipment.ContributionDateTime = moment.strftime("%Y%m%d%H%M%S+0000")
    content = BytesIO()
    dcmwrite(content, dataset, enforce_file_format=True)
    write_bytes(path, content.getbuffer())
