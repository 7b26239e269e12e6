"""What each kind of supervision gives: the shipped weights, and those trained on with labels, own evidence, outlines.

    python -m benchmarks.arms FOLDER... [--split val|test] [--no-write]

Each FOLDER is one that `benchmarks.upper_bound` wrote. The figures are those of `benchmarks.windows` and
`benchmarks.crops`, by the same code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import crops as crops_benchmark
from benchmarks import windows as windows_benchmark
from benchmarks.comparison import SEED
from benchmarks.lidc_data import FROZEN
from benchmarks.model_scorer import ModelScorer
from benchmarks.results_table import Made, markdown_table, publish
from imaging.evaluation.bootstrap import Interval

HEADER = ("weights", "trained on with", "steps", "AUROC", "pointing", "under 8 mm", "error, mm", "crops at 1", "at 4")


@dataclass(frozen=True)
class ArmFigures:
    """What one net reaches."""

    name: str
    said: str
    steps: int
    auroc: Interval
    pointing: Interval
    small: Interval
    error_mm: Interval
    at_one: Interval
    at_four: Interval

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        shares = (self.pointing, self.small)
        return (
            self.name,
            self.said,
            str(self.steps),
            f"{self.auroc:.4f}",
            *(str(each) for each in shares),
            f"{self.error_mm:.2f}",
            str(self.at_one),
            str(self.at_four),
        )


def measure(scorer: ModelScorer, windows: windows_benchmark.WindowSet, crops: crops_benchmark.CropSet) -> ArmFigures:
    """Both benchmarks of one net."""
    seen = windows_benchmark.measure(scorer, windows)
    pointing, small, error = seen.points["refined"]
    marked = crops_benchmark.measure(scorer, crops)
    card = scorer.model.card
    return ArmFigures(
        name=scorer.weights_name,
        said=card.get("arm", "as shipped"),
        steps=card.get("plan", {}).get("steps", 0),
        auroc=seen.auroc,
        pointing=pointing,
        small=small,
        error_mm=error,
        at_one=marked.at_rates[crops_benchmark.RATES.index(1.0)],
        at_four=marked.at_rates[crops_benchmark.RATES.index(4.0)],
    )


def body(figures: Sequence[ArmFigures], *, seed: int) -> str:
    """The section without its heading."""
    text = (
        "All begin with the shipped weights and see the same windows of split `train` in the same order; the text "
        "tower stands still. `labels`: the label of the window alone, as before. `own`: the region of the net's own "
        "evidence as well (self-training). `outlines`: the readers' outlines as well, the upper bound; they are read "
        f"under `benchmarks/` only. Seed of the training {seed}. 95 % intervals by bootstrap over patients.\n\n"
    )
    return text + markdown_table(HEADER, [each.row() for each in figures])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arms", description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    windows = windows_benchmark.WindowSet.read(options.split)
    crops = crops_benchmark.CropSet.read(options.split)
    scorers = [ModelScorer.load(weights) for weights in (None, *options.folders)]
    figures = []
    for scorer in scorers:
        figures.append(measure(scorer, windows, crops))
        print(*figures[-1].row(), sep=" | ", flush=True)
    name = f"windows_{options.split}.csv"
    command = (
        f"python -m benchmarks.arms {' '.join(Path(each).name for each in options.folders)} --split {options.split}"
    )
    made = Made(command, SEED, scorers[0].weights_name, scorers[0].weights_sha256, name, FROZEN[name])
    headline = "; ".join(f"{each.said}: pointing {each.pointing.value:.3f}" for each in figures)
    seed = next((s.model.card["plan"]["seed"] for s in scorers if "plan" in s.model.card), SEED)
    publish(
        "arms",
        f"Kinds of supervision ({options.split})",
        body(figures, seed=seed),
        made,
        split=options.split,
        headline=headline,
        write=not options.no_write,
    )


if __name__ == "__main__":
    main()
