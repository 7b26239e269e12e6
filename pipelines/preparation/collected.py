"""What every collection is turned into: scans with one label each, what was left out and why, and the truth apart."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from imaging.errors import InputError
from imaging.io.texts import open_text

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Scan:
    """One scan and what is said of it as a whole.

    Args:
        key: what the collection calls it: a series UID, or a path as given.
        path: of a CT that `imaging.read_volume` reads.
        patient: whom it shows; decides the split and is written nowhere.
        label: 1 with a nodule, 0 without, None where nobody can say.
        why: what the label rests on, or why there is none.
        text: a report, or ratings in words.
        series: which series of the path, where there are several.
        split: where the collection's owner has decided it.
        files: link only these into the prepared folder, because other things lie beside them.
    """

    key: str
    path: Path
    patient: str
    label: int | None
    why: str = ""
    text: str = ""
    series: str = ""
    split: Split | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Dropped:
    """Something of the collection that goes nowhere, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Table:
    """A CSV to be written: header and rows of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def write(self, path: Path) -> None:
        """As UTF-8 with plain line ends."""
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(self.columns)
            writer.writerows(self.rows)


@dataclass(frozen=True)
class Collected:
    """A collection as it was found.

    Args:
        kind: ``lidc``, ``luna16`` ...
        rule: what its labels mean, in words, for the lineage.
        scans: every scan that can be read.
        dropped: every one that is not used, with its reason.
        tables: SHA-256 of each table and annotation file that was read, by its name.
        truth: tables that say where nodules lie; the first column is the key of a scan.
        extra: further tables for the prepared folder, without any place in them.
        notes: doubts about the collection as a whole.
    """

    kind: str
    rule: str
    scans: tuple[Scan, ...]
    dropped: tuple[Dropped, ...] = ()
    tables: Mapping[str, str] = field(default_factory=dict)
    truth: Mapping[str, Table] = field(default_factory=dict)
    extra: Mapping[str, Table] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def split_of(patient: str, *, val_share: float, seed: int) -> Split:
    """``val`` for about `val_share` of all patients, by a hash: others who come or go move nobody.

    >>> {split_of("somebody", val_share=share, seed=0) for share in (0.0, 1.0)} == {"train", "val"}
    True
    """
    digest = hashlib.sha256(f"{seed}:{patient}".encode()).digest()
    return "val" if int.from_bytes(digest[:8], "big") < val_share * 2.0**64 else "train"


def read_table(path: Path, columns: Iterable[str], *, kind: str, remedy: str | None = None) -> list[dict[str, str]]:
    """The rows of a CSV as text, its column names in lower case, each with its line number under ``line``.

    Args:
        path: of the table.
        columns: that it must have.
        kind: what it is called in a refusal.
        remedy: what to do about a refusal; by default to give the table as it was published.

    Raises:
        InputError: what `open_text` refuses it with; ``collection.table`` if it is no CSV or lacks one of `columns`.
    """
    wanted = [name.lower() for name in columns]
    try:
        with open_text(path) as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            "collection.table", f"cannot read the table of {kind}: {error}", where=path, remedy=remedy
        ) from error
    missing = [name for name in wanted if name not in header]
    if missing or len(set(header)) != len(header):
        raise InputError(
            "collection.table",
            f"{kind} expects the columns {', '.join(wanted)}, each once; found {', '.join(header) or 'nothing'}",
            where=path,
            remedy=remedy,
        )
    long = next((number for number, row in lines if len(row) > len(header)), None)
    if long is not None:
        text = f"line {long} has more fields than the table has columns"
        raise InputError("collection.table", text, where=path, remedy=remedy)
    return [{**dict(zip(header, row, strict=False)), "line": str(number)} for number, row in lines]


def read_splits(path: Path) -> dict[str, Split]:
    """Patient or series UID -> split, from a table with ``patient`` or ``seriesuid``, and ``split``.

    Raises:
        InputError: ``collection.table``.
    """
    remedy = "give a CSV with a column patient or seriesuid, and a column split of train, val or test"
    rows = read_table(path, ["split"], kind="a table of splits", remedy=remedy)
    name = next((n for n in ("seriesuid", "patient") if rows and n in rows[0]), None)
    if name is None:
        text = "a table of splits expects the column patient or seriesuid"
        raise InputError("collection.table", text, where=path, remedy=remedy)
    decided: dict[str, Split] = {}
    for row in rows:
        split = next((s for s in SPLITS if s == row.get("split", "").strip()), None)
        key = row.get(name, "").strip()
        if split is None or not key or decided.get(key, split) != split:
            raise InputError(
                "collection.table",
                f"line {row['line']}: expected a {name} and one of {', '.join(SPLITS)}, the same wherever it stands",
                where=path,
                remedy=remedy,
            )
        decided[key] = split
    return decided


def counted(reasons: Sequence[Dropped]) -> dict[str, int]:
    """How often each reason occurs, with what is particular to one scan (after a colon) left out."""
    counts: dict[str, int] = {}
    for each in reasons:
        short = each.reason.split(":")[0]
        counts[short] = counts.get(short, 0) + 1
    return dict(sorted(counts.items()))
