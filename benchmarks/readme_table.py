"""The short table of the README, copied from docs/results.md so that the two never differ.

python -m benchmarks.readme_table
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.results_table import RESULTS, ROOT, markdown_table, replace_section

README: Final = ROOT / "README.md"
NAME: Final = "results in short"


def section_of(name: str, results: str) -> str:
    """The text between the markers of a section.

    Raises:
        ValueError: if there is none.
    """
    found = re.search(rf"<!-- begin {re.escape(name)} -->\n(.*?)\n<!-- end {re.escape(name)} -->", results, re.DOTALL)
    if found is None:
        raise ValueError(f"docs/results.md has no section {name}")
    return found[1]


def row_of(section: str, *first: str, table: int = 0) -> list[str]:
    """The cells after the named first ones, of a row of a section.

    Raises:
        ValueError: if no row begins so.
    """
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in section.splitlines() if line[:1] == "|"]
    matching = [row[len(first) :] for row in rows if tuple(row[: len(first)]) == first]
    if len(matching) <= table:
        raise ValueError(f"no row begins with {', '.join(first)}")
    return matching[table]


def short_table(results: str) -> str:
    """The table as Markdown."""
    windows, crops = section_of("windows-test", results), section_of("crops-test", results)
    found = row_of(windows, "nodulus", "refined")
    blobs = row_of(windows, "LoG blobs", "refined")
    stacks, blob_stacks = row_of(crops, "nodulus"), row_of(crops, "LoG blobs")
    predict = section_of("predict", results)
    seconds = row_of(predict, "in all")[0]
    memory = re.search(r"Peak memory ([\d.]+ GB)", predict)
    rows = [
        (
            "does a window of 33.6 mm hold a nodule: AUROC",
            row_of(windows, "nodulus")[0],
            row_of(windows, "LoG blobs")[0],
        ),
        ("is the point inside the outline of two readers", found[0], blobs[0]),
        ("the same, nodules under 8 mm", found[1], blobs[1]),
        ("median error in plane, mm", found[2], blobs[2]),
        ("sensitivity in small stacks at 1 false mark a stack", stacks[3], blob_stacks[3]),
        ("the same at 4 false marks a stack", stacks[5], blob_stacks[5]),
        ("one CT of 133 slices, zip to all outputs, 2 cores", f"{seconds} s, {memory[1] if memory else ''}", ""),
    ]
    return markdown_table(("test patients, 95 % interval", "nodulus", "LoG blobs"), rows)


def main(*, results: Path = RESULTS, readme: Path = README) -> None:
    """Write the table into the README."""
    replace_section(NAME, short_table(results.read_text(encoding="utf-8")), path=readme)


if __name__ == "__main__":
    main()
