"""What is known about a series before its pixels are read: one line of a listing."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from imaging.errors import Notice


@dataclass(frozen=True)
class SeriesInfo:
    """One volume that a path holds, or holds in vain.

    Args:
        seriesuid: Series Instance UID; ``sha256:`` and the content hash for other files; empty if it is not known.
        format: ``dicom``, ``nifti``, ``metaimage`` or ``nrrd``.
        usable: whether `imaging.read_volume` reads it (unless its pixels turn out to be damaged).
        code, reason: why it is not usable.
        modality, description, study_instance_uid, study_date: as the header says.
        patient_key: a hash of PatientID and IssuerOfPatientID, never the ID itself; empty for files without them.
        instances: number of images (or other objects) of the series, those left out included.
        rows, columns: size of an image.
        slice_spacing_mm: distance between slices along their normal.
        slice_thickness_mm: what the header claims.
        pixel_spacing_mm: distance between rows, between columns.
        convolution_kernel: of the reconstruction.
        extent_mm: length of the stack along the normal, half a slice at both ends included.
        files: names within the source.
        notices: repairs, drops and doubts that the headers show.
        group: empty, or what separates this volume from others with the same series UID.
    """

    seriesuid: str
    format: str
    usable: bool
    code: str | None = None
    reason: str | None = None
    modality: str | None = None
    description: str | None = None
    study_instance_uid: str | None = None
    study_date: str | None = None
    patient_key: str = ""
    instances: int = 1
    rows: int | None = None
    columns: int | None = None
    slice_spacing_mm: float | None = None
    slice_thickness_mm: float | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    convolution_kernel: str | None = None
    extent_mm: float | None = None
    files: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    group: str = ""

    @property
    def name(self) -> str:
        """What `series=` takes: the series UID, with ``#`` and the group if there are several."""
        return f"{self.seriesuid}#{self.group}" if self.group else self.seriesuid

    def to_json(self) -> dict[str, Any]:
        """The line as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["files"] = list(self.files)
        values["notices"] = [notice.to_json() for notice in self.notices]
        values["pixel_spacing_mm"] = None if self.pixel_spacing_mm is None else list(self.pixel_spacing_mm)
        return values
