"""Text benchmark: do attribute prompts rank nodules as the readers rated them, in words that training never used?

    python -m benchmarks.attributes [--split val|test|unseen|all] [--weights PATH] [--no-write]

One window a nodule of at least two readers, around the middle of what two of them outlined, in the slice where that is
largest. Ground-glass: texture at most 2 against at least 4.5. Calcified: calcification below 5.5. Spiculated:
spiculation of at least 3 (LIDC's first 399 scans rated it on another scale). Beside the trained prompts of each
attribute stand pairs of a sentence and its negation that training never says (held_out_prompts.json). A pair's AUROC is
that of the sentence less its negation; the sentence and the negation alone stand beside it, and the negation's should
be one less the pair's. No bar where either side holds fewer than 20 nodules. Intervals are by bootstrap over patients.
Baselines: mean HU and diameter.

`val` uses the list that choices are made on; `test` and `unseen` (val and test together: no patient of either was
trained on) the list for judging: written blind, and moved to the first list once choices were made after a look at it.
`all` is cross-validation by patient over all splits: the text tower is tuned anew without the patients of a fold, then
measured on them (benchmarks/attribute_folds.py).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.lidc_data import SHARED, LidcCrops, Stack
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import Window
from imaging.evaluation.auroc import RankedScores
from imaging.evaluation.bootstrap import auroc_interval
from imaging.provenance import file_sha256

if TYPE_CHECKING:
    import torch

    from benchmarks.model_scorer import ModelScorer
    from imaging.models.network import NoduleNet

SEED = 0
RESAMPLES = 1000
FEWEST = 20
#: A held-out sentence may rank nodules so much worse than the trained prompts.
BAR = 0.05
HEADER = ("attribute", "prompts", "nodules with / without", "AUROC", "sentence alone", "negation alone")
TITLES: Final = {
    "val": "Attribute prompts (val)",
    "test": "Attribute prompts (test)",
    "unseen": "Attribute prompts (val and test: patients not trained on)",
    "all": "Attribute prompts (cross-validation by patient over all splits)",
}
UNSEEN: Final = (
    "The image tower has learned from the ratings of the patients of `train`, whatever the fold, so that the table "
    "above is optimistic. Of the same folds, the nodules of `val` and `test` alone, from which nothing that scores "
    "them has learned:\n\n"
)

Masks = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]
#: Attribute -> nodules that have it and nodules that lack it, by the mean of the readers' ratings.
RATED: Final[dict[str, Callable[[pd.DataFrame], Masks]]] = {
    "ground-glass": lambda n: ((n.texture <= 2).to_numpy(), (n.texture >= 4.5).to_numpy()),
    "calcified": lambda n: ((n.calcification < 5.5).to_numpy(), (n.calcification >= 5.5).to_numpy()),
    "spiculated": lambda n: ((n.spiculation >= 3).to_numpy(), (n.spiculation < 3).to_numpy()),
}
#: Sentences and their negations that training never says, by the list and the attribute.
HELD_OUT_FILE: Final = Path(__file__).with_name("held_out_prompts.json")
#: Which of both lists a split is measured with.
LISTS: Final = {"val": "for_choices", "test": "for_judging", "unseen": "for_judging", "all": "for_judging"}
PARTS: Final = {"val": ("val",), "test": ("test",), "unseen": ("val", "test"), "all": ("train", "val", "test")}
TRAINED: Final = "trained prompts"

Key = tuple[str, str]
Floats = npt.NDArray[np.float64]


def held_out(which: str) -> dict[str, list[tuple[str, str]]]:
    """One of the lists: attribute -> pairs of a sentence and its negation."""
    table = json.loads(HELD_OUT_FILE.read_text(encoding="utf-8"))[which]
    return {name: [(yes, no) for yes, no in pairs] for name, pairs in table.items()}


@dataclass(frozen=True, eq=False)
class RatedNodules:
    """Nodules with their ratings, and a window around each."""

    table: pd.DataFrame
    windows: tuple[Window, ...]

    def part(self, keep: npt.NDArray[np.bool_]) -> RatedNodules:
        """The nodules at `keep`."""
        return RatedNodules(self.table[keep], tuple(self.windows[i] for i in np.flatnonzero(keep)))

    @classmethod
    def read(cls, splits: Sequence[str]) -> RatedNodules:
        """Nodules of some splits that two readers outlined together somewhere, with known grey scale and place."""
        crops = LidcCrops(SHARED / "lidc_crops")
        mine = crops.index.split.isin(splits) & (crops.index.hu_source > 0) & crops.index.z_mm.notna()
        known = crops.index[mine]
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


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of nodules, (n,) each: of a sentence less its negation, of the sentence and of the negation alone."""

    pair: Floats
    alone: Floats | None = None
    negation: Floats | None = None

    def part(self, keep: npt.NDArray[np.bool_]) -> Scored:
        """The scores of the nodules at `keep`."""
        alone, negation = (None if v is None else v[keep] for v in (self.alone, self.negation))
        return Scored(self.pair[keep], alone, negation)


def pooled_tokens(model: ModelScorer, windows: Sequence[Window]) -> torch.Tensor:
    """What the image tower sees of each nodule: mean token embedding where the nodule is, (n, d)."""
    import torch

    from imaging.models.network import attention_of, attribute_pool

    net, seen = model.model.net, []
    with torch.inference_mode():
        for start in range(0, len(windows), 64):
            inputs = torch.cat([model.window_input(window) for window in windows[start : start + 64]])
            tokens = net.tokens(inputs)
            attention = attention_of(net.logits_of(tokens, net.nodule_direction())[:, 0])
            seen.append(attribute_pool(tokens, attention).double().cpu())
    return torch.cat(seen)


def prompt_scores(net: NoduleNet, seen: torch.Tensor, which: str) -> dict[Key, Scored]:
    """(attribute, which prompts) -> scores of the nodules that `seen` (n, d) is of."""
    import torch

    from imaging.models.prompts import concepts

    pairs = {(name, TRAINED): (concepts()[name].present, concepts()[name].absent) for name in RATED}
    pairs |= {(name, f'"{yes}"'): ((yes,), (no,)) for name, each in held_out(which).items() for yes, no in each}
    scores = {}
    with torch.inference_mode():
        for key, sentences in pairs.items():
            yes, no = (seen @ net.mean_prompt(side).double().cpu() for side in sentences)
            scores[key] = Scored((yes - no).numpy(), yes.numpy(), no.numpy())
    return scores


def rows_of(nodules: RatedNodules, scores: dict[Key, Scored]) -> list[tuple[str, ...]]:
    """Attribute, prompts, nodules on each side, AUROC with interval, of the sentence and of the negation alone."""
    rows = []
    patients = nodules.table.patient.to_numpy()
    for (name, prompts), scored in scores.items():
        has, lacks = RATED[name](nodules.table)
        keep = has | lacks
        rng = np.random.default_rng(SEED)
        pair = auroc_interval(has[keep], scored.pair[keep], patients[keep], count=RESAMPLES, rng=rng)
        alone, negation = (
            "" if values is None else f"{RankedScores(has[keep], values[keep]).auroc():.3f}"
            for values in (scored.alone, scored.negation)
        )
        few = "; too few for a bar" if min(has.sum(), lacks.sum()) < FEWEST else ""
        rows.append((name, prompts, f"{has.sum()} / {lacks.sum()}{few}", str(pair), alone, negation))
    return sorted(rows, key=lambda row: list(RATED).index(row[0]))


def departures(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """For each attribute, how far held-out sentences and negations lie from the trained prompts, in words."""
    said = []
    for name in RATED:
        mine = [row for row in rows if row[0] == name and not row[1].startswith("baseline")]
        trained = next(float(row[3].split()[0]) for row in mine if row[1] == TRAINED)
        held = [row for row in mine if row[1] != TRAINED]
        gaps = {
            "pairs": [trained - float(row[3].split()[0]) for row in held],
            "sentences alone": [trained - float(row[4]) for row in held],
            "negations alone": [trained - (1 - float(row[5])) for row in held],
        }
        parts = [f"{what} at most {max(gap):.3f} below" for what, gap in gaps.items()]
        within = sum(g <= BAR for gap in gaps.values() for g in gap)
        count = sum(len(gap) for gap in gaps.values())
        said.append(f"{name} (trained {trained:.3f}): {', '.join(parts)}; {within} of {count} within {BAR}")
    return said


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.attributes", description=__doc__.splitlines()[0])
    parser.add_argument("--split", choices=tuple(PARTS), default="val")
    parser.add_argument("--weights", help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    from benchmarks.model_scorer import ModelScorer

    model = ModelScorer.load(options.weights)
    nodules = RatedNodules.read(PARTS[options.split])
    seen = pooled_tokens(model, nodules.windows)
    if options.split == "all":
        from benchmarks.attribute_folds import cross_validated

        scores = cross_validated(model.model.net, nodules.table, seen, LISTS[options.split])
    else:
        scores = prompt_scores(model.model.net, seen, LISTS[options.split])
    text, rows = table_of(nodules, scores)
    if options.split == "all":
        unseen = nodules.table.split.isin(PARTS["unseen"]).to_numpy()
        more, rows = table_of(nodules.part(unseen), {key: scored.part(unseen) for key, scored in scores.items()})
        text += "\n\n" + UNSEEN + more
    made = Made(
        f"python -m benchmarks.attributes --split {options.split}",
        SEED,
        model.weights_name,
        model.weights_sha256,
        "lidc_crops/nodules.csv",
        file_sha256(SHARED / "lidc_crops" / "nodules.csv"),
    )
    headline = "; ".join(f"{row[0]} {row[3]}" for row in rows if row[1] == TRAINED)
    title = TITLES[options.split]
    publish("attributes", title, text, made, split=options.split, headline=headline, write=not options.no_write)


def table_of(nodules: RatedNodules, scores: dict[Key, Scored]) -> tuple[str, list[tuple[str, ...]]]:
    """The text of one table, baselines included, and its rows."""
    hu = np.array([mean_hu(window) for window in nodules.windows])
    diameter = nodules.table.diameter_mm.to_numpy(dtype=float)
    every = dict(scores)
    every |= {(name, "baseline: HU"): Scored(-hu if name == "ground-glass" else hu) for name in RATED}
    every |= {(name, "baseline: diameter"): Scored(diameter) for name in RATED}
    rows = rows_of(nodules, every)
    text = (
        f"{len(nodules.windows)} nodules of {nodules.table.patient.nunique()} patients; 95 % intervals by bootstrap "
        "over patients.\n\n"
    )
    text += markdown_table(HEADER, rows)
    return text + "\nHeld-out sentences against the trained prompts: " + ". ".join(departures(rows)) + ".", rows


if __name__ == "__main__":
    main()
