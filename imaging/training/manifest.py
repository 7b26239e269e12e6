"""The table that a training run starts from: a path and what is known of it as a whole.

Columns: ``path`` (of a folder of prepared cases, or of a CT; relative to the table), ``label`` or ``nodule`` (0, 1 or
empty), ``text`` (of the report), ``split`` (``train`` or ``val``) and ``seriesuid`` (which series of that path). Other
columns are not read: there is no way to say where a nodule lies.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError
from imaging.io.texts import open_text
from imaging.models.prompts import attribute_names
from imaging.training.report_labels import label_report

Split = Literal["train", "val"]
LABEL_COLUMNS = ("label", "nodule")
#: A nodule up to here is surely "small", from here on surely not; the same for "large"; mm.
SMALL_MM, LARGE_MM = (6.0, 7.0), (12.0, 15.0)


@dataclass(frozen=True)
class ManifestRow:
    """One line of the table.

    Args:
        path: absolute or relative to the working directory.
        line: in the file, from 2.
        split: ``train`` or ``val``.
        label: 1.0 with a nodule, 0.0 without, None where nobody said.
        attributes: concept -> True or False where the report says so.
        series: which series of that path, or None.
        said: whether label or text were given at all.
    """

    path: Path
    line: int
    split: Split
    label: float | None
    attributes: Mapping[str, bool] = field(default_factory=dict)
    series: str | None = None
    said: bool = False

    @property
    def concept_labels(self) -> npt.NDArray[np.float32]:
        """Labels of the scan, ``nodule`` first, NaN where unknown: float32 (concepts,)."""
        known = [math.nan if self.label is None else self.label]
        known += [float(self.attributes[name]) if name in self.attributes else math.nan for name in attribute_names()]
        return np.array(known, np.float32)


def read_rows(manifest: Path) -> tuple[ManifestRow, ...]:
    """The lines of a table of training cases.

    Raises:
        InputError: what `open_text` refuses it with; ``manifest.layout`` if it is not such a table, ``manifest.path``
            for a path where nothing is, ``manifest.label`` for a label that is neither 0 nor 1.
    """
    try:
        with open_text(manifest) as stream:
            reader = csv.DictReader(stream, strict=True)
            lines = [(reader.line_num, line) for line in reader]
            columns = list(reader.fieldnames or ())
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError("manifest.layout", f"cannot read the table: {error}", where=manifest) from error
    if "path" not in columns or len(set(columns)) != len(columns):
        raise InputError(
            "manifest.layout", f"its columns are {columns}; one must be 'path', none twice", where=manifest
        )
    if all(name in columns for name in LABEL_COLUMNS):
        raise InputError("manifest.layout", "it has both a column 'label' and a column 'nodule'", where=manifest)
    rows = tuple(_row(manifest, number, line) for number, line in lines)
    _check_once(manifest, rows)
    return rows


def _row(manifest: Path, number: int, line: Mapping[str | None, str | None]) -> ManifestRow:
    where = f"{manifest}, line {number}"
    if None in line:
        raise InputError("manifest.layout", "the line has more fields than the table has columns", where=where)
    name, given, text, split, series = (
        (line.get(column) or "").strip() for column in ("path", _label_column(line), "text", "split", "seriesuid")
    )
    path = manifest.parent / name
    if not name or not path.exists():
        raise InputError("manifest.path", f"there is nothing at {name!r}", where=where)
    if split not in ("", "train", "val"):
        raise InputError("manifest.layout", f"split is {split!r}, not 'train' or 'val'", where=where)
    label, attributes = read_label(given, text, where=where)
    chosen: Split = "val" if split == "val" else "train"
    return ManifestRow(path, number, chosen, label, attributes, series or None, bool(given or text))


def _label_column(line: Mapping[str | None, str | None]) -> str:
    return next((name for name in LABEL_COLUMNS if name in line), "")


def read_label(given: str, text: str, *, where: str | None = None) -> tuple[float | None, dict[str, bool]]:
    """Label of the scan and what is said of its nodule, from the label column and the report; the column decides.

    Raises:
        InputError: ``manifest.label``.

    >>> read_label("", "A 5 mm solid nodule in the right upper lobe.")
    (1.0, {'solid': True, 'small': True, 'large': False})
    >>> read_label("0", "")
    (0.0, {})
    """
    report = label_report(text)
    if given:
        try:
            label: float | None = float(given)
        except ValueError:
            label = math.nan
        if label not in (0.0, 1.0):
            raise InputError("manifest.label", f"the label is {given!r}, not 0, 1 or empty", where=where)
    else:
        label = {"positive": 1.0, "negative": 0.0}.get(report.label)
    if label != 1.0 or report.label != "positive":
        return label, {}
    said = {name.replace("_", "-"): value for name, value in report.attributes.items()}
    return label, {name: value for name, value in (said | _sizes(report.size_mm)).items() if name in attribute_names()}


def _sizes(size_mm: float | None) -> dict[str, bool]:
    if size_mm is None:
        return {}
    small = {True: size_mm < SMALL_MM[0], False: size_mm >= SMALL_MM[1]}
    large = {True: size_mm > LARGE_MM[1], False: size_mm < LARGE_MM[0]}
    return {
        name: value for name, rule in (("small", small), ("large", large)) for value in (True, False) if rule[value]
    }


def _check_once(manifest: Path, rows: tuple[ManifestRow, ...]) -> None:
    """Refuse a scan that stands in the table twice: in both splits it would make validation worthless."""
    seen: dict[tuple[Path, str | None], int] = {}
    for row in rows:
        key = (row.path.resolve(), row.series)
        if key in seen:
            raise InputError(
                "manifest.layout", f"lines {seen[key]} and {row.line} name the same {row.path.name!r}", where=manifest
            )
        seen[key] = row.line
