"""A volume written as one enhanced multi-frame CT.

Source: DICOM PS3.3 A.38.1 (enhanced CT image) and C.7.6.16 (functional groups).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.geometry.volume import Volume
from imaging.simulation.dicom_encoding import set_pixels
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

ENHANCED_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2.1"

_WHEN = "20260101120000"


def make_enhanced(
    volume: Volume,
    options: SeriesOptions,
    *,
    numbers: Sequence[int],
    rescales: Sequence[tuple[float, float]] | None = None,
) -> Dataset:
    """One enhanced CT with a frame for each slice.

    Args:
        volume: HU on any grid.
        options: how; `options.attributes` override what is outside of the functional groups.
        numbers: the place (from 1) of each slice among the frames, so that frames can be shuffled.
        rescales: slope and intercept of each slice; by default those of `options`, shared by all.
    """
    instance_uid = uid(options.patient_id, options.study_key, options.key, "enhanced")
    dataset = start_dataset(options, ENHANCED_CT_IMAGE, instance_uid)
    _set_image_modules(dataset, options)
    set_pixel_module(dataset, volume.grid, options)
    slices = np.argsort(np.asarray(numbers)).tolist()
    dataset.NumberOfFrames = len(slices)
    dataset.SharedFunctionalGroupsSequence = [_shared(volume, options, with_rescale=rescales is None)]
    frames, words = [], []
    for frame, place in enumerate(slices):
        pair = None if rescales is None else rescales[place]
        frames.append(_frame(volume, place, frame, pair))
        own = options if pair is None else SeriesOptions(**{**vars(options), "slope": pair[0], "intercept": pair[1]})
        words.append(stored_values(volume.array[place], own))
    dataset.PerFrameFunctionalGroupsSequence = frames
    for keyword, value in options.attributes.items():
        setattr(dataset, keyword, value)
    set_pixels(dataset, np.stack(words), options.transfer_syntax)
    return dataset


def _item(**attributes: Any) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item


def _set_image_modules(dataset: Dataset, options: SeriesOptions) -> None:
    """The modules of an enhanced CT besides those of `start_dataset`: equipment, dimensions, acquisition context."""
    dataset.ImageType = [*options.image_type[:2], "VOLUME", "NONE"]
    dataset.PixelPresentation = "MONOCHROME"
    dataset.VolumetricProperties = "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.InstanceNumber = 1
    dataset.AcquisitionNumber = 1
    dataset.AcquisitionDateTime = _WHEN
    dataset.AcquisitionDuration = 1.0
    dataset.ContentQualification = "RESEARCH"
    dataset.ManufacturerModelName = "simulation"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.AcquisitionContextSequence = []
    dimension = uid("nodulus", "dimension")
    dataset.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=dimension)]
    dataset.DimensionIndexSequence = [
        _item(
            DimensionOrganizationUID=dimension,
            DimensionIndexPointer=0x00209057,
            FunctionalGroupPointer=0x00209111,
            DimensionDescriptionLabel="In-Stack Position Number",
        )
    ]
    for keyword in ("AcquisitionDate", "AcquisitionTime"):
        del dataset[keyword]


def _shared(volume: Volume, options: SeriesOptions, *, with_rescale: bool) -> Dataset:
    grid = volume.grid
    thickness = spacing_along_normal_mm(grid) if options.thickness_mm is None else options.thickness_mm
    groups = _item(
        PixelMeasuresSequence=[
            _item(PixelSpacing=[ds(value) for value in grid.spacing_mm[1:]], SliceThickness=ds(thickness))
        ],
        PlaneOrientationSequence=[_item(ImageOrientationPatient=orientation(grid))],
        FrameAnatomySequence=[_frame_anatomy()],
        CTImageFrameTypeSequence=[_frame_type(options)],
        CTAcquisitionTypeSequence=[_item(AcquisitionType="SPIRAL", ConstantVolumeFlag="NO", FluoroscopyFlag="NO")],
        IrradiationEventIdentificationSequence=[
            _item(IrradiationEventUID=uid(options.patient_id, options.key, "event"))
        ],
        CTAcquisitionDetailsSequence=[_acquisition_details()],
        CTTableDynamicsSequence=[_item(TableSpeed=1.0, TableFeedPerRotation=1.0, SpiralPitchFactor=1.0)],
        CTGeometrySequence=[_item(DistanceSourceToDetector="1000", DistanceSourceToDataCollectionCenter=500.0)],
        CTReconstructionSequence=[_reconstruction(options)],
        CTExposureSequence=[_exposure()],
        CTXRayDetailsSequence=[_item(KVP="120", FocalSpots=["1.0"], FilterType="NONE", FilterMaterial="NONE")],
    )
    if with_rescale:
        groups.PixelValueTransformationSequence = [_rescale(options.slope, options.intercept)]
    return groups


def _frame_anatomy() -> Dataset:
    region = _item(CodeValue="816094009", CodingSchemeDesignator="SCT", CodeMeaning="Chest")
    return _item(FrameLaterality="U", AnatomicRegionSequence=[region])


def _frame_type(options: SeriesOptions) -> Dataset:
    return _item(
        FrameType=[*options.image_type[:2], "VOLUME", "NONE"],
        PixelPresentation="MONOCHROME",
        VolumetricProperties="VOLUME",
        VolumeBasedCalculationTechnique="NONE",
    )


def _acquisition_details() -> Dataset:
    return _item(
        RotationDirection="CW",
        RevolutionTime=0.5,
        SingleCollimationWidth=0.6,
        TotalCollimationWidth=38.4,
        TableHeight="0",
        GantryDetectorTilt="0",
        DataCollectionDiameter="500",
    )


def _reconstruction(options: SeriesOptions) -> Dataset:
    return _item(
        ReconstructionAlgorithm="FILTER_BACK_PROJ",
        ConvolutionKernel=options.kernel,
        ConvolutionKernelGroup="LUNG",
        ReconstructionDiameter="400",
        ReconstructionPixelSpacing=[1.0, 1.0],
        ReconstructionAngle=360.0,
        ImageFilter="NONE",
    )


def _exposure() -> Dataset:
    phantom = _item(CodeValue="113691", CodingSchemeDesignator="DCM", CodeMeaning="IEC Body Dosimetry Phantom")
    return _item(
        ExposureTimeInms=500.0,
        XRayTubeCurrentInmA=100.0,
        ExposureInmAs=50.0,
        ExposureModulationType="NONE",
        CTDIvol=5.0,
        CTDIPhantomTypeCodeSequence=[phantom],
    )


def _rescale(slope: float, intercept: float) -> Dataset:
    return _item(RescaleSlope=ds(slope), RescaleIntercept=ds(intercept), RescaleType="HU")


def _position(volume: Volume, place: int) -> Dataset:
    centre = volume.grid.to_mm((place, (volume.grid.shape[1] - 1) / 2, (volume.grid.shape[2] - 1) / 2)).tolist()
    return _item(
        TablePosition=float(centre[2]),
        ReconstructionTargetCenterPatient=centre,
        DataCollectionCenterPatient=centre,
    )


def _frame(volume: Volume, place: int, frame: int, rescale: tuple[float, float] | None) -> Dataset:
    item = _item(
        FrameContentSequence=[
            _item(
                FrameAcquisitionNumber=1,
                FrameReferenceDateTime=_WHEN,
                FrameAcquisitionDateTime=_WHEN,
                FrameAcquisitionDuration=1.0,
                StackID="1",
                InStackPositionNumber=place + 1,
                DimensionIndexValues=[place + 1],
            )
        ],
        PlanePositionSequence=[_item(ImagePositionPatient=[ds(v) for v in volume.grid.to_mm((place, 0, 0))])],
    )
    item.CTPositionSequence = [_position(volume, place)]
    if rescale is not None:
        item.PixelValueTransformationSequence = [_rescale(*rescale)]
    return item
