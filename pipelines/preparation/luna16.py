"""LUNA16 as downloaded, to one label a scan: whether its reference standard has a nodule there.

Source: https://luna16.grand-challenge.org/Data/ (subset0 to subset9 with SERIESUID.mhd, annotations.csv,
candidates_V2.csv, and annotations_excluded.csv in the evaluation script's folder)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imaging.errors import ImagingError, InputError, Notice
from imaging.evaluation.tables import Annotations, read_annotations
from imaging.io import list_series
from imaging.provenance import file_sha256
from pipelines.preparation.collected import Collected, Dropped, Scan, Table, read_table
from pipelines.preparation.sentences import nodule_sentence

EXPECTED = "subset0 ... subset9 with SERIESUID.mhd and SERIESUID.raw, and annotations.csv beside them"
PLACE_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
CANDIDATE_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ", "class")
CANDIDATE_TABLES = ("candidates_V2.csv", "candidates.csv")
EXCLUDED_TABLE = "annotations_excluded.csv"


def collect_luna16(
    root: Path,
    *,
    val_subsets: Sequence[int] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """Every scan of the subsets that are there.

    Args:
        root: holds ``subset*`` and ``annotations.csv``; ``candidates_V2.csv`` (or ``candidates.csv``) and
            ``annotations_excluded.csv``, anywhere below, are used if they are there.
        val_subsets: whose scans validate; by default the split goes by a hash of the series.
        on_progress: called as (scans looked at, scans); may raise to cancel.

    Raises:
        InputError: ``collection.layout``, ``collection.table``, and what `read_annotations` refuses a table with.
    """
    volumes = _volumes(root)
    told: list[Notice] = []
    annotations = read_annotations(root / "annotations.csv", notices=told)
    found = {name: path for name in (*CANDIDATE_TABLES, EXCLUDED_TABLE) if (path := _anywhere(root, name))}
    excluded = read_annotations(found[EXCLUDED_TABLE], notices=told) if EXCLUDED_TABLE in found else None
    scans: list[Scan] = []
    dropped: list[Dropped] = []
    for done, path in enumerate(volumes):
        if on_progress is not None:
            on_progress(done, len(volumes))
        fault = _fault(path)
        if fault:
            dropped.append(Dropped(path.stem, fault))
        elif any(path.stem == scan.key for scan in scans):
            dropped.append(Dropped(path.stem, "the same series stands in another subset"))
        else:
            scans.append(_scan(path, annotations, excluded, val_subsets))
    return Collected(
        kind="luna16",
        rule=(
            "1: the reference standard (a nodule of 3 mm or more by 3 of 4 readers) has one here; 0: it has none and "
            "no one or two readers outlined one either; between the two nobody says"
        ),
        scans=tuple(scans),
        dropped=tuple(dropped),
        tables={p.name: file_sha256(p) for p in (root / "annotations.csv", *found.values())},
        truth=_truth(annotations, excluded, found),
        notes=(*_notes(annotations, excluded, scans), *(notice.message for notice in told)),
    )


def _volumes(root: Path) -> list[Path]:
    subsets = sorted(p for p in root.glob("subset*") if p.is_dir()) if root.is_dir() else []
    volumes = [path for subset in subsets for path in sorted(subset.rglob("*.mhd"))]
    if not volumes or not (root / "annotations.csv").is_file():
        seen = ", ".join(sorted(p.name for p in root.iterdir())[:8]) if root.is_dir() else "no folder"
        raise InputError("collection.layout", f"LUNA16 is expected as {EXPECTED}; found {seen}", where=root)
    return volumes


def _anywhere(root: Path, name: str) -> Path | None:
    return next(iter(sorted(root.rglob(name))), None)


def _fault(path: Path) -> str:
    """Why a volume cannot be read; empty if it can."""
    try:
        (info,) = list_series(path)
    except ImagingError as error:
        return f"{error.code}: {error.message}"
    return "" if info.usable else f"{info.code}: {info.reason}"


def _scan(path: Path, annotations: Annotations, excluded: Annotations | None, val_subsets: Sequence[int]) -> Scan:
    sizes = _diameters(annotations, path.stem)
    doubtful = 0 if excluded is None else sum(size > 0 for size in _diameters(excluded, path.stem))
    label = 1 if sizes else None if doubtful else 0
    why = "in annotations.csv" if sizes else "one or two readers outlined a nodule" if doubtful else "no annotation"
    text = " ".join(nodule_sentence(size_mm=size, calcified=False) for size in sizes)
    number = next(parent.name for parent in path.parents if parent.name.startswith("subset"))[len("subset") :]
    split = None
    if val_subsets:
        split = "val" if number in {str(n) for n in val_subsets} else "train"
    return Scan(path.stem, path, path.stem, label, why, text, split=split)  # type: ignore[arg-type]


def _diameters(annotations: Annotations, uid: str) -> list[float]:
    return [float(d) for u, d in zip(annotations.seriesuids, annotations.diameters_mm, strict=True) if u == uid]


def _truth(annotations: Annotations, excluded: Annotations | None, found: Mapping[str, Path]) -> dict[str, Table]:
    truth = {"annotations.csv": _places(annotations)}
    if excluded is not None:
        truth["excluded.csv"] = _places(excluded)
    name = next((n for n in CANDIDATE_TABLES if n in found), None)
    if name is not None:
        rows = read_table(found[name], CANDIDATE_COLUMNS, kind="LUNA16's candidates")
        kept = tuple(tuple(row.get(column.lower(), "").strip() for column in CANDIDATE_COLUMNS) for row in rows)
        truth["candidates.csv"] = Table(CANDIDATE_COLUMNS, kept)
    return truth


def _places(annotations: Annotations) -> Table:
    rows = zip(annotations.seriesuids, annotations.points_mm, annotations.diameters_mm, strict=True)
    return Table(
        PLACE_COLUMNS, tuple((uid, *(repr(float(v)) for v in point), repr(float(d))) for uid, point, d in rows)
    )


def _notes(annotations: Annotations, excluded: Annotations | None, scans: Sequence[Scan]) -> tuple[str, ...]:
    notes = ["LUNA16 names no patients: a few have two scans, which may fall on both sides of the split"]
    absent = len(set(annotations.seriesuids) - {scan.key for scan in scans})
    if absent:
        notes.append(f"{absent} annotated series are not in the subsets that are here")
    if excluded is None:
        notes.append(f"without {EXCLUDED_TABLE} scans with a nodule of one or two readers count as free of nodules")
    return tuple(notes)
