"""The transfer syntaxes that need no decoder, and the attributes that are read of each header."""

from __future__ import annotations

from typing import Any

IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
EXPLICIT_BIG, DEFLATED = "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"
NATIVE_SYNTAXES = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE, EXPLICIT_BIG, DEFLATED})

#: JPEG baseline and extended: no image in them is as it was reconstructed.
LOSSY_SYNTAXES = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})

#: Where pixel data can be.
PIXEL_TAGS = {0x7FE00010: "PixelData", 0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData"}

#: The attributes of text that are read, by tag.
TEXT_TAGS = {
    0x00080008: "ImageType",
    0x00080016: "SOPClassUID",
    0x00080018: "SOPInstanceUID",
    0x00080020: "StudyDate",
    0x00080022: "AcquisitionDate",
    0x0008002A: "AcquisitionDateTime",
    0x00080032: "AcquisitionTime",
    0x00080060: "Modality",
    0x00080070: "Manufacturer",
    0x0008103E: "SeriesDescription",
    0x00100010: "PatientName",  # to keep it out of descriptions, see imaging.io.identifiers
    0x00100020: "PatientID",
    0x00100021: "IssuerOfPatientID",
    0x00180010: "ContrastBolusAgent",
    0x00180050: "SliceThickness",
    0x00180060: "KVP",
    0x00181060: "TriggerTime",
    0x00181100: "ReconstructionDiameter",
    0x00181210: "ConvolutionKernel",
    0x0020000D: "StudyInstanceUID",
    0x0020000E: "SeriesInstanceUID",
    0x00200012: "AcquisitionNumber",
    0x00200013: "InstanceNumber",
    0x00200032: "ImagePositionPatient",
    0x00200037: "ImageOrientationPatient",
    0x00200052: "FrameOfReferenceUID",
    0x00200100: "TemporalPositionIdentifier",
    0x00204000: "ImageComments",
    0x00280004: "PhotometricInterpretation",
    0x00280008: "NumberOfFrames",
    0x00280030: "PixelSpacing",
    0x00281052: "RescaleIntercept",
    0x00281053: "RescaleSlope",
    0x00281054: "RescaleType",
    0x00282110: "LossyImageCompression",
}
#: The attributes of 16-bit numbers that are read; signed ones are taken as the bits they are.
NUMBER_TAGS = {
    0x00280002: "SamplesPerPixel",
    0x00280010: "Rows",
    0x00280011: "Columns",
    0x00280100: "BitsAllocated",
    0x00280101: "BitsStored",
    0x00280102: "HighBit",
    0x00280103: "PixelRepresentation",
    0x00280120: "PixelPaddingValue",
    0x00280121: "PixelPaddingRangeLimit",
}
#: The attributes of 32-bit floating point numbers that are read.
FLOAT_TAGS = {0x00209241: "NominalPercentageOfCardiacPhase"}
MODALITY_LUT, SHARED_GROUPS, FRAME_GROUPS = 0x00283000, 0x52009229, 0x52009230
#: All of them, as pydicom wants to be told.
WANTED_TAGS: list[Any] = [*TEXT_TAGS, *NUMBER_TAGS, *FLOAT_TAGS, MODALITY_LUT, SHARED_GROUPS, FRAME_GROUPS]
