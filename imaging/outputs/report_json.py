"""`report.json`: the whole report as plain values, laid down in `report.schema.json`; see docs/report_schema.md."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from imaging.findings import Report
from imaging.io.atomic import write_bytes
from imaging.outputs.case import CaseResult

FILE_NAME: Final = "report.json"


def to_text(report: Report) -> str:
    """The report as JSON text; numbers unrounded.

    Raises:
        ValueError: if a number is NaN or infinite, which JSON cannot say.
    """
    return json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def read(path: str | Path) -> Report:
    """The report back from a `report.json`.

    Raises:
        ValueError: if the layout is of another schema version.
    """
    return Report.from_json(json.loads(Path(path).read_text(encoding="utf-8")))


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `report.json`."""
    text = files("imaging.outputs").joinpath("report.schema.json").read_text(encoding="utf-8")
    layout: dict[str, Any] = json.loads(text)
    return layout


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `report.json`; it never holds an identifier of the patient, whatever `show_identifiers` says."""
    path = folder / FILE_NAME
    write_bytes(path, to_text(result.report).encode("utf-8", "replace"))
    return {FILE_NAME: path}
