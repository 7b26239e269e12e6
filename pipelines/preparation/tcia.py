"""Folders as The Cancer Imaging Archive's downloader leaves them: PATIENT / STUDY / SERIES / files.

Above the patients may lie folders of the collection and of the download. A patient's folder is called after PatientID;
those of study and series are called by date and description or by UID, so only the header says which is which.

Source: https://wiki.cancerimagingarchive.net/display/NBIA/Downloading+Images+Using+the+NBIA+Data+Retriever
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imaging.errors import InputError
from pipelines.preparation.collected import Dropped

EXPECTED = "PATIENT/STUDY/SERIES/*.dcm, the patient's folder called after PatientID"


@dataclass(frozen=True)
class SeriesFolder:
    """One folder of images, and what the header of the first of them says."""

    folder: Path
    patient: str
    seriesuid: str
    modality: str
    study_date: str
    files: tuple[Path, ...]

    @property
    def study_folder(self) -> Path:
        """The folder of the whole study."""
        return self.folder.parent


def find_series(root: Path, *, collection: str) -> tuple[list[SeriesFolder], list[Dropped]]:
    """Every folder of DICOM files below `root` that is laid out as the archive's downloader leaves it, and the others.

    Raises:
        InputError: ``collection.layout`` if there is none.
    """
    found, dropped = [], []
    for folder, files in _folders(root):
        series = _look(folder, files)
        if isinstance(series, SeriesFolder):
            found.append(series)
        else:
            dropped.append(Dropped(str(folder.relative_to(root)), series))
    if not found:
        reasons = f"; found instead: {dropped[0].what} ({dropped[0].reason})" if dropped else ""
        raise InputError("collection.layout", f"{collection} is expected as {EXPECTED}{reasons}", where=root)
    return found, dropped


def _folders(root: Path) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    for name, below, names in os.walk(root):
        below.sort()
        files = tuple(Path(name) / n for n in sorted(names) if n.lower().endswith(".dcm"))
        if files:
            yield Path(name), files


def _look(folder: Path, files: tuple[Path, ...]) -> SeriesFolder | str:
    """The folder, or why it is not one of a series."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    tags = ["PatientID", "SeriesInstanceUID", "Modality", "StudyDate"]
    try:
        header = pydicom.dcmread(files[0], stop_before_pixels=True, specific_tags=tags)
    except (InvalidDicomError, OSError, ValueError) as error:
        return f"not DICOM: {error}"
    patient, uid, modality, date = (str(header.get(tag, "") or "") for tag in tags)
    if not re.fullmatch(r"[0-9.]{1,64}", uid):
        return "no series UID in the header"
    if folder.parent.parent.name != patient:
        return "the folder two above it is not called after PatientID"
    return SeriesFolder(folder, patient, uid, modality, date, files)
