"""A volume written as a valid CT series whose truth is known: what readers are tested with.

Each image is a complete CT Image (PS3.3 A.3). UIDs follow from the key and the place of the image, so the same call
writes the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.simulation.dicom_encoding import set_pixels

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Order = Literal["sorted", "reversed", "shuffled"]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


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


def write_series(
    volume: Volume,
    folder: str | Path,
    *,
    order: Order = "shuffled",
    options: SeriesOptions | None = None,
    rng: np.random.Generator | None = None,
    enhanced: bool = False,
) -> list[Path]:
    """Write a volume as a CT series.

    Args:
        volume: HU on any grid; a sheared one becomes the series of a tilted gantry.
        folder: made if need be.
        order: of file names and instance numbers against that of the slices.
        options: how.
        rng: for the order ``shuffled``; by default always the same.
        enhanced: write one enhanced multi-frame CT instead of one file a slice; `order` is that of its frames.

    Returns:
        The files, in the order of the volume's slices (one file if `enhanced`).

    Raises:
        UsageError: ``usage.option`` for an unknown transfer syntax.
    """
    options = SeriesOptions() if options is None else options
    numbers = instance_numbers(volume.grid.shape[0], order, rng)
    if enhanced:
        from imaging.simulation.dicom_enhanced import make_enhanced

        return save([make_enhanced(volume, options, numbers=numbers)], folder)
    return save(make_series(volume, options, numbers=numbers), folder)


def instance_numbers(count: int, order: Order, rng: np.random.Generator | None = None) -> list[int]:
    """The instance number (from 1) of each slice."""
    if order == "shuffled":
        rng = np.random.default_rng(0) if rng is None else rng
        return [int(number) + 1 for number in rng.permutation(count)]
    numbers = list(range(1, count + 1))
    return numbers[::-1] if order == "reversed" else numbers


def save(datasets: Sequence[Dataset], folder: str | Path, *, names: Sequence[str] | None = None) -> list[Path]:
    """Write data sets as files, by default named after their instance numbers, without an extension."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for position, dataset in enumerate(datasets):
        path = folder / (names[position] if names else f"IM{int(dataset.InstanceNumber):05d}")
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def make_series(
    volume: Volume, options: SeriesOptions | None = None, *, numbers: Sequence[int] | None = None
) -> list[Dataset]:
    """The images of a series as pydicom data sets, in the order of the volume's slices, ready to be saved or spoilt."""
    options = SeriesOptions() if options is None else options
    count = volume.grid.shape[0]
    numbers = list(range(1, count + 1)) if numbers is None else numbers
    return [_make_image(volume, options, place, numbers[place]) for place in range(count)]


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
    dataset.PatientName = "Phantom^Simulated"
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


def _make_image(volume: Volume, options: SeriesOptions, place: int, number: int) -> Dataset:
    grid = volume.grid
    instance_uid = uid(options.patient_id, options.study_key, options.key, str(place))
    dataset = start_dataset(options, CT_IMAGE, instance_uid)
    thickness = spacing_along_normal_mm(grid) if options.thickness_mm is None else options.thickness_mm
    dataset.SliceThickness = ds(thickness)
    dataset.KVP = "120"
    dataset.ConvolutionKernel = options.kernel
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [ds(value) for value in grid.to_mm((place, 0, 0))]
    dataset.ImageOrientationPatient = orientation(grid)
    dataset.PixelSpacing = [ds(value) for value in grid.spacing_mm[1:]]
    set_pixel_module(dataset, grid, options)
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = ds(options.intercept), ds(options.slope), "HU"
    for keyword, value in options.attributes.items():
        setattr(dataset, keyword, value)
    set_pixels(dataset, stored_values(volume.array[place], options), options.transfer_syntax)
    return dataset
