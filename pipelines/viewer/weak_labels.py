"""The image-level labels that decisions imply, as the table that ``nodulus train`` takes. No Qt.

Source: the columns are those of `imaging.training.manifest`; there is none for a place.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from imaging.findings import Finding
from pipelines.viewer.review import Reviewed

MANIFEST: Final = "weak_labels.csv"
MANIFEST_COLUMNS: Final = ("path", "nodule", "text", "seriesuid", "reviewer")


def label_row(
    rows: Sequence[Reviewed], readers: Sequence[str], *, seriesuid: str, source: Path | None
) -> dict[str, Any]:
    """One row of the manifest: whether the scan holds a nodule, and a sentence; empty where that is not decided.

    A scan is positive with one accepted finding, negative when every finding was rejected. A scan in which the AI found
    nothing has no label until the reader adds a nodule: nobody has said that it is free of nodules.

    Args:
        rows: the findings after all events.
        readers: who decided.
        source: the CT; written as an absolute path, so that the table can be moved.
    """
    accepted = [row.finding for row in rows if row.state == "accepted"]
    decided = bool(rows) and all(row.state != "undecided" for row in rows)
    nodule = "1" if accepted else ("0" if decided else "")
    text = " ".join(_sentence(finding) for finding in accepted) or ("No pulmonary nodule." if nodule == "0" else "")
    return {
        "path": "" if source is None else str(source.absolute()),
        "nodule": nodule,
        "text": text,
        "seriesuid": seriesuid,
        "reviewer": ", ".join(readers),
    }


def _sentence(finding: Finding) -> str:
    """What the reader's click implies, in the words of a report; never a coordinate."""
    looks = [name for name, value in finding.attributes.items() if value >= 0.5]
    size = [] if finding.diameter_mm is None else [f"{finding.diameter_mm:.0f} mm"]
    where = f" in the {finding.side} lung" if finding.side else ""
    return " ".join([*size, *looks, "pulmonary nodule"]).capitalize() + where + "."


def write_manifest(rows: Iterable[dict[str, Any]], path: Path) -> Path:
    """Write rows of `label_row` as a table; one file may hold a whole worklist.

    Raises:
        OutputError: the file cannot be written; it appears whole or not at all.
    """
    from imaging.io.atomic import write_text

    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=MANIFEST_COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())
    return path
