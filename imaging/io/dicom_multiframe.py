"""The frames of an enhanced CT: what its functional groups say, as the same slices an ordinary series has.

Source: DICOM PS3.3 C.7.6.16 (multi-frame functional groups) and A.38.1 (enhanced CT image).
"""

from __future__ import annotations

import warnings
from typing import Any

from imaging.errors import InputError
from imaging.io.dicom_slices import DicomFile, Slice
from imaging.io.dicom_tags import FRAME_GROUPS, SHARED_GROUPS

#: Functional group -> the attributes taken from it, each under the keyword that single-frame images use.
GROUPS: dict[str, dict[str, str]] = {
    "PixelMeasuresSequence": {"PixelSpacing": "PixelSpacing", "SliceThickness": "SliceThickness"},
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelValueTransformationSequence": {
        "RescaleIntercept": "RescaleIntercept",
        "RescaleSlope": "RescaleSlope",
        "RescaleType": "RescaleType",
    },
    "FrameContentSequence": {
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "FrameAcquisitionDateTime": "AcquisitionDateTime",
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "StackID": "StackID",
    },
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "CTReconstructionSequence": {"ConvolutionKernel": "ConvolutionKernel"},
    "CTXRayDetailsSequence": {"KVP": "KVP"},
    "CardiacSynchronizationSequence": {"NominalPercentageOfCardiacPhase": "NominalPercentageOfCardiacPhase"},
    "TemporalPositionSequence": {"TemporalPositionTimeOffset": "TemporalPositionIdentifier"},
    "UnassignedSharedConvertedAttributesSequence": {"ConvolutionKernel": "ConvolutionKernel"},
    "UnassignedPerFrameConvertedAttributesSequence": {
        "AcquisitionNumber": "AcquisitionNumber",
        "AcquisitionTime": "AcquisitionTime",
        "InstanceNumber": "InstanceNumber",
    },
}

#: Groups that place or scale a frame: with two items nobody knows which one counts.
ONE_ITEM = frozenset(list(GROUPS)[:4])


def frame_slices(file: DicomFile, dataset: Any) -> tuple[Slice, ...]:
    """One `Slice` for each frame, in the order of the frames.

    Args:
        file: the file with the attributes outside of the functional groups.
        dataset: its pydicom data set with the shared and per-frame functional groups.

    Raises:
        InputError: ``dicom.value`` if the groups and NumberOfFrames disagree, ``dicom.damaged`` if they are malformed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            shared = [_flat(item, file.name) for item in _items(dataset, SHARED_GROUPS)]
            frames = [_flat(item, file.name) for item in _items(dataset, FRAME_GROUPS)]
        except InputError:
            raise
        except Exception as error:  # whatever pydicom meets in malformed sequences
            raise InputError(
                "dicom.damaged",
                f"the functional groups cannot be parsed ({type(error).__name__}: {error})",
                where=file.name,
            ) from error
    count = Slice(file, file.tags).whole("NumberOfFrames")
    if count != len(frames) or count < 1:
        raise InputError(
            "dicom.value",
            f"NumberOfFrames is {count}, but PerFrameFunctionalGroupsSequence describes {len(frames)} frame(s)",
            where=file.name,
        )
    common = dict(file.tags) | (shared[0] if shared else {})
    return tuple(Slice(file, common | frame, number, number + 1) for number, frame in enumerate(frames))


def _items(dataset: Any, tag: int) -> list[Any]:
    return list(dataset[tag].value or ()) if tag in dataset else []


def _flat(item: Any, where: str) -> dict[str, str]:
    """The attributes of one item of functional groups, as text."""
    tags: dict[str, str] = {}
    for group, wanted in GROUPS.items():
        macros = list(item.get(group) or ())
        if len(macros) > 1 and group in ONE_ITEM:
            raise InputError("dicom.value", f"{group} has {len(macros)} items where one is due", where=where)
        for macro in macros[:1]:
            for keyword, name in wanted.items():
                value = macro.get(keyword)
                if value is not None and (text := _text(value)):
                    tags[name] = text
    return tags


def _text(value: Any) -> str:
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return str(value).strip()
    return "\\".join(str(part).strip() for part in value)
