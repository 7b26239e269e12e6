"""What counts as a case: one study of one patient, found in a folder by a stated rule."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from imaging.errors import ImagingError, InputError, UsageError
from imaging.io import SeriesInfo, list_series
from pipelines.result_folder import without_results

#: The rule in words, for docs/cli.md.
RULE: Final = (
    "each zip, NIfTI, MetaImage or NRRD file and each subfolder directly in the input folder is a case named after it; "
    "DICOM files directly in the input folder are cases too; where one of these holds several studies, each study with "
    "a CT is a case of its own, its name followed by the first eight digits of the hash of its study UID"
)

#: The tables over all cases; no case folder may have such a name.
TABLES: Final = ("findings.csv", "failures.csv", "cases.csv")

#: Files that are a case by themselves.
CASE_SUFFIXES: Final = (".zip", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")


@dataclass(frozen=True)
class Case:
    """One unit of a batch.

    Args:
        name: of the result folder; unique within the batch.
        path: what to read.
        study: the study to look at, where `path` holds several.
        voxels: of its largest series, to estimate memory; 0 if unknown.
        refusal: the error that listing its series ended with, as plain values; the case is then not analysed.
    """

    name: str
    path: Path
    study: str | None = None
    voxels: int = 0
    refusal: dict[str, Any] | None = None


def discover(folder: Path, *, on_progress: Callable[[int, int], None] | None = None) -> list[Case]:
    """The cases of a folder by `RULE`, in the order of their names.

    Raises:
        InputError: ``input.missing`` if there is no such folder.
        UsageError: ``batch.no_cases`` if it holds none.
    """
    if not folder.is_dir():
        raise InputError("input.missing", "there is no such folder", where=folder)
    children = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    units = [path for path in children if path.is_dir() or path.name.lower().endswith(CASE_SUFFIXES)]
    loose = [path for path in children if path not in units and _is_dicom(path)]
    stems = Counter(_stem(path) for path in units)
    cases: list[Case] = []
    for done, unit in enumerate(units):
        if on_progress:
            on_progress(done, len(units) + bool(loose))
        cases += _cases_of(unit, _stem(unit) if stems[_stem(unit)] == 1 else unit.name)
    if loose:
        cases += _loose_cases(folder, set(loose))
    if not cases:
        raise UsageError("batch.no_cases", f"no zip, volume file, subfolder or DICOM file in it ({RULE})", where=folder)
    return _with_unique_names(cases)


def _cases_of(path: Path, name: str) -> list[Case]:
    """One case for each study with a CT; one for the whole where there is no choice to make."""
    try:
        infos = without_results(path, list_series(path))
    except ImagingError as error:
        return [Case(name, path, refusal=error.to_json())]
    studies = _studies(infos)
    if len(studies) <= 1:
        return [Case(name, path, voxels=_voxels(infos))]
    return [_study_case(name, path, study, infos) for study in studies]


def _loose_cases(folder: Path, loose: set[Path]) -> list[Case]:
    inside = {path.name for path in loose} | {str(path) for path in loose}
    infos = [info for info in list_series(folder) if set(info.files) <= inside]
    studies = _studies(infos) or [""]
    return [_study_case(folder.resolve().name, folder, study, infos) for study in studies]


def _studies(infos: Sequence[SeriesInfo]) -> list[str]:
    scans = [info for info in infos if info.usable or info.modality == "CT"]
    return list(dict.fromkeys(info.study_instance_uid or "" for info in scans))


def _study_case(name: str, path: Path, study: str, infos: Iterable[SeriesInfo]) -> Case:
    own = [info for info in infos if (info.study_instance_uid or "") == study]
    short = hashlib.sha256(study.encode()).hexdigest()[:8]
    return Case(f"{name}-{short}", path, study=study or None, voxels=_voxels(own))


def _voxels(infos: Iterable[SeriesInfo]) -> int:
    return max((_voxels_of(info) for info in infos if info.usable), default=0)


def _voxels_of(info: SeriesInfo) -> int:
    slices = round(info.extent_mm / info.slice_spacing_mm) if info.extent_mm and info.slice_spacing_mm else 0
    return (info.rows or 0) * (info.columns or 0) * max(slices, info.instances)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in sorted(CASE_SUFFIXES, key=len, reverse=True):
        if not path.is_dir() and name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return name


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM" or path.suffix.lower() == ".dcm"


def _with_unique_names(cases: Sequence[Case]) -> list[Case]:
    """Names that are safe as folders; equal ones get the hash of their path."""
    from dataclasses import replace

    safe = [replace(case, name=_safe(case.name)) for case in cases]
    counts = Counter(case.name for case in safe)
    unique = []
    for case in safe:
        own = hashlib.sha256(os.fsencode(f"{case.path.name}\0{case.study}")).hexdigest()[:8]
        unique.append(case if counts[case.name] == 1 else replace(case, name=f"{case.name}-{own}"))
    return unique


def _safe(name: str) -> str:
    name = re.sub(r"[^\w.+=@-]+", "_", name).strip("._-")[:120] or "case"
    return f"{name}-case" if name in TABLES else name
