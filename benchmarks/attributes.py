"""Text benchmark: do attribute prompts rank nodules as the readers rated them?

    python -m benchmarks.attributes [--split val|test] [--weights PATH] [--no-write]

One window a nodule of at least two readers, around the middle of what two of them outlined, in the slice where that is
largest. Ground-glass: texture at most 2 against at least 4.5. Calcified: calcification below 5.5. Spiculated:
spiculation of at least 3 (LIDC's first 399 scans rated it on another scale). Beside each trained pair of prompts stand
pairs of a sentence and its negation that training never saw. No bar where either side holds fewer than 20 nodules.
Intervals are by bootstrap over patients. Baselines: mean HU and diameter.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.lidc_data import SHARED, LidcCrops, Stack
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import Window
from imaging.evaluation.bootstrap import auroc_interval
from imaging.provenance import file_sha256

if TYPE_CHECKING:
    from benchmarks.model_scorer import ModelScorer

SEED = 0
RESAMPLES = 1000
FEWEST = 20

Masks = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
#: Attribute -> nodules that have it and nodules that lack it, by the mean of the readers' ratings.
RATED: Final[dict[str, Callable[[pd.DataFrame], Masks]]] = {
    "ground-glass": lambda n: ((n.texture <= 2).to_numpy(), (n.texture >= 4.5).to_numpy()),
    "calcified": lambda n: ((n.calcification < 5.5).to_numpy(), (n.calcification >= 5.5).to_numpy()),
    "spiculated": lambda n: ((n.spiculation >= 3).to_numpy(), (n.spiculation < 3).to_numpy()),
}
#: Sentences that are not among the trained prompts, each with its negation.
HELD_OUT: Final = {
    "ground-glass": (
        ("the nodule is of ground-glass density", "the nodule is not of ground-glass density"),
        ("this is a ground-glass pulmonary nodule", "this is not a ground-glass pulmonary nodule"),
    ),
    "calcified": (
        ("the granuloma is calcified", "the granuloma is not calcified"),
        ("a pulmonary nodule with calcification", "a pulmonary nodule with no calcification"),
    ),
    "spiculated": (
        ("the nodule has a spiculated margin", "the nodule has no spiculated margin"),
        ("this is a spiculated pulmonary nodule", "this is not a spiculated pulmonary nodule"),
    ),
}


@dataclass(frozen=True, eq=False)
class RatedNodules:
    """Nodules with their ratings, and a window around each."""

    table: pd.DataFrame
    windows: tuple[Window, ...]

    @classmethod
    def read(cls, split: str) -> RatedNodules:
        """Nodules of a split that two readers outlined together somewhere, with known grey scale and place."""
        crops = LidcCrops(SHARED / "lidc_crops")
        known = crops.index[(crops.index.split == split) & (crops.index.hu_source > 0) & crops.index.z_mm.notna()]
        lines, windows = [], []
        for patient, nodule in known[["patient", "nodule"]].drop_duplicates().itertuples(index=False):
            if (patient, nodule) not in crops.nodules.index:
                continue
            rated = crops.nodules.loc[(patient, nodule), :]
            if rated.n_readers < 2:
                continue
            stack = crops.stack(patient, nodule)
            if stack.agreed.any():
                lines.append(rated.to_dict() | {"patient": patient})
                windows.append(largest_slice(stack))
        return cls(pd.DataFrame(lines), tuple(windows))


def largest_slice(stack: Stack) -> Window:
    """A window in the slice where what two readers outlined is largest, around its middle."""
    at = int(stack.agreed.sum(axis=(1, 2)).argmax())
    row, column = np.argwhere(stack.agreed[at]).mean(axis=0)
    x, y, z = stack.volume.grid.to_mm((at, row, column))
    return Window(stack, at, (float(x), float(y), float(z)))


def mean_hu(window: Window) -> float:
    """Mean HU within 2 mm of the middle of a window, in its slice."""
    grid = window.stack.volume.grid
    _, row, column = grid.to_index(window.centre_mm)
    rows, columns = np.indices(grid.shape[1:])
    near = np.hypot(rows - row, columns - column) * grid.spacing_mm[1] <= 2.0
    return float(window.stack.volume.array[window.slice_index][near].mean())


def prompt_scores(model: ModelScorer, windows: Sequence[Window]) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """(attribute, which prompts) -> score of each window: its pooled tokens against sentence minus negation."""
    import torch

    from imaging.models.network import attention_of, attribute_pool
    from imaging.models.prompts import concepts

    net = model.model.net
    with torch.inference_mode():
        parts = torch.cat([model.window_input(window) for window in windows]).split(64)
        tokens = torch.cat([net.tokens(part) for part in parts])
        attention = attention_of(net.logits_of(tokens, net.nodule_direction())[:, 0])
        seen = attribute_pool(tokens, attention)
        pairs = {(name, "trained prompts"): (concepts()[name].present, concepts()[name].absent) for name in RATED}
        pairs |= {(name, f'"{yes}"'): ((yes,), (no,)) for name, each in HELD_OUT.items() for yes, no in each}
        return {
            key: (seen @ (net.mean_prompt(present) - net.mean_prompt(absent))).double().cpu().numpy()
            for key, (present, absent) in pairs.items()
        }


def rows_of(
    nodules: RatedNodules, scores: dict[tuple[str, str], npt.NDArray[np.float64]]
) -> list[tuple[str, str, str, str]]:
    """Attribute, prompts, how many nodules on each side, and AUROC."""
    rows = []
    patients = nodules.table.patient.to_numpy()
    for (name, prompts), values in scores.items():
        has, lacks = RATED[name](nodules.table)
        keep = has | lacks
        auroc = auroc_interval(
            has[keep], values[keep], patients[keep], count=RESAMPLES, rng=np.random.default_rng(SEED)
        )
        few = "; too few for a bar" if min(has.sum(), lacks.sum()) < FEWEST else ""
        rows.append((name, prompts, f"{has.sum()} / {lacks.sum()}{few}", str(auroc)))
    return sorted(rows, key=lambda row: list(RATED).index(row[0]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attributes", description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--weights", help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    from benchmarks.model_scorer import ModelScorer

    model = ModelScorer.load(options.weights)
    nodules = RatedNodules.read(options.split)
    hu = np.array([mean_hu(window) for window in nodules.windows])
    diameter = nodules.table.diameter_mm.to_numpy(dtype=float)
    scores = prompt_scores(model, nodules.windows)
    scores |= {(name, "baseline: HU"): -hu if name == "ground-glass" else hu for name in RATED}
    scores |= {(name, "baseline: diameter"): diameter for name in RATED}
    rows = rows_of(nodules, scores)
    made = Made(
        f"python -m benchmarks.attributes --split {options.split}",
        SEED,
        model.weights_name,
        model.weights_sha256,
        "lidc_crops/nodules.csv",
        file_sha256(SHARED / "lidc_crops" / "nodules.csv"),
    )
    text = (
        f"{len(nodules.windows)} nodules of {nodules.table.patient.nunique()} patients; 95 % intervals by bootstrap "
        "over patients.\n\n"
    )
    text += markdown_table(("attribute", "prompts", "nodules with / without", "AUROC"), rows)
    headline = "; ".join(f"{row[0]} {row[3]}" for row in rows if row[1] == "trained prompts")
    title = f"Attribute prompts ({options.split})"
    publish("attributes", title, text, made, split=options.split, headline=headline, write=not options.no_write)


if __name__ == "__main__":
    main()
