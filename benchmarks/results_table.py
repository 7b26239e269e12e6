"""The tables of docs/results.md, each between two markers that only a script writes, and the log of looks at `test`.

A table carries what is needed to make it again: the command, the seed, the weights and the data, but no date, so that
the same run gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from imaging.io.atomic import write_text
from imaging.provenance import creation_time

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "docs" / "results.md"
LOOKS: Final = ROOT / "docs" / "test_looks.csv"
#: Parts of the data that hold patients of `test`: each look at them is logged.
HOLD_TEST: Final = ("test", "unseen", "all")
#: What is logged when it is looked at: those parts, and whole scans that nobody may tune on.
LOGGED: Final = (*HOLD_TEST, "untouched")
LOOK_COLUMNS: Final = ("when_utc", "benchmark", "split", "command", "weights", "weights_sha256", "commit", "headline")
PREAMBLE: Final = "# Results\n\nEvery table here is written by the script that its last lines name, and only by it.\n"


@dataclass(frozen=True)
class Made:
    """What a table was made from."""

    command: str
    seed: int
    weights_name: str
    weights_sha256: str
    data: str
    data_sha256: str

    def lines(self) -> str:
        """The lines under a table."""
        return (
            f"Command: `{self.command}` · seed {self.seed} · weights `{self.weights_name}` "
            f"(`{self.weights_sha256[:16]}`) · data `{self.data}` (`{self.data_sha256[:16]}`)\n"
        )


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; numbers are given as text by the caller, who knows their digits."""
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"row {row} does not fit the header {header}")
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def section(title: str, body: str, made: Made) -> str:
    """A whole section: heading, text and tables, and what it was made from."""
    return f"## {title}\n\n{body.strip()}\n\n{made.lines()}"


def replace_section(name: str, text: str, *, path: Path = RESULTS) -> None:
    """Put `text` between the markers of `name`, at the end of the file if it is new there; the file is swapped whole.

    Raises:
        ValueError: if the markers in the file do not come in one pair, or `text` holds a marker.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if "<!-- begin " in text or "<!-- end " in text:
        raise ValueError("a section must not hold a marker")
    old = path.read_text(encoding="utf-8") if path.exists() else PREAMBLE
    block = f"{begin}\n{text.strip()}\n{end}"
    if (old.count(begin), old.count(end)) == (0, 0):
        write_text(path, f"{old.rstrip()}\n\n{block}\n")
        return
    if (old.count(begin), old.count(end)) != (1, 1) or old.index(begin) > old.index(end):
        raise ValueError(f"{path.name} holds broken markers of {name}")
    before, rest = old.split(begin)
    write_text(path, before + block + rest.split(end)[1])


def log_look(benchmark: str, split: str, made: Made, headline: str, *, path: Path = LOOKS) -> None:
    """Append one look at `test` (or at scans kept for a release) to the log."""
    old = path.read_text(encoding="utf-8") if path.exists() else ",".join(LOOK_COLUMNS) + "\n"
    line = io.StringIO()
    when = creation_time().strftime("%Y-%m-%d %H:%M:%S")
    csv.writer(line, lineterminator="\n").writerow(
        [when, benchmark, split, made.command, made.weights_name, made.weights_sha256, _commit(), headline]
    )
    write_text(path, old + line.getvalue())


def _commit() -> str:
    """The commit that is checked out, with a plus sign if tracked files differ from it; empty outside a repository."""
    run = subprocess.run(
        ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip()


def publish(name: str, title: str, body: str, made: Made, *, split: str, headline: str, write: bool = True) -> None:
    """Print a section, log the look if it was one that must be, and write it into docs/results.md."""
    text = section(title, body, made)
    print(text)
    if split in LOGGED:
        log_look(name, split, made, headline)
    if write:
        replace_section(f"{name}-{split}", text)
