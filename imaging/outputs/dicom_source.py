"""What a DICOM result takes from the CT it was made from: patient, study, instances, places, identities.

Headers of real CTs are often not valid DICOM. An attribute that breaks its own rule is left empty and named (never its
value) in a notice ``outputs.header_repaired``; what identifies the patient or the study cannot be left empty or altered
silently, so there the result is refused with ``outputs.header_unusable``.

Source: DICOM PS3.3 C.7.1.1, C.7.2.1 (patient and study), PS3.5 6.2 (value representations), PS3.5 B.2 (UIDs).
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from imaging.errors import Notice, OutputError
from imaging.findings import Report
from imaging.geometry.grid import Grid
from imaging.geometry.volume import Origin, Volume

CT_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.2"
#: Text as DICOM may hold it: no control character, no value separator, nothing that UTF-8 cannot say or that was lost.
_TEXT = re.compile(r"[^\x00-\x1f\x7f\\\ud800-\udfff\ufffd]*")
_UID = re.compile(r"(?=.{1,64}$)\d+(\.\d+)+")
_TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")


def _is_date(text: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{8}", text)) and bool(datetime.strptime(text, "%Y%m%d"))
    except ValueError:
        return False


def _is_name(text: str) -> bool:
    groups = text.split("=")
    return len(groups) <= 3 and all(len(g) <= 64 and g.count("^") <= 4 and _TEXT.fullmatch(g) for g in groups)


def _is_decimal(text: str) -> bool:
    return len(text) <= 16 and bool(re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", text))


#: Rule -> whether a text keeps it.
_RULES: Final[Mapping[str, Callable[[str], object]]] = MappingProxyType(
    {
        "LO": lambda text: len(text) <= 64 and _TEXT.fullmatch(text),
        "SH": lambda text: len(text) <= 16 and _TEXT.fullmatch(text),
        "PN": _is_name,
        "DA": _is_date,
        "TM": _TIME.fullmatch,
        "AS": re.compile(r"\d{3}[DWMY]").fullmatch,
        "DS": _is_decimal,
        "UI": _UID.fullmatch,
        "one of M, F, O": lambda text: text in ("M", "F", "O"),
        "one of YES, NO": lambda text: text in ("YES", "NO"),
    }
)

#: Attribute -> its rule, and whether it is written even when empty (type 2 of its module).
_COPIED: Final[Mapping[str, tuple[str, bool]]] = MappingProxyType(
    {
        "PatientName": ("PN", True),
        "PatientID": ("LO", True),
        "IssuerOfPatientID": ("LO", False),
        "PatientBirthDate": ("DA", True),
        "PatientSex": ("one of M, F, O", True),
        "DeidentificationMethod": ("LO", False),
        "PatientIdentityRemoved": ("one of YES, NO", False),
        "PatientAge": ("AS", False),
        "PatientSize": ("DS", False),
        "PatientWeight": ("DS", False),
        "StudyDate": ("DA", True),
        "StudyTime": ("TM", True),
        "StudyID": ("SH", True),
        "AccessionNumber": ("SH", True),
        "ReferringPhysicianName": ("PN", True),
        "StudyDescription": ("LO", False),
    }
)
#: Emptied or cut, these would tie the result to another patient.
_IDENTITY: Final = ("PatientID", "IssuerOfPatientID")


@dataclass(frozen=True, eq=False)
class DicomSource:
    """The CT as derived objects refer to it.

    Args:
        images: attributes (no pixels) of each instance, in the order of the slices; a single one if it is multi-frame.
        frame_of_reference_uid: the space that all points are in.
        repaired: one notice for each attribute that was left empty.
    """

    images: tuple[Dataset, ...]
    frame_of_reference_uid: str
    repaired: tuple[Notice, ...]


def read_source(volume: Volume) -> DicomSource:
    """What SR and SEG copy and refer to.

    Args:
        volume: read from DICOM (`Origin.header` and `Origin.instances` are there).

    Raises:
        OutputError: ``outputs.header_unusable`` if patient, study, series, instances or space cannot be named.
    """
    origin = volume.origin
    if origin is None or origin.header is None or not origin.instances:
        raise OutputError("outputs.header_unusable", "the CT was not read from DICOM instances")
    common, repaired = clean_header(origin)
    common.FrameOfReferenceUID = _required_uid("FrameOfReferenceUID", volume.grid.frame_of_reference_uid, origin)
    for instance in origin.instances:
        _required_uid("SOPClassUID", instance.sop_class_uid, origin)
        _required_uid("SOPInstanceUID", instance.sop_instance_uid, origin)
    _add_geometry(common, volume)
    images = _frames_of_one(common, volume) if origin.instances[0].frame_number else _one_a_slice(common, volume)
    return DicomSource(images, common.FrameOfReferenceUID, repaired)


def clean_header(origin: Origin) -> tuple[Dataset, tuple[Notice, ...]]:
    """Patient and study attributes that are valid DICOM, as UTF-8, and a notice for each that was not.

    Raises:
        OutputError: ``outputs.header_unusable``.
    """
    header, clean, notices = origin.header, Dataset(), []
    clean.SpecificCharacterSet = "ISO_IR 192"
    for keyword, (rule, always) in _COPIED.items():
        text = _read(header, keyword)
        if text is None or (text and not _RULES[rule](text)):
            if keyword in _IDENTITY:
                raise OutputError(
                    "outputs.header_unusable", f"{keyword} is not a valid value ({rule})", where=origin.seriesuid
                )
            message = f"{keyword} is not a valid value ({rule}); it is empty in the DICOM results"
            notices.append(Notice("outputs.header_repaired", message))
            text = ""
        if text or always:
            setattr(clean, keyword, text)
    if "DeidentificationMethod" not in clean and "PatientIdentityRemoved" in clean:
        del clean.PatientIdentityRemoved  # says YES only together with the method
    study = _read(header, "StudyInstanceUID") or origin.study_instance_uid
    clean.StudyInstanceUID = _required_uid("StudyInstanceUID", study, origin)
    clean.SeriesInstanceUID = _required_uid(
        "SeriesInstanceUID", _read(header, "SeriesInstanceUID") or origin.seriesuid, origin
    )
    clean.Modality = "CT"
    return clean, tuple(notices)


def _read(header: Dataset, keyword: str) -> str | None:
    """The attribute as text, empty if it is absent, None if it has several values or cannot be read at all."""
    try:
        value: Any = header.get(keyword, "")
        if value is not None and not isinstance(value, str | float | int) and type(value).__name__ != "PersonName":
            return "" if len(value) == 0 else None
        return "" if value is None else str(value).strip(" \0")
    except Exception:  # whatever pydicom's converters raise for bytes that are no such value
        return None


def _required_uid(keyword: str, value: object, origin: Origin) -> str:
    text = "" if value is None else str(value)
    if _UID.fullmatch(text):
        return text
    state = "is not a valid UID" if text else "is missing"
    raise OutputError("outputs.header_unusable", f"{keyword} {state}", where=origin.seriesuid)


def _add_geometry(common: Dataset, volume: Volume) -> None:
    grid = volume.grid
    common.Rows, common.Columns = grid.shape[1:]
    common.ImageOrientationPatient = decimals([*grid.direction[:, 2], *grid.direction[:, 1]])
    common.PixelSpacing = decimals(grid.spacing_mm[1:])
    thickness = volume.origin.slice_thickness_mm if volume.origin else None
    common.SliceThickness = decimals([thickness or slice_distance_mm(grid)])[0]


def decimals(values: Any) -> list[DSfloat]:
    """Numbers as DICOM decimal strings of at most 16 characters."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def slice_distance_mm(grid: Grid) -> float:
    """Distance of neighbouring slices at right angles to them; less than the spacing where the stack is sheared."""
    normal = np.cross(grid.direction[:, 2], grid.direction[:, 1])
    return float(abs(normal @ grid.affine[:3, 0]) / np.linalg.norm(normal))


def slice_position(grid: Grid, index: int) -> list[DSfloat]:
    """ImagePositionPatient of a slice: LPS mm of the centre of its first voxel."""
    return decimals(grid.to_mm([index, 0, 0]))


def _one_a_slice(common: Dataset, volume: Volume) -> tuple[Dataset, ...]:
    """Single-frame instances, each at its slice; their order alone where there are more or fewer than slices."""
    images = []
    instances = volume.origin.instances if volume.origin else ()
    for index, instance in enumerate(instances):
        image = _copy(common)
        image.SOPClassUID, image.SOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
        image.ImagePositionPatient = slice_position(volume.grid, index)
        images.append(image)
    return tuple(images)


def _frames_of_one(common: Dataset, volume: Volume) -> tuple[Dataset, ...]:
    """The multi-frame instance, with the place of each frame that became a slice."""
    instances = volume.origin.instances if volume.origin else ()
    if len({instance.sop_instance_uid for instance in instances}) > 1:
        where = volume.seriesuid
        raise OutputError("outputs.header_unusable", "the volume comes from several multi-frame instances", where=where)
    image = _copy(common)
    image.SOPClassUID, image.SOPInstanceUID = instances[0].sop_class_uid, instances[0].sop_instance_uid
    slices = {instance.frame_number: index for index, instance in enumerate(instances)}
    image.NumberOfFrames = max(int(number or 1) for number in slices)
    beyond = volume.grid.shape[0] + 1000  # frames that are no slice of this volume lie where no slice lies
    frames = []
    for number in range(1, image.NumberOfFrames + 1):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = slice_position(volume.grid, slices.get(number, beyond + number))
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    image.PerFrameFunctionalGroupsSequence = frames
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = image.PixelSpacing, image.SliceThickness
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    image.SharedFunctionalGroupsSequence = [shared]
    return (image,)


def _copy(common: Dataset) -> Dataset:
    """A data set with the same elements; the elements themselves are shared."""
    copy = Dataset()
    for element in common:
        copy.add(element)
    return copy


def device_uid(report: Report) -> str:
    """A UID of the software and weights that made the report."""
    made = report.provenance
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'nodulus/{made.software}/{made.weights_sha256}').int}"


def result_uid(report: Report, what: str) -> str:
    """A UID that follows from the report's content (not from when it was made) and from `what` it names.

    Source: DICOM PS3.5 B.2 (UIDs derived from UUIDs), RFC 9562 (UUID version 5).
    """
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'nodulus/{what}/{_content(report)}').int}"


def _content(report: Report) -> str:
    values = report.to_json()
    values["provenance"] = {**values["provenance"], "created": ""}
    del values["maps"]  # other files, which may be there or not
    return json.dumps(values, sort_keys=True)
