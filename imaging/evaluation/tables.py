"""The CSV files of the LUNA16 protocol: marks, annotations, and the list of scans.

Columns are found by their header, in any order, and further columns are kept as text. Coordinates are LPS mm. Numbers
are read as Python reads them, to the last bit: a probability rounded on the way in makes ties, and ties move the score.

Source: https://luna16.grand-challenge.org/Evaluation/
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError, Notice
from imaging.io.texts import open_text

Floats = npt.NDArray[np.float64]

PLACE_COLUMNS = ("seriesuid", "coordX", "coordY", "coordZ")
SCORE_COLUMN = "probability"
DIAMETER_COLUMN = "diameter_mm"


def _read_only(values: npt.ArrayLike, shape: tuple[int, ...]) -> Floats:
    array = np.array(values, dtype=np.float64).reshape(shape)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Marks:
    """What a detector says: one place and one score a mark.

    Args:
        seriesuids: the scan of each mark.
        points_mm: (n, 3), LPS mm.
        scores: (n,), higher is more suspicious; any finite numbers, best unrounded.
    """

    seriesuids: tuple[str, ...]
    points_mm: Floats
    scores: Floats

    def __post_init__(self) -> None:
        n = len(self.seriesuids)
        object.__setattr__(self, "points_mm", _read_only(self.points_mm, (n, 3)))
        object.__setattr__(self, "scores", _read_only(self.scores, (n,)))
        if not (np.isfinite(self.points_mm).all() and np.isfinite(self.scores).all()):
            raise ValueError("places and scores of marks are finite numbers")


@dataclass(frozen=True, eq=False)
class Annotations:
    """What the readers say: one place and one diameter a nodule (or an excluded finding).

    Args:
        seriesuids: the scan of each annotation.
        points_mm: (n, 3), LPS mm.
        diameters_mm: (n,); negative where no diameter is known.
        columns: further columns of the file as text, name -> one value an annotation.
        lines: where each stands in its file, from 1; empty for those of no file.
    """

    seriesuids: tuple[str, ...]
    points_mm: Floats
    diameters_mm: Floats
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lines: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.seriesuids)
        object.__setattr__(self, "points_mm", _read_only(self.points_mm, (n, 3)))
        object.__setattr__(self, "diameters_mm", _read_only(self.diameters_mm, (n,)))
        object.__setattr__(self, "columns", MappingProxyType(dict(self.columns)))
        if not (np.isfinite(self.points_mm).all() and np.isfinite(self.diameters_mm).all()):
            raise ValueError("places and diameters of annotations are finite numbers")

    @classmethod
    def none(cls) -> Annotations:
        """No annotation at all."""
        return cls((), np.empty((0, 3)), np.empty(0))


def read_marks(path: Path | str, *, notices: list[Notice] | None = None) -> Marks:
    """Marks from a CSV with the columns ``seriesuid, coordX, coordY, coordZ, probability``.

    A file with a header and no row is a detector that found nothing, and is fine.

    Args:
        path: of the file.
        notices: what is told of the file is added: ``evaluation.uid_blanks``.

    Raises:
        InputError: what `open_text` refuses it with; ``evaluation.unreadable``, ``evaluation.columns`` or
            ``evaluation.value``, naming the line.
    """
    table = _Table.read(Path(path), (*PLACE_COLUMNS, SCORE_COLUMN))
    return Marks(_uids(table.texts("seriesuid"), table.path, notices), table.places(), table.numbers(SCORE_COLUMN))


def read_annotations(path: Path | str, *, notices: list[Notice] | None = None) -> Annotations:
    """Annotations from a CSV with the columns ``seriesuid, coordX, coordY, coordZ, diameter_mm``.

    Args, Raises: as `read_marks`.
    """
    table = _Table.read(Path(path), (*PLACE_COLUMNS, DIAMETER_COLUMN))
    known = {*PLACE_COLUMNS, DIAMETER_COLUMN}
    further = {name: table.texts(name) for name in table.header if name and name not in known}
    uids = _uids(table.texts("seriesuid"), table.path, notices)
    lines = tuple(line for line, _ in table.rows)
    return Annotations(uids, table.places(), table.numbers(DIAMETER_COLUMN), further, lines)


def read_seriesuids(path: Path | str, *, notices: list[Notice] | None = None) -> tuple[str, ...]:
    """The list of scans: the first column of a CSV without a header (a first line ``seriesuid`` is taken for one).

    Args:
        path: of the file.
        notices: as in `read_marks`.

    Raises:
        InputError: what `open_text` refuses it with; ``evaluation.unreadable``; ``evaluation.series_list`` if it is
            empty or names a scan twice.
    """
    rows = [row[0] for _, row in _rows(Path(path)) if row[0].strip()]
    uids = _uids(rows[1:] if rows and rows[0].strip() == "seriesuid" else rows, Path(path), notices)
    if not uids:
        raise InputError("evaluation.series_list", "the list of scans is empty", where=path)
    return check_seriesuids(uids, where=path)


def _uids(given: Sequence[str], path: Path, notices: list[Notice] | None) -> tuple[str, ...]:
    """UIDs without the blanks around them, which no UID has; where there were any, that is told."""
    uids = tuple(uid.strip() for uid in given)
    blanks = sum(uid != old for uid, old in zip(uids, given, strict=True))
    if blanks and notices is not None:
        message = f"{path.name}: blanks around {blanks} of {len(uids)} series UIDs were dropped"
        notices.append(Notice("evaluation.uid_blanks", message))
    return uids


def check_seriesuids(uids: Iterable[str], *, where: Path | str | None = None) -> tuple[str, ...]:
    """The same UIDs, if none occurs twice: a scan counted twice halves its false marks.

    Raises:
        InputError: ``evaluation.series_list``.
    """
    seen: set[str] = set()
    listed = tuple(uids)
    for uid in listed:
        if uid in seen:
            raise InputError("evaluation.series_list", f"scan {uid} is listed twice", where=where)
        seen.add(uid)
    return listed


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, fields) of every line that is not blank."""
    try:
        with open_text(path) as stream:
            reader = csv.reader(stream, strict=True)
            return [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("evaluation.unreadable", f"not a readable CSV: {error}", where=path) from error


@dataclass(frozen=True)
class _Table:
    """Rows of one CSV file, with the line each came from."""

    path: Path
    header: tuple[str, ...]
    rows: Sequence[tuple[int, list[str]]]

    @classmethod
    def read(cls, path: Path, needed: Sequence[str]) -> _Table:
        rows = _rows(path)
        header = tuple(name.strip() for name in rows[0][1]) if rows else ()
        missing = [name for name in needed if name not in header]
        twice = sorted({name for name in needed if header.count(name) > 1})
        if missing or twice:
            fault = f"lacks {', '.join(missing)}" if missing else f"holds {', '.join(twice)} twice"
            other = next(
                (name for sign, name in (("\t", "tabs"), (";", "semicolons")) if sign in "".join(header)), None
            )
            hint = f" (separated by {other}, not commas?)" if other else ""
            raise InputError("evaluation.columns", f"the header {list(header)} {fault}{hint}", where=path)
        for line, row in rows[1:]:
            if len(row) != len(header):
                message = f"line {line} has {len(row)} fields, the header {len(header)}"
                raise InputError("evaluation.value", message, where=path)
            if not row[header.index("seriesuid")].strip():
                raise InputError("evaluation.value", f"line {line}: seriesuid is empty", where=path)
        return cls(path, header, rows[1:])

    def texts(self, name: str) -> tuple[str, ...]:
        at = self.header.index(name)
        return tuple(row[at] for _, row in self.rows)

    def numbers(self, name: str) -> Floats:
        at = self.header.index(name)
        values = np.empty(len(self.rows))
        for n, (line, row) in enumerate(self.rows):
            try:
                values[n] = float(row[at])
            except ValueError:
                values[n] = math.nan
            if not math.isfinite(values[n]):
                message = f"line {line}: {name} is {row[at]!r}, not a finite number"
                raise InputError("evaluation.value", message, where=self.path)
        return values

    def places(self) -> Floats:
        return np.column_stack([self.numbers(name) for name in PLACE_COLUMNS[1:]])
