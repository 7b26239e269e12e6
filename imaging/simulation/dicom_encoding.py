"""Pixel values into DICOM pixel data, in each transfer syntax that there is an encoder for."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from imaging.errors import UsageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

#: Name -> UID of the syntaxes that can be written; JPEG 2000 takes images of at least 32 x 32.
TRANSFER_SYNTAXES: Final[dict[str, str]] = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big-endian": "1.2.840.10008.1.2.2",
    "rle": "1.2.840.10008.1.2.5",
    "jpeg-lossless": "1.2.840.10008.1.2.4.57",
    "jpeg-lossless-sv1": "1.2.840.10008.1.2.4.70",
    "jpeg-ls": "1.2.840.10008.1.2.4.80",
    "jpeg-2000": "1.2.840.10008.1.2.4.90",
}
_NATIVE = ("implicit", "explicit", "deflated", "big-endian")
_BY_GDCM = ("jpeg-lossless", "jpeg-lossless-sv1")


def set_pixels(dataset: Dataset, words: npt.NDArray[np.integer], syntax: str) -> None:
    """Put stored values into a data set whose image pixel module is complete, and set its transfer syntax.

    Args:
        dataset: with Rows, Columns, BitsAllocated ...; changed in place.
        words: (rows, columns) or (frames, rows, columns), of the dtype that BitsAllocated and PixelRepresentation say.
        syntax: a key of `TRANSFER_SYNTAXES`.

    Raises:
        UsageError: ``usage.option`` if the syntax is none that can be written.
    """
    if syntax not in TRANSFER_SYNTAXES:
        raise UsageError("usage.option", f"transfer syntax {syntax!r} is none of {', '.join(TRANSFER_SYNTAXES)}")
    _native(dataset, words, syntax if syntax in _NATIVE else "explicit")
    if syntax in _BY_GDCM:
        _compress_by_gdcm(dataset, syntax)
    elif syntax not in _NATIVE:
        uid = dataset.SOPInstanceUID
        plugin = {"rle": "pylibjpeg", "jpeg-ls": "pyjpegls", "jpeg-2000": "pylibjpeg"}[syntax]
        dataset.compress(TRANSFER_SYNTAXES[syntax], encoding_plugin=plugin, generate_instance_uid=False)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid


def _native(dataset: Dataset, words: npt.NDArray[np.integer], syntax: str) -> None:
    from pydicom.uid import UID

    data = words.astype(words.dtype.newbyteorder(">" if syntax == "big-endian" else "<")).tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW" if dataset.BitsAllocated > 8 else "OB"
    dataset.file_meta.TransferSyntaxUID = UID(TRANSFER_SYNTAXES[syntax])


def _compress_by_gdcm(dataset: Dataset, syntax: str) -> None:
    """JPEG lossless, which no encoder of pydicom's writes."""
    import gdcm
    from pydicom import dcmread

    kind = {
        "jpeg-lossless": gdcm.TransferSyntax.JPEGLosslessProcess14,
        "jpeg-lossless-sv1": gdcm.TransferSyntax.JPEGLosslessProcess14_1,
    }[syntax]
    with TemporaryDirectory() as folder:
        plain, packed = Path(folder) / "plain", Path(folder) / "packed"
        dataset.save_as(plain, enforce_file_format=True)
        reader: Any = gdcm.ImageReader()
        reader.SetFileName(str(plain))
        reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(kind))
        change.SetInput(reader.GetImage())
        if not change.Change():
            raise RuntimeError(f"GDCM could not write {syntax}")
        writer: Any = gdcm.ImageWriter()
        writer.SetFileName(str(packed))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.Write()
        result = dcmread(packed)
    dataset.PixelData = result.PixelData
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = result.file_meta.TransferSyntaxUID
