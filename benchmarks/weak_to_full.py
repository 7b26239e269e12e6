"""Weak against full supervision: the least share of any supervised net's figures that the weak labels reach.

    python -m benchmarks.weak_to_full

`benchmarks.upper_bound` trains the same net with the readers' outlines at a small budget; none was trained with them at
that of the shipped weights. No net has an AUROC above 1 or finds more than every nodule, so what the weakly supervised
one reaches of those is the least that it can reach of any.
Read from the tables of windows and crops in docs/results.md; run it again after them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.readme_table import row_of, section_of
from benchmarks.results_table import RESULTS, markdown_table, replace_section

NAME: Final = "weak-to-full"
#: Bar of each share.
LEAST: Final = 0.95
#: Chance, which an AUROC starts from.
CHANCE: Final = 0.5


def shares(results: str) -> list[tuple[str, float, float]]:
    """What is shared, the weakly supervised net's figure, and its share of a perfect net's."""
    auroc = _figure(row_of(section_of("windows-test", results), "nodulus")[0])
    crops = row_of(section_of("crops-test", results), "nodulus")
    at_one, at_four = _figure(crops[3]), _figure(crops[5])
    return [
        ("windows: AUROC above chance", auroc, (auroc - CHANCE) / (1 - CHANCE)),
        ("crops: sensitivity at 1 false mark a stack", at_one, at_one),
        ("crops: sensitivity at 4 false marks a stack", at_four, at_four),
    ]


def _figure(cell: str) -> float:
    return float(cell.split()[0])


def main(*, results: Path = RESULTS) -> None:
    """Write the table."""
    found = shares(results.read_text(encoding="utf-8"))
    rows = [
        (what, f"{figure:.4f}", f"{share:.3f}", "met" if share >= LEAST else "open") for what, figure, share in found
    ]
    text = (
        "## Weak against full supervision (test)\n\n"
        "No net was trained with outlines at the budget of the shipped weights; *Kinds of supervision* has both at a "
        "small one, from scratch and trained on. None could have more than 1, so the last figure is the least share "
        "of any supervised net's that the weak labels reach.\n\n"
        + markdown_table(("figure", "nodulus", "share of a perfect net's, the least", f"bar {LEAST}"), rows)
        + "\nCommand: `python -m benchmarks.weak_to_full` · from the tables windows-test and crops-test\n"
    )
    print(text)
    replace_section(NAME, text, path=results)


if __name__ == "__main__":
    main()
