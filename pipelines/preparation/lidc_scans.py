"""LIDC-IDRI as downloaded, to one label a CT: a nodule of 3 mm or more by at least so many readers.

The readers' XML lies among the images, so the prepared folder gets links to the images alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from imaging.errors import ImagingError, InputError
from imaging.io import list_series
from imaging.provenance import file_sha256
from pipelines.allowed import READERS
from pipelines.preparation.collected import Collected, Dropped, Scan, Table
from pipelines.preparation.lidc_nodules import Nodule, Place, nodules_of
from pipelines.preparation.lidc_xml import Reading, read_reading
from pipelines.preparation.sentences import Kind, Margin, nodule_sentence
from pipelines.preparation.tcia import SeriesFolder, find_series

TRUTH_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "readers")
RATED = ("texture", "calcification", "margin", "lobulation", "spiculation", "malignancy")


def collect_lidc(
    root: Path,
    *,
    min_readers: int = 3,
    annotations: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Every CT of a download of LIDC-IDRI.

    Args:
        root: a folder above PATIENT/STUDY/SERIES with ``*.dcm`` and one ``*.xml``.
        min_readers: so many of four readers must have outlined one nodule for a scan to hold one.
        annotations: folder with the XML files, where they lie apart from the images.
        on_progress: called as (series looked at, series); may raise to cancel.

    Raises:
        InputError: ``collection.layout``.
        UsageError: ``usage.option``.
    """
    READERS.check("min_readers", min_readers)
    folders, dropped = find_series(root, collection="LIDC-IDRI")
    readings, tables, broken = _readings(annotations or root)
    dropped += broken
    scans: list[Scan] = []
    truth: list[tuple[str, Nodule]] = []
    for done, folder in enumerate(folders):
        if on_progress is not None:
            on_progress(done, len(folders))
        try:
            scan, nodules = _scan(folder, readings, min_readers)
        except (ValueError, KeyError) as error:
            dropped.append(Dropped(folder.seriesuid, str(error.args[0])))
        except ImagingError as error:
            dropped.append(Dropped(folder.seriesuid, f"{error.code}: {error.message}"))
        else:
            scans.append(scan)
            truth += [(folder.seriesuid, nodule) for nodule in nodules]
    return Collected(
        kind="lidc",
        rule=(
            f"1: at least {min_readers} of {READERS.most} readers outlined one and the same nodule of 3 mm or more; 0: "
            "no reader outlined any (nodules under 3 mm do not count); between the two nobody says"
        ),
        scans=tuple(scans),
        dropped=tuple(dropped),
        tables=tables,
        truth=_truth(truth, min_readers),
        notes=("the first 399 scans were rated for spiculation and lobulation on another scale than the rest",),
    )


def _readings(root: Path) -> tuple[dict[str, Reading | None], dict[str, str], list[Dropped]]:
    """Series UID -> its marks, None where two files of it differ; hashes of all files; those that cannot be read."""
    files = sorted(root.rglob("*.xml"))
    if not files:
        raise InputError(
            "collection.layout",
            "LIDC-IDRI is expected with the readers' *.xml beside the images, or in a folder named as --annotations",
            where=root,
        )
    readings: dict[str, Reading | None] = {}
    hashes, dropped = {}, []
    for file in files:
        name = str(file.relative_to(root))
        hashes[name] = file_sha256(file)
        try:
            reading = read_reading(file)
        except ValueError as error:
            dropped.append(Dropped(name, f"annotation cannot be read: {error}"))
            continue
        if reading is not None:
            known = readings.setdefault(reading.seriesuid, reading)
            readings[reading.seriesuid] = known if known == reading else None
    return readings, hashes, dropped


def _scan(folder: SeriesFolder, readings: dict[str, Reading | None], min_readers: int) -> tuple[Scan, Sequence[Nodule]]:
    """One series; a ValueError or KeyError says why it is left out."""
    if folder.modality != "CT":
        raise ValueError(f"not a CT: {folder.modality}")
    if folder.seriesuid not in readings:
        raise ValueError("no annotation of this series")
    reading = readings[folder.seriesuid]
    if reading is None:
        raise ValueError("two annotations of this series differ")
    info = next((i for i in list_series(folder.folder) if i.seriesuid == folder.seriesuid), None)
    if info is None or not info.usable:
        raise ValueError(f"{info.code}: {info.reason}" if info else "no such series in its folder")
    if reading.marks and info.slice_spacing_mm is None:
        raise ValueError("no distance between images")
    places = _places(folder.files)
    strange = {o.image for mark in reading.marks for o in mark.outlines} - set(places)
    if strange:
        raise ValueError(f"the annotation names images that are not there: {len(strange)}")
    nodules = nodules_of(reading.marks, places, spacing_mm=info.slice_spacing_mm or 0.0)
    return _labelled(folder, nodules, min_readers), nodules


def _labelled(folder: SeriesFolder, nodules: Sequence[Nodule], min_readers: int) -> Scan:
    outlined = [n for n in nodules if n.what == "nodule"]
    agreed = [n for n in outlined if n.readers >= min_readers]
    most = max((n.readers for n in outlined), default=0)
    label = 1 if agreed else None if outlined else 0
    why = f"{most} readers agree" if outlined else "no reader outlined a nodule"
    text = " ".join(_sentence(n) for n in agreed)
    return Scan(folder.seriesuid, folder.folder, folder.patient, label, why, text, files=folder.files)


def _sentence(nodule: Nodule) -> str:
    rated = nodule.ratings
    texture, spiculation = rated.get("texture", 3.0), rated.get("spiculation", 2.0)
    kind: Kind = "part-solid" if "texture" in rated and 2.0 < texture < 4.0 else ""
    kind = "solid" if texture >= 4.5 else "ground-glass" if texture <= 2.0 else kind
    even = rated.get("margin", 0.0) >= 4.5 and rated.get("lobulation", 5.0) <= 1.5
    margin: Margin = "spiculated" if spiculation >= 3.0 else "smooth" if spiculation <= 1.5 and even else ""
    calcified = rated.get("calcification", 6.0) < 5.5
    return nodule_sentence(size_mm=nodule.diameter_mm, kind=kind, margin=margin, calcified=calcified)


def _places(files: Sequence[Path]) -> dict[str, Place]:
    """SOP Instance UID -> where the image lies, by the standard's equation (PS3.3 C.7.6.2.1.1)."""
    import pydicom

    tags = ["SOPInstanceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]
    places = {}
    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags)
        if not all(header.get(tag) for tag in tags):
            continue
        along_row, along_column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = (float(v) for v in header.PixelSpacing)
        first = np.array(header.ImagePositionPatient, float)
        to_mm = np.stack([along_column * between_rows, along_row * between_columns, first], axis=1)
        places[str(header.SOPInstanceUID)] = Place(to_mm, between_rows * between_columns)
    return places


def _truth(nodules: Sequence[tuple[str, Nodule]], min_readers: int) -> dict[str, Table]:
    """LUNA16's columns first: what must be found, and what is neither right nor wrong to find."""

    def rows(wanted: bool) -> tuple[tuple[str, ...], ...]:
        return tuple(
            (uid, *_numbers(n), str(n.readers), n.what, *_ratings(n))
            for uid, n in nodules
            if (n.what == "nodule" and n.readers >= min_readers) == wanted
        )

    columns = (*TRUTH_COLUMNS, "what", *RATED)
    return {"annotations.csv": Table(columns, rows(True)), "excluded.csv": Table(columns, rows(False))}


def _numbers(nodule: Nodule) -> tuple[str, ...]:
    return tuple(f"{v:.2f}" for v in (*nodule.centre_mm, nodule.diameter_mm))


def _ratings(nodule: Nodule) -> tuple[str, ...]:
    return tuple(f"{nodule.ratings[name]:.2f}" if name in nodule.ratings else "" for name in RATED)
