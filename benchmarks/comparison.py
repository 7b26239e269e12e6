"""What the benchmarks on frozen lists have in common: their options, their baselines, and the model beside them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.lidc_data import FROZEN
from benchmarks.results_table import Made
from benchmarks.scorers import BlobDetector, CentrePrior, RandomInLung, Scorer

#: Bounds of the size groups, mm.
SIZES_MM: Final = ((0.0, 6.0), (6.0, 8.0), (8.0, 15.0), (15.0, np.inf))
SEED: Final = 0
RESAMPLES: Final = 1000


def size_name(low: float, high: float) -> str:
    """A size group in words.

    >>> size_name(6.0, 8.0)
    '6 to 8 mm'
    """
    if np.isinf(high):
        return f">= {low:g} mm" if low else "all"
    return f"{low:g} to {high:g} mm" if low else f"< {high:g} mm"


def parser_of(name: str, description: str) -> argparse.ArgumentParser:
    """The options that all have: the split, the weights, and what to leave out."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description.splitlines()[0])
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--weights", help="weights to measure; by default those that ship")
    parser.add_argument("--baselines-only", action="store_true")
    parser.add_argument("--no-write", action="store_true", help="print only")
    return parser


def writes(options: argparse.Namespace) -> bool:
    """Whether the table goes into the results; never one without the model."""
    return not (options.no_write or options.baselines_only)


def baselines() -> Sequence[RandomInLung | CentrePrior | BlobDetector]:
    """What a model has to beat."""
    return RandomInLung(SEED), CentrePrior(), BlobDetector()


def compared(name: str, options: argparse.Namespace, *, grad_cam: bool = False) -> tuple[list[Scorer], Made]:
    """The model, unless it is left out, and the baselines; and how the table over the list `name` was made."""
    scorers: list[Scorer] = [*baselines()]
    weights_name, sha256 = "none", "-" * 16
    if not options.baselines_only:
        from benchmarks.model_scorer import ModelScorer

        model = ModelScorer.load(options.weights, grad_cam=grad_cam)
        scorers.insert(0, model)
        weights_name, sha256 = model.weights_name, model.weights_sha256
    command, data = f"python -m benchmarks.{name} --split {options.split}", f"{name}_{options.split}.csv"
    return scorers, Made(command, SEED, weights_name, sha256, data, FROZEN[data])
