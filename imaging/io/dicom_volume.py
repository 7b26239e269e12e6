"""A placed stack of slices becomes a `Volume`: pixels read once, copies compared, every repair told."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.geometry.volume import Instance, Origin, Volume
from imaging.io.dicom_frames import read_frames
from imaging.io.dicom_geometry import Stack, conflict
from imaging.io.dicom_pixels import PixelLayout, SliceFacts, Stored, scale, to_hu
from imaging.io.dicom_slices import DicomFile, Slice
from imaging.io.dicom_stream import open_dataset
from imaging.io.dicom_tags import EXPLICIT_BIG, IMPLICIT_LITTLE
from imaging.io.dicom_uneven import Filling
from imaging.io.plausible import doubt_about_range
from imaging.io.series_info import SeriesInfo

#: The attributes of patient, study, series, frame of reference and equipment that derived DICOM objects copy.
HEADER_KEYWORDS = (
    *("SpecificCharacterSet", "TimezoneOffsetFromUTC"),
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize"),
    *("PatientWeight", "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod"),
    "DeidentificationMethodCodeSequence",
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "ClinicalTrialSubjectID", "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("ReferringPhysicianName", "IssuerOfAccessionNumberSequence"),
    *("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined", "Laterality"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "Manufacturer", "ManufacturerModelName", "SOPClassUID"),
)


def read_stack(
    stack: Stack,
    info: SeriesInfo,
    *,
    filling: Filling | None = None,
    numbers: Mapping[Slice, int] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Volume:
    """Read all pixels of a stack.

    Args:
        stack: from `imaging.io.dicom_geometry.place`, its files checked by `dicom_pixels.check_file`.
        info: the series' line of the listing.
        filling: how the planes of the stack's grid come from its slices, if not one from one.
        numbers: what readers call the images, see `imaging.io.dicom_numbers`.
        on_progress: called as (slices read, slices).

    Raises:
        InputError: ``input.too_large``, ``dicom.damaged``, ``dicom.pixel_format``; ``geometry.conflict`` if copies
            differ.
    """
    first = stack.slices[0]
    first.file.entry.limits.check_voxels(*stack.grid.shape, where=first.name)
    array = np.empty((len(stack.slices), *stack.grid.shape[1:]), dtype=np.float32)
    facts: list[SliceFacts | None] = [None] * len(stack.slices)

    def keep(number: int, stored: Stored, form: PixelLayout) -> None:
        facts[number] = to_hu(stored, stack.slices[number], form, array[number])

    read_frames(stack.slices, keep, on_progress=on_progress)
    _compare_copies(stack, array)
    told = [fact for fact in facts if fact is not None]
    origin = _origin(stack, info, _content_sha256(stack, told), numbers or {})
    return Volume(
        array=array if filling is None else filling.apply(array),
        grid=stack.grid,
        warnings=info.notices + _pixel_notices(stack, told),
        # Planes in between have no instance, so results cannot refer to instances plane by plane.
        origin=origin if filling is None else replace(origin, instances=()),
        is_hu=scale(first).doubt is None,
    )


def _compare_copies(stack: Stack, array: npt.NDArray[np.float32]) -> None:
    """Refuse images at one place that are not the same."""
    pairs = [(plane, other) for plane, others in stack.copies.items() for other in others]

    def compare(number: int, stored: Stored, form: PixelLayout) -> None:
        plane, other = pairs[number]
        values = np.empty(array.shape[1:], dtype=np.float32)
        to_hu(stored, other, form, values)
        if not np.array_equal(values, array[plane]):
            raise conflict(stack.slices[plane], other, "at one place have different pixels")

    if pairs:
        read_frames([other for _, other in pairs], compare)


def _content_sha256(stack: Stack, facts: list[SliceFacts]) -> str:
    """Hash of what the volume was made from: each slice's stored values, scale and instance, and the grid."""
    digest = hashlib.sha256()
    for one, fact in zip(stack.slices, facts, strict=True):
        line = (one.get("SOPInstanceUID"), str(one.frame), one.get("RescaleSlope"), one.get("RescaleIntercept"))
        digest.update("|".join(line).encode() + fact.sha256)
    digest.update(np.round(stack.grid.affine, 9).tobytes())
    return digest.hexdigest()


def _pixel_notices(stack: Stack, facts: list[SliceFacts]) -> tuple[Notice, ...]:
    notices = []
    first = stack.slices[0]
    value = "..".join(filter(None, (first.get("PixelPaddingValue"), first.get("PixelPaddingRangeLimit"))))
    for code, name, what in (
        ("pixels.padding", "padded", f"hold PixelPaddingValue {value} and were set to -1024 HU"),
        ("pixels.padding_kept", "kept", f"hold PixelPaddingValue {value}, which means tissue; they were kept"),
        ("pixels.bits_repaired", "repaired", "had bits outside of BitsStored, which were ignored or sign-extended"),
    ):
        voxels = sum(getattr(fact, name) for fact in facts)
        slices = sum(getattr(fact, name) > 0 for fact in facts)
        if voxels:
            notices.append(Notice(code, f"{voxels:,} voxels in {slices} slices {what}"))
    doubt = doubt_about_range(min(fact.lowest_hu for fact in facts), max(fact.highest_hu for fact in facts))[1]
    if doubt is not None and scale(first).doubt is None:
        notices.append(Notice("pixels.hu_doubtful", f"{doubt}, although the header says that they are HU"))
    return tuple(notices)


def _origin(stack: Stack, info: SeriesInfo, digest: str, numbers: Mapping[Slice, int]) -> Origin:
    first = stack.slices[0]
    instances = tuple(
        Instance(one.get("SOPClassUID"), one.get("SOPInstanceUID"), one.frame_number, numbers.get(one))
        for one in stack.slices
    )
    return Origin(
        seriesuid=info.seriesuid,
        format="dicom",
        content_sha256=digest,
        study_instance_uid=info.study_instance_uid,
        study_date=info.study_date,
        modality=info.modality,
        series_description=info.description,
        manufacturer=first.get("Manufacturer") or None,
        convolution_kernel=info.convolution_kernel,
        slice_thickness_mm=info.slice_thickness_mm,
        instances=instances,
        header=read_copied_header(first),
    )


def read_copied_header(one: Slice) -> Any:
    """The attributes that derived objects copy, as a pydicom data set; those that cannot be parsed are left out."""
    from pydicom.dataset import Dataset

    whole = _whole_header(one.file)
    header = Dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword in HEADER_KEYWORDS:
            try:
                if keyword in whole:
                    header.add(whole[keyword])
            except Exception:  # pydicom raises what the bytes provoke; one attribute is no reason to lose the others
                continue
    return header


def _whole_header(file: DicomFile) -> Any:
    from pydicom.filereader import read_dataset

    with closing(open_dataset(file.entry, file.dataset_at, file.transfer_syntax)) as stream:
        data = stream.read(file.pixels_at or 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_dataset(
            BytesIO(data),
            file.transfer_syntax == IMPLICIT_LITTLE,
            file.transfer_syntax != EXPLICIT_BIG,
            stop_when=lambda tag, vr, length: tag >> 16 >= 0x7FE0,
        )
