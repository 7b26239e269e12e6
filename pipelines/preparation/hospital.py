"""A hospital's own table, to labels: a path and a label a row, or a path and the text of a report.

Every row and every path is looked at. A row that cannot be used is left out with its reason; a report that neither
affirms nor denies a nodule goes into a table of its own, so that somebody can read it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from imaging.errors import ImagingError, InputError, UsageError
from imaging.io import list_series
from imaging.provenance import file_sha256
from imaging.training.report_codes import codes_of
from imaging.training.report_labels import ReportLabel, label_report
from pipelines.preparation.collected import SPLITS, Collected, Dropped, Scan, Split, Table, read_table
from pipelines.series_choice import choose_series


@dataclass(frozen=True)
class Columns:
    """What the table calls its columns; empty where it has none.

    Args:
        path: of each CT, relative to the table.
        label: with or without a nodule.
        text: of the report.
        patient: anything that is the same for all CTs of one patient; by default as the DICOM header says.
        series: which series of the path.
        split: train, val or test.
        positive, negative: what a label may be.
    """

    path: str = "path"
    label: str = ""
    text: str = ""
    patient: str = ""
    series: str = ""
    split: str = ""
    positive: frozenset[str] = frozenset({"1", "1.0", "yes", "true", "positive"})
    negative: frozenset[str] = frozenset({"0", "0.0", "no", "false", "negative"})

    def named(self) -> list[str]:
        """The columns that the table must have."""
        return [n for n in (self.path, self.label, self.text, self.patient, self.series, self.split) if n]


@dataclass
class _Found:
    """What the rows looked at so far have given."""

    scans: dict[str, Scan] = field(default_factory=dict)  # by series UID, or by the hash of a file's content
    torn: set[str] = field(default_factory=set)
    dropped: list[Dropped] = field(default_factory=list)


def collect_csv(table: Path, columns: Columns, *, on_progress: Callable[[int, int], None] | None = None) -> Collected:
    """A table of paths and labels; a text, if there is a column for it, goes along for its attributes.

    Args:
        table: a CSV.
        columns: what its columns are called; one of `label` must be given.
        on_progress: called as (rows looked at, rows); may raise to cancel.

    Raises:
        InputError: what `read_table` refuses it with.
        UsageError: ``usage.option`` for a word that stands for both.
    """

    both = columns.positive & columns.negative
    if both:
        raise UsageError("usage.option", f"the words for a nodule and those for none share: {_words(both)}")

    def label(row: Mapping[str, str]) -> tuple[int | None, str]:
        given = _cell(row, columns.label)
        if given.lower() in columns.positive:
            return 1, "labelled"
        if given.lower() in columns.negative:
            return 0, "labelled"
        if not given:
            return None, "no label"
        raise ValueError(f"the label is none of the words for it: {given!r}")

    rule = f"the column {columns.label!r}: 1 for {_words(columns.positive)}; 0 for {_words(columns.negative)}"
    return _collect("csv", rule, table, columns, label, on_progress)


def collect_reports(
    table: Path, columns: Columns, *, on_progress: Callable[[int, int], None] | None = None
) -> Collected:
    """A table of paths and report texts, English or Chinese; also ``labels.csv``: what was read out of each, coded.

    Args:
        table: a CSV.
        columns: what its columns are called; `text` must be given.
        on_progress: called as (rows looked at, rows); may raise to cancel.

    Raises:
        InputError: what `read_table` refuses it with.
    """

    def label(row: Mapping[str, str]) -> tuple[int | None, str]:
        text = _cell(row, columns.text)
        if not text:
            return None, "no text"
        report = label_report(text)
        return {"positive": 1, "negative": 0}.get(report.label), _why(report)

    rule = (
        "rules over the report's text: 1 where a nodule of the lung is affirmed, 0 where it is denied or the lungs are "
        "called clear; doubt, history alone and silence have no label"
    )
    collected = _collect("reports", rule, table, columns, label, on_progress)
    rows = tuple(_coded(scan) for scan in collected.scans)
    header = ("path", "label", "why", "size_mm", "attributes", "codes")
    return replace(collected, extra={"labels.csv": Table(header, rows)})


def _why(report: ReportLabel) -> str:
    if not report.mentions:
        return "the report speaks of no nodule"
    deciding = next((m for m in report.mentions if m.label == report.label), report.mentions[0])
    return f"{report.label} by {deciding.rule}: {deciding.clause}"


def _coded(scan: Scan) -> tuple[str, ...]:
    report = label_report(scan.text)
    said = " ".join(f"{name}={int(value)}" for name, value in report.attributes.items())
    size = "" if report.size_mm is None else f"{report.size_mm:g}"
    return scan.key, report.label, scan.why, size, said, " ".join(str(code) for code in codes_of(report))


def _words(words: frozenset[str]) -> str:
    return ", ".join(sorted(words))


def _cell(row: Mapping[str, str], column: str) -> str:
    return row.get(column.lower(), "").strip() if column else ""


def _collect(
    kind: str,
    rule: str,
    table: Path,
    columns: Columns,
    label: Callable[[Mapping[str, str]], tuple[int | None, str]],
    on_progress: Callable[[int, int], None] | None,
) -> Collected:
    remedy = f"correct the table, or name its columns with the options of 'nodulus prepare {kind}'"
    rows = read_table(table, columns.named(), kind=f"'prepare {kind}'", remedy=remedy)
    if not rows:
        raise InputError("collection.table", "the table has no rows", where=table, remedy="give one row for each CT")
    found = _Found()
    for done, row in enumerate(rows):
        if on_progress is not None:
            on_progress(done, len(rows))
        name = f"line {row['line']}: {_cell(row, columns.path)}"
        try:
            _take(*_scan(table, row, columns, *label(row)), found)
        except ValueError as error:
            found.dropped.append(Dropped(name, str(error)))
        except ImagingError as error:
            found.dropped.append(Dropped(name, f"{error.code}: {error.message}"))
    scans = tuple(scan for name, scan in found.scans.items() if name not in found.torn)
    unknown = sum(scan.patient == str(scan.path) for scan in scans)
    notes = (f"{unknown} scans name no patient: each counts as a patient of its own",) if unknown else ()
    return Collected(
        kind=kind, rule=rule, scans=scans, dropped=tuple(found.dropped), tables={table.name: file_sha256(table)},
        notes=notes,
    )  # fmt: skip


def _scan(table: Path, row: Mapping[str, str], columns: Columns, label: int | None, why: str) -> tuple[Scan, str]:
    """One row, and the name of its series; a ValueError or an ImagingError says why it cannot be used."""
    given = _cell(row, columns.path)
    if not given:
        raise ValueError("no path")
    path = (table.parent / given).resolve()
    if not path.exists():
        raise ValueError("there is nothing at the path")
    infos = list_series(path)
    chosen = choose_series(infos, series=_cell(row, columns.series) or None, where=path).ranked[0]
    scan = Scan(
        key=given,
        path=path,
        patient=_cell(row, columns.patient) or chosen.patient_key or str(path),
        label=label,
        why=why,
        text=_cell(row, columns.text),
        series=chosen.name if len(infos) > 1 else "",
        split=_split(_cell(row, columns.split)),
    )
    return scan, chosen.name


def _split(given: str) -> Split | None:
    if not given:
        return None
    split = next((s for s in SPLITS if s == given.lower()), None)
    if split is None:
        raise ValueError(f"the split is none of {', '.join(SPLITS)}: {given!r}")
    return split


def _take(scan: Scan, series: str, found: _Found) -> None:
    """Add a scan, unless it is there already; rows that say different things of one scan are all left out."""
    known = found.scans.setdefault(series, scan)
    if known is scan:
        return
    if known.label == scan.label:
        raise ValueError(f"the same scan as a row before: {known.key}")
    if series not in found.torn:
        found.torn.add(series)
        found.dropped.append(Dropped(known.key, "two rows give this scan different labels"))
    raise ValueError(f"two rows give this scan different labels: {known.key}")
