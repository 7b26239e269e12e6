"""Where rules for the refined point are chosen beside `val`: windows of the larger nodules of `train`.

    python -m benchmarks.train_windows [--least 8] [--nodules 500] [--weights PATH] [--no-write]

`val` holds 33 nodules of 8 mm or more, too few to tell one rule from another. The net has met these windows' patients,
but no place in them: training has no field for one, so that how it points here is not learned by heart. One window a
nodule, cut by the rule of the frozen lists: in a random slice that two readers outlined, at a random place that keeps
95 % of what they agree on inside. No AUROC: the net knows the labels of these patients.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.comparison import SEED
from benchmarks.lidc_data import SHARED, WINDOW_MM, LidcCrops, Stack
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import Window
from benchmarks.windows import Held, kinds_of
from imaging.evaluation.bootstrap import Interval
from imaging.provenance import file_sha256

#: Pixels that two readers agree on in a slice that counts, at least.
FEWEST_PIXELS: Final = 4
#: Of the agreed pixels, the part that a window holds; and so many places are tried.
INSIDE, TRIES = 0.95, 40


def large_nodules(crops: LidcCrops, *, least_mm: float, most: int, seed: int) -> list[Window]:
    """One window each of up to `most` nodules of `train`, drawn at random."""
    scans = pd.read_csv(SHARED / "lidc_scans.csv").drop_duplicates("patient").set_index("patient")
    nodules = crops.nodules.reset_index().sort_values(["patient", "nodule"])
    mine = nodules[(nodules.patient.map(scans.split) == "train") & (nodules.diameter_mm >= least_mm)]
    windows: list[Window] = []
    for line in mine.sample(frac=1, random_state=seed).itertuples():
        if len(windows) == most:
            break
        known = crops.index[(crops.index.patient == line.patient) & (crops.index.nodule == line.nodule)]
        if not ((known.hu_source > 0) & known.z_mm.notna()).any():
            continue
        stack = crops.stack(line.patient, line.nodule)
        number = int(line.patient.rsplit("-", 1)[-1])
        window = random_window(stack, np.random.default_rng([seed, number, line.nodule]))
        windows += [window] if window is not None else []
    return windows


def random_window(stack: Stack, rng: np.random.Generator) -> Window | None:
    """A window at a random place that holds a nodule in one of its slices; None where none fits in a few tries."""
    slices = np.flatnonzero(stack.agreed.sum(axis=(1, 2)) >= FEWEST_PIXELS)
    grid = stack.volume.grid
    half = WINDOW_MM / 2 / grid.spacing_mm[1]
    for _ in range(TRIES if len(slices) else 0):
        at = int(rng.choice(slices))
        agreed = np.argwhere(stack.agreed[at])
        sides = zip(agreed.mean(axis=0), grid.shape[1:], strict=True)
        middle = np.array([_within(m - half, m + half, half, side, rng) for m, side in sides])
        if (np.abs(agreed - middle) <= half).all(axis=1).mean() >= INSIDE:
            x, y, z = grid.to_mm((at, *middle))
            return Window(stack, at, (float(x), float(y), float(z)))
    return None


def _within(low: float, high: float, half: float, side: int, rng: np.random.Generator) -> float:
    """A place between two, so that the window lies in the crop if the crop is wide enough."""
    low, high = max(low, half - 0.5), min(high, side - 0.5 - half)
    return float(rng.uniform(low, high)) if low < high else (side - 1) / 2


def held_of(crops: LidcCrops, windows: Sequence[Window]) -> Held:
    """The windows with whose they are; one vote each."""
    patients = np.array([window.stack.patient for window in windows], dtype=object)
    sizes = [crops.nodules.loc[(w.stack.patient, w.stack.nodule), "diameter_mm"] for w in windows]
    return Held(list(windows), patients, np.ones(len(windows)), np.array(sizes, dtype=np.float64))


def body(
    held: Held,
    points: dict[str, tuple[Interval, Interval, Interval]],
    by_size: Sequence[tuple[str, int, Interval, Interval]],
) -> str:
    """The tables as Markdown."""
    text = (
        f"{len(held.windows)} nodules of `train`, one window each; {len(set(held.patients))} patients, whom the net "
        "has met in training without any place. 95 % intervals by bootstrap over patients.\n\n"
    )
    rows = [(kind, str(share), f"{error:.2f}") for kind, (share, _, error) in points.items()]
    text += markdown_table(("point", "strict pointing game", "median error, mm in plane"), rows) + "\n"
    rows = [(name, str(count), str(share), f"{error:.2f}") for name, count, share, error in by_size]
    return text + markdown_table(("diameter", "nodules", "refined: strict pointing game", "median error, mm"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Point into the windows and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_windows", description=__doc__.splitlines()[0])
    parser.add_argument("--least", type=float, default=8.0, help="smallest diameter, mm")
    parser.add_argument("--nodules", type=int, default=500, help="at most")
    parser.add_argument("--weights", type=Path, help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    from benchmarks.model_scorer import ModelScorer

    crops, scorer = LidcCrops(), ModelScorer.load(options.weights)
    held = held_of(crops, large_nodules(crops, least_mm=options.least, most=options.nodules, seed=SEED))
    judged = kinds_of(held, scorer.point_windows(held.windows))
    points = {kind: held.pointing(each) for kind, each in judged.items()}
    command = f"python -m benchmarks.train_windows --least {options.least:g} --nodules {options.nodules}"
    data = SHARED / "lidc_crops" / "crops.csv"
    made = Made(command, SEED, scorer.weights_name, scorer.weights_sha256, "lidc_crops/crops.csv", file_sha256(data))
    title = f"Pointing at nodules of {options.least:g} mm or more (train)"
    text = body(held, points, held.by_size(judged["refined"]))
    publish("windows", title, text, made, split="train", headline="", write=not options.no_write)


if __name__ == "__main__":
    main()
