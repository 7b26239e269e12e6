"""What every simulated DICOM image has: how it is written, its UIDs and numbers, and the modules that all share.

`dicom_series` makes one file a slice of it, `dicom_enhanced` one file of all slices.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class SeriesOptions:
    """How a series is written.

    Args:
        transfer_syntax: a key of `imaging.simulation.dicom_encoding.TRANSFER_SYNTAXES`.
        key: what the study's, series' and images' UIDs are made from; another key makes another series.
        study_key, frame_key: the same for study and frame of reference; by default those of ``"study"``.
        slope, intercept: of the rescale; HU are rounded to whole stored values.
        bits_stored: of 16 allocated.
        signed: whether stored values are.
        patient_id, description, kernel, thickness_mm, series_number: as in the header; thickness None is the spacing.
        image_type: ImageType.
        attributes: further attributes by keyword, the same for each image, overriding all others.
    """

    transfer_syntax: str = "explicit"
    key: str = "series"
    study_key: str = "study"
    frame_key: str = "study"
    slope: float = 1.0
    intercept: float = -1024.0
    bits_stored: int = 16
    signed: bool = True
    patient_id: str = "PHANTOM-1"
    description: str = "Simulated chest"
    kernel: str = "SIMULATED"
    thickness_mm: float | None = None
    series_number: int = 1
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL")
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> np.dtype[Any]:
        """The dtype of stored values."""
        return np.dtype("i2" if self.signed else "u2")


def uid(*parts: str) -> str:
    """A UID that follows from its parts (PS3.5 B.2: 2.25 and a 128-bit number)."""
    return f"2.25.{int.from_bytes(hashlib.sha256('|'.join(parts).encode()).digest()[:16], 'big')}"


def ds(value: float) -> str:
    """A number as a decimal string of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)


def orientation(grid: Grid) -> list[str]:
    """ImageOrientationPatient of a grid's slices."""
    return [ds(value) for value in (*grid.direction[:, 2], *grid.direction[:, 1])]


def stored_values(array: npt.NDArray[np.float32], options: SeriesOptions) -> npt.NDArray[np.integer]:
    """HU as stored values, rounded and held within the stored bits."""
    half = 1 << (options.bits_stored - 1)
    low, high = (-half, half - 1) if options.signed else (0, 2 * half - 1)
    values = np.rint((array.astype(np.float64) - options.intercept) / options.slope)
    return np.clip(values, low, high).astype(options.word)


def start_dataset(options: SeriesOptions, sop_class: str, instance_uid: str) -> Dataset:
    """A data set with the modules of patient, study, series, frame of reference, equipment and SOP common."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID(instance_uid)
    dataset.file_meta.ImplementationClassUID = UID(uid("nodulus", "simulation"))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = list(options.image_type)
    dataset.StudyDate = dataset.ContentDate = dataset.AcquisitionDate = "20260101"
    dataset.StudyTime = dataset.ContentTime = dataset.AcquisitionTime = "120000"
    dataset.AccessionNumber = ""
    dataset.Modality = "CT"
    dataset.Manufacturer = "nodulus simulation"
    dataset.ReferringPhysicianName = ""
    dataset.SeriesDescription = options.description
    dataset.PatientName = "Phantom^Thorax"
    dataset.PatientID = options.patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.StudyInstanceUID = uid(options.patient_id, options.study_key)
    dataset.SeriesInstanceUID = uid(options.patient_id, options.study_key, options.key)
    dataset.StudyID = "1"
    dataset.SeriesNumber = options.series_number
    dataset.FrameOfReferenceUID = uid(options.patient_id, options.frame_key, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    return dataset


def set_pixel_module(dataset: Dataset, grid: Grid, options: SeriesOptions) -> None:
    """The image pixel module, without the pixels."""
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = grid.shape[1:]
    dataset.BitsAllocated = 16
    dataset.BitsStored = options.bits_stored
    dataset.HighBit = options.bits_stored - 1
    dataset.PixelRepresentation = int(options.signed)


def spacing_along_normal_mm(grid: Grid) -> float:
    """Distance between the planes of two slices, in mm; less than the step of a sheared grid."""
    normal = np.cross(grid.direction[:, 2], grid.direction[:, 1])
    return float(abs(grid.affine[:3, 0] @ normal / np.linalg.norm(normal)))
