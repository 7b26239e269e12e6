"""What each step from the first training run to a finding brings, one switched on after another (ablation).

    mkdir first
    for name in manifest.json nodulus-weak-1.safetensors; do git show 05f5394:weights/$name > first/$name; done
    python -m benchmarks.steps first [--split val|test] [--no-write]

The folder holds the weights after the first of the two training runs, from this repository's history; the image tower
that ships is the second's. Kinds of supervision at one small budget are measured by `benchmarks.arms`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import crops as crops_benchmark
from benchmarks import windows as windows_benchmark
from benchmarks.comparison import SEED
from benchmarks.lidc_data import FROZEN, Stack
from benchmarks.model_scorer import FINDINGS_A_STACK, ModelScorer, strongest_token
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import StackMark, Window, WindowPoints
from imaging.localization.find import PEAKS_A_FINDING
from imaging.localization.peaks import find_peaks
from imaging.localization.places import outline_peaks

if TYPE_CHECKING:
    import torch

    from imaging.models.weights import LoadedModel

HEADER = ("step", "AUROC", "pointing", "under 8 mm", "error, mm", "crops at 1", "at 4")
UNCHANGED = "as above"


@dataclass(eq=False)
class OneLook:
    """A model without any step after it: each window seen once, its strongest token, a stack's token maxima.

    Args:
        model: as loaded.
        outlined: whether a stack's maxima are grown to lesions, one mark each, ranked by their tokens still.
    """

    model: LoadedModel
    outlined: bool = False
    name: str = field(init=False, default="nodulus")
    wants_detail: bool = field(init=False, default=True)

    def _tokens(self, windows: Sequence[Window]) -> list[torch.Tensor]:
        import torch

        from imaging.models.scoring import window_inputs

        with torch.inference_mode():
            return [
                self.model.net.token_logits(window_inputs(self.model, window.stack.volume, [window.centre_mm]))[0]
                for window in windows
            ]

    def window_logits(self, windows: Sequence[Window]) -> np.ndarray[Any, Any]:
        """The pooled logit of each window as it is, (n,)."""
        from imaging.models.network import pool_tokens

        return np.array([float(pool_tokens(tokens)) for tokens in self._tokens(windows)])

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """The centre of each window's strongest token."""
        side_mm = float(self.model.net.vision.config.token_mm)
        return [
            WindowPoints(point_mm=strongest_token(window.centre_mm, tokens.numpy(), side_mm), others={})
            for window, tokens in zip(windows, self._tokens(windows), strict=True)
        ]

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """Token maxima of a stack, or the lesions grown from them, with the tokens' logits."""
        from imaging.models.scoring import score_volume

        token_map = score_volume(self.model, stack.volume, stack.lungs)
        if not self.outlined:
            return [StackMark(p.point_mm, p.logit) for p in find_peaks(token_map, limit=FINDINGS_A_STACK)]
        peaks = find_peaks(token_map, limit=PEAKS_A_FINDING * FINDINGS_A_STACK)
        above = FINDINGS_A_STACK + FINDINGS_A_STACK // 2
        places = outline_peaks(stack.volume, stack.lungs, token_map, peaks, above=above, most=FINDINGS_A_STACK)
        return [StackMark(place.centre_mm, place.logit) for place in places]


def pointing_cells(figures: windows_benchmark.WindowFigures, kind: str) -> tuple[str, str, str]:
    """Pointing, the same under 8 mm and the median error of one kind of point."""
    everything, small, error = figures.points[kind]
    return str(everything), str(small), f"{error:.2f}"


def crop_cells(figures: crops_benchmark.CropFigures) -> tuple[str, str]:
    """Sensitivity at one and at four false marks a stack."""
    one, four = (str(figures.at_rates[crops_benchmark.RATES.index(rate)]) for rate in (1.0, 4.0))
    return one, four


def measured_rows(
    first: LoadedModel,
    shipped: LoadedModel,
    windows: windows_benchmark.WindowSet,
    crops: crops_benchmark.CropSet,
    tell: Callable[[str], None] = print,
) -> list[tuple[str, ...]]:
    """The rows of the table, each told when it is measured."""
    rows: list[tuple[str, ...]] = []

    def add(name: str, auroc: str, pointing: Sequence[str], marks: Sequence[str]) -> None:
        rows.append((name, auroc, *pointing, *marks))
        tell(" | ".join(rows[-1]))

    for name, model in (("first training run alone", first), ("second training run", shipped)):
        scorer = OneLook(model)
        seen = windows_benchmark.measure(scorer, windows)
        marks = crop_cells(crops_benchmark.measure(scorer, crops))
        add(name, f"{seen.auroc:.4f}", pointing_cells(seen, "refined"), marks)
    whole = ModelScorer(shipped, grad_cam=True)
    seen = windows_benchmark.measure(whole, windows)
    same = (UNCHANGED, UNCHANGED)
    add("a window and its mirrors; the map's peak", f"{seen.auroc:.4f}", pointing_cells(seen, "Grad-CAM peak"), same)
    add("to the densest tissue near it", UNCHANGED, pointing_cells(seen, "evidence"), same)
    grown = crop_cells(crops_benchmark.measure(OneLook(shipped, outlined=True), crops))
    add("one mark a lesion, outlined", UNCHANGED, (UNCHANGED,) * 3, grown)
    marks = crop_cells(crops_benchmark.measure(whole, crops))
    add("second look at each lesion: as it ships", UNCHANGED, pointing_cells(seen, "refined"), marks)
    before = ModelScorer(first)
    seen = windows_benchmark.measure(before, windows)
    marks = crop_cells(crops_benchmark.measure(before, crops))
    add("the same without the second training run", f"{seen.auroc:.4f}", pointing_cells(seen, "refined"), marks)
    return rows


def body(rows: Sequence[Sequence[str]], first: LoadedModel) -> str:
    """The table as Markdown."""
    return (
        "Each line but the last adds its step to those above. The first two see each window once, point at its "
        "strongest token and mark the token maxima of a stack; the first is "
        f"`{first.name}` (`{first.sha256[:16]}`). The last but one is what `nodulus predict` does, and the figures of "
        "the tables of windows and crops. What simulated lesions, the net's own evidence and outlines bring in "
        'training stands under "Kinds of supervision". 95 % intervals by bootstrap '
        "over patients.\n\n" + markdown_table(HEADER, rows)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the table."""
    from imaging.models.weights import load_model

    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__.splitlines()[0])
    parser.add_argument("first", help="folder of the weights after the first training run")
    parser.add_argument("--weights", help="the second run's; by default those that ship")
    parser.add_argument("--split", choices=("val", "test"), default="val")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    first, shipped = load_model(options.first), load_model(options.weights)
    windows = windows_benchmark.WindowSet.read(options.split)
    rows = measured_rows(first, shipped, windows, crops_benchmark.CropSet.read(options.split))
    name = f"windows_{options.split}.csv"
    command = f"python -m benchmarks.steps first --split {options.split}"
    publish(
        "steps",
        f"What each step brings ({options.split})",
        body(rows, first),
        Made(command, SEED, shipped.name, shipped.sha256, name, FROZEN[name]),
        split=options.split,
        headline="; ".join(f"{row[0]}: AUROC {row[1]}, pointing {row[2]}" for row in rows),
        write=not options.no_write,
    )


if __name__ == "__main__":
    main()
