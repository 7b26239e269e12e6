"""A volume written as a valid CT series whose truth is known: what readers are tested with.

Each image is a complete CT Image (PS3.3 A.3). UIDs follow from the key and the place of the image, so the same call
writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from imaging.geometry.volume import Volume
from imaging.simulation.dicom_encoding import set_pixels
from imaging.simulation.dicom_enhanced import make_enhanced
from imaging.simulation.dicom_modules import (
    SeriesOptions,
    ds,
    orientation,
    set_pixel_module,
    spacing_along_normal_mm,
    start_dataset,
    stored_values,
    uid,
)

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Order = Literal["sorted", "reversed", "shuffled"]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"


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
