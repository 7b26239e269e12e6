"""NLST as downloaded: screening CTs in the archive's folders, and the trial's tables, to one label a screening exam.

Study dates are coded: 1999, 2000 and 2001 are screening years 0, 1 and 2. An abnormality is a row of the table ``ctab``
(``pid``, ``study_yr``, ``sct_ab_desc`` ...); a table ``screen`` says which exams were read and how good they were.

Source: NLST data dictionaries "Spiral CT Abnormalities" and "Spiral CT Screening", https://cdas.cancer.gov/datasets/nlst/;
https://wiki.cancerimagingarchive.net/display/NLST/NLST+CT+Images+--+General+Details (dates, patient identifiers)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imaging.errors import ImagingError
from imaging.io import list_series
from imaging.provenance import file_sha256
from pipelines.preparation.collected import Collected, Dropped, Scan, Table, read_table
from pipelines.preparation.sentences import Kind, Margin, nodule_sentence
from pipelines.preparation.tcia import SeriesFolder, find_series
from pipelines.series_choice import choose_series

CTAB_COLUMNS = (
    "pid", "study_yr", "sct_ab_num", "sct_ab_desc", "sct_epi_loc", "sct_long_dia", "sct_perp_dia", "sct_margins",
    "sct_pre_att", "sct_slice_num",
)  # fmt: skip
SCREEN_COLUMNS = ("pid", "study_yr", "ctdxqual")
YEARS: Final = {"1999": 0, "2000": 1, "2001": 2}
#: sct_ab_desc: non-calcified nodule or mass of 4 mm or more; micronodules; benign calcified; six or more nodules.
NODULE, MICRONODULES, CALCIFIED, MANY = 51, 52, 53, 62
#: ctdxqual: an exam that is not diagnostic.
NOT_DIAGNOSTIC = 3
KINDS: Final[Mapping[int, Kind]] = {1: "solid", 2: "ground-glass", 3: "part-solid"}
MARGINS: Final[Mapping[int, Margin]] = {1: "spiculated", 2: "smooth"}

Exam = tuple[str, int]


@dataclass(frozen=True)
class _Tables:
    """What the trial's tables say of each exam."""

    abnormalities: Mapping[Exam, Sequence[Mapping[str, str]]]
    quality: Mapping[Exam, int | None] | None


def collect_nlst(
    root: Path,
    *,
    abnormalities: Path,
    screens: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Collected:
    """One series of every screening exam of a download of NLST.

    Args:
        root: a folder above PID/STUDY/SERIES.
        abnormalities: the table ``ctab``.
        screens: the table ``screen``; without it an exam with no abnormality has no label, for nobody says it was read.
        on_progress: called as (exams looked at, exams); may raise to cancel.

    Raises:
        InputError: ``collection.layout``, ``collection.table``.
    """
    rows = read_table(abnormalities, CTAB_COLUMNS, kind="NLST's CT abnormalities (ctab)")
    tables = _Tables(_by_exam(rows), None if screens is None else _qualities(screens))
    folders, dropped = find_series(root, collection="NLST")
    exams: dict[Path, list[SeriesFolder]] = {}
    for folder in folders:
        exams.setdefault(folder.study_folder, []).append(folder)
    scans, truth = [], []
    for done, (study, series) in enumerate(sorted(exams.items())):
        if on_progress is not None:
            on_progress(done, len(exams))
        try:
            scan = _scan(study, series, tables)
        except ValueError as error:
            dropped.append(Dropped(str(study.relative_to(root)), str(error)))
        except ImagingError as error:
            dropped.append(Dropped(str(study.relative_to(root)), f"{error.code}: {error.message}"))
        else:
            scans.append(scan)
            truth += [_row(scan.key, row) for row in tables.abnormalities.get(_exam(series[0]), ())]
    used = [abnormalities, *([screens] if screens else [])]
    return Collected(
        kind="nlst",
        rule=(
            "1: the screening reader saw a non-calcified nodule or mass of 4 mm or more (51), six or more nodules (62) "
            "or benign calcified ones (53); 0: the exam was read and had none of these and no micronodules (52); "
            "micronodules alone, or an exam that no table names: nobody says"
        ),
        scans=tuple(scans),
        dropped=tuple(dropped),
        tables={path.name: file_sha256(path) for path in used},
        truth={"abnormalities.csv": Table(("seriesuid", *CTAB_COLUMNS), tuple(truth))},
        notes=() if screens else ("without the table of screens, exams without any abnormality have no label",),
    )


def _number(text: str) -> int | None:
    """A code of the tables, which write missing values as ``.M`` and ``.N`` or leave them empty."""
    try:
        return int(float(text))
    except ValueError:
        return None


def _by_exam(rows: Sequence[Mapping[str, str]]) -> dict[Exam, list[Mapping[str, str]]]:
    exams: dict[Exam, list[Mapping[str, str]]] = {}
    for row in rows:
        year = _number(row["study_yr"])
        if year is not None:
            exams.setdefault((row["pid"].strip(), year), []).append(row)
    return exams


def _qualities(path: Path) -> dict[Exam, int | None]:
    rows = read_table(path, SCREEN_COLUMNS, kind="NLST's CT screens (screen)")
    years = [_number(row["study_yr"]) for row in rows]
    return {
        (row["pid"].strip(), year): _number(row.get("ctdxqual", ""))
        for row, year in zip(rows, years, strict=True)
        if year is not None
    }


def _exam(series: SeriesFolder) -> Exam:
    return series.patient, YEARS.get(series.study_date[:4], -1)


def _scan(study: Path, series: Sequence[SeriesFolder], tables: _Tables) -> Scan:
    """The series of an exam that `nodulus predict` would choose; a ValueError says why the exam is left out."""
    exam = _exam(series[0])
    if exam[1] < 0:
        raise ValueError(f"study date is not of 1999 to 2001: {series[0].study_date or 'none'}")
    if tables.quality is not None and tables.quality.get(exam) == NOT_DIAGNOSTIC:
        raise ValueError("the exam is not diagnostic")
    chosen = choose_series(list_series(study), where=study).ranked[0]
    folder = next(each.folder for each in series if each.seriesuid == chosen.seriesuid)
    label, why = _label(exam, tables)
    seen = [row for row in tables.abnormalities.get(exam, ()) if _number(row["sct_ab_desc"]) in (NODULE, CALCIFIED)]
    text = " ".join(_sentence(row) for row in seen) if label == 1 else ""
    name = chosen.name if len(list_series(folder)) > 1 else ""
    return Scan(chosen.seriesuid, folder, exam[0], label, why, text, series=name)


def _label(exam: Exam, tables: _Tables) -> tuple[int | None, str]:
    found = {_number(row["sct_ab_desc"]) for row in tables.abnormalities.get(exam, ())}
    nodules = sorted(code for code in found & {NODULE, CALCIFIED, MANY} if code is not None)
    if nodules:
        return 1, "sct_ab_desc " + ", ".join(str(code) for code in nodules)
    if MICRONODULES in found:
        return None, "micronodules under 4 mm only"
    if found or (tables.quality is not None and exam in tables.quality):
        return 0, "read, no nodule"
    return None, "no table says that the exam was read"


def _sentence(row: Mapping[str, str]) -> str:
    size = _number(row["sct_long_dia"])
    kind, margin = KINDS.get(_number(row["sct_pre_att"]) or 0, ""), MARGINS.get(_number(row["sct_margins"]) or 0, "")
    calcified = _number(row["sct_ab_desc"]) == CALCIFIED
    return nodule_sentence(size_mm=size, kind=kind, margin=margin, calcified=calcified)


def _row(key: str, row: Mapping[str, str]) -> tuple[str, ...]:
    return (key, *(row.get(column, "") for column in CTAB_COLUMNS))
