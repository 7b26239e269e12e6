"""What each kind of supervision gives at the same budget, from scratch and trained on from the shipped weights.

    python -m benchmarks.arms FOLDER... [--split val|test] [--no-crops] [--no-write]

Each FOLDER is one that `benchmarks.upper_bound` wrote. Its figures are those of `benchmarks.windows` and
`benchmarks.crops`, by the same code; the shipped weights' are read from the tables that those two wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import crops as crops_benchmark
from benchmarks import windows as windows_benchmark
from benchmarks.comparison import SEED
from benchmarks.lidc_data import FROZEN
from benchmarks.model_scorer import ModelScorer
from benchmarks.readme_table import row_of, section_of
from benchmarks.results_table import RESULTS, Made, markdown_table, publish

HEADER = (
    "begins with",
    "learns from",
    "steps",
    "AUROC",
    "pointing",
    "under 8 mm",
    "token centre",
    "error, mm",
    "crops at 1",
    "at 4",
)


def shipped_row(results: str, split: str) -> tuple[str, ...]:
    """The shipped weights' line, from their own tables."""
    windows, crops = section_of(f"windows-{split}", results), section_of(f"crops-{split}", results)
    pointing, small, error = row_of(windows, "nodulus", "refined")
    token = row_of(windows, "nodulus", "token centre")[0]
    at = row_of(crops, "nodulus")
    one, four = (at[crops_benchmark.RATES.index(rate)] for rate in (1.0, 4.0))
    return (
        "shipped weights",
        "nothing more",
        "0",
        row_of(windows, "nodulus")[0],
        pointing,
        small,
        token,
        error,
        one,
        four,
    )


def measured_row(
    scorer: ModelScorer, windows: windows_benchmark.WindowSet, crops: crops_benchmark.CropSet | None
) -> tuple[str, ...]:
    """Both benchmarks of one net that was trained on; without crops, that of windows alone."""
    seen = windows_benchmark.measure(scorer, windows)
    pointing, small, error = seen.points["refined"]
    token = seen.points["token centre"][0]
    card = scorer.model.card
    shares = (str(each) for each in (pointing, small, token))
    begins = "scratch" if card["start"] == "scratch" else "shipped weights"
    row = (begins, card["arm"], str(card["recipe"]["steps"]), f"{seen.auroc:.4f}", *shares, f"{error:.2f}")
    if crops is None:
        return *row, "not measured", "not measured"
    at = crops_benchmark.measure(scorer, crops).at_rates
    return *row, *(str(at[crops_benchmark.RATES.index(rate)]) for rate in (1.0, 4.0))


def body(rows: Sequence[tuple[str, ...]], *, seed: int) -> str:
    """The section without its heading."""
    text = (
        "Windows of split `train`, the same ones in the same order within each beginning; the text tower is the "
        "shipped one and stands still. `labels` (arm A): the label of the window alone. `simulated` (arm B, as the "
        "shipped weights were trained): windows into which a lesion or vessels were drawn among them. `own` (arm C): "
        "the region of the shipped net's own evidence as well (self-training). `outlines`: the readers' outlines as "
        "well, the upper bound; they are read under `benchmarks/` only. From scratch the image tower begins untrained, "
        "with a small part of the windows and steps that the shipped weights had. The refined point follows the rules "
        "that were chosen for the shipped weights; the token's bare centre follows none. Seed of the training "
        f"{seed}. 95 % intervals by bootstrap over patients.\n\n"
    )
    return text + markdown_table(HEADER, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the folders and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arms", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--no-crops", action="store_true", help="measure windows alone")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    windows = windows_benchmark.WindowSet.read(options.split)
    crops = None if options.no_crops else crops_benchmark.CropSet.read(options.split)
    scorers = [ModelScorer.load(folder) for folder in options.folders]
    rows = [shipped_row(RESULTS.read_text(encoding="utf-8"), options.split)]
    for scorer in scorers:
        rows.append(measured_row(scorer, windows, crops))
        print(*rows[-1], sep=" | ", flush=True)
    name, folders = f"windows_{options.split}.csv", " ".join(Path(each).name for each in options.folders)
    command = f"python -m benchmarks.arms {folders} --split {options.split}" + " --no-crops" * options.no_crops
    made = Made(command, SEED, scorers[0].weights_name, scorers[0].weights_sha256, name, FROZEN[name])
    publish(
        "arms",
        f"Kinds of supervision ({options.split})",
        body(rows, seed=scorers[0].model.card["recipe"]["seed"]),
        made,
        split=options.split,
        headline="; ".join(f"{row[0]}, {row[1]}: pointing {row[4]}" for row in rows),
        write=not options.no_write,
    )


if __name__ == "__main__":
    main()
