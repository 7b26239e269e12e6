"""Benchmark of heat maps: which block and which method, measured on `val`; whether the maps follow the model.

    python -m benchmarks.explanations [--weights PATH] [--nodules 80] [--no-write]

Position, on every frozen window that holds a nodule, one vote a nodule: how often the highest place of a map lies in
the outline of at least two readers (strict pointing game), also for nodules under 8 mm, its distance from the middle of
the outline, and the same for one plain window without its mirrors. Faithfulness, on one window a nodule: the part of
the map inside the outline, the fall of the logit when its top tenth becomes lung (against random tokens), and the rank
correlation with the maps of the same network with random weights (its size, mean of three draws). The manifest names
the block and method that point best among those that pass both tests of faithfulness; `test` is never looked at here.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.lidc_data import FROZEN
from benchmarks.results_table import Made, markdown_table, replace_section, section
from benchmarks.scorers import Point, Window
from benchmarks.windows import Pointed, WindowSet
from imaging.explanation.faithfulness import (
    LARGEST_CORRELATION,
    LARGEST_P,
    DeletionResult,
    deletion_test,
    randomized,
    rank_correlations,
)
from imaging.explanation.perturbation import occlusion_map
from imaging.models.cams import FINE, METHODS, CamSettings, all_cams, peak_offsets_mm, plain_cams, token_means
from imaging.models.scoring import window_inputs
from imaging.models.weights import LoadedModel, load_model

Maps = npt.NDArray[np.float32]
SEED: Final = 0
SMALL_MM: Final = 8.0
#: Random choices that a deletion is compared with.
REPEATS: Final = 4
#: Draws of random weights.
DRAWS: Final = 3
#: Windows through the network at a time where no gradient is needed.
BATCH: Final = 32


@dataclass(frozen=True, eq=False)
class HeldWindows:
    """The windows of `val` that hold a nodule, as the network sees them.

    Args:
        windows: where they lie; `x` their inputs, (n, slices, h, w).
        votes: windows of a nodule share one.
        small: whether the nodule is under 8 mm.
        first: index of one window of each of some nodules, for the tests of faithfulness.
        filled: (first, th, tw), which part of each token of those at least two readers outlined.
    """

    windows: tuple[Window, ...]
    x: torch.Tensor
    votes: npt.NDArray[np.float64]
    small: npt.NDArray[np.bool_]
    first: npt.NDArray[np.int64]
    filled: Maps

    @classmethod
    def read(cls, model: LoadedModel, nodules: int) -> HeldWindows:
        """All of them; so many nodules for the tests of faithfulness."""
        chosen = WindowSet.read("val")
        held = np.flatnonzero(chosen.holds)
        table = chosen.table.iloc[held].reset_index(drop=True)
        windows = tuple(chosen.windows[n] for n in held)
        x = torch.cat([window_inputs(model, w.stack.volume, [w.centre_mm]) for w in windows])
        first = table.drop_duplicates(["patient", "nodule"]).index.to_numpy()[:nodules]
        filled = np.stack([_filled(windows[n], model) for n in first])
        return cls(windows, x, chosen.votes[held], table.diameter_mm.to_numpy() < SMALL_MM, first, filled)

    def pointing(self, offsets_mm: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        """Share of nodules hit, of those under 8 mm, and median error in mm, of offsets (n, 2) in x and y."""
        points = [_moved(window.centre_mm, offset) for window, offset in zip(self.windows, offsets_mm, strict=True)]
        judged = Pointed.of(self.windows, points)
        hit, small = (float(np.average(judged.hit[k], weights=self.votes[k])) for k in (slice(None), self.small))
        return hit, small, float(np.median(judged.error_mm))


def _moved(centre_mm: Point, offset_mm: npt.NDArray[np.float64]) -> Point:
    return centre_mm[0] + float(offset_mm[0]), centre_mm[1] + float(offset_mm[1]), centre_mm[2]


def _filled(window: Window, model: LoadedModel) -> Maps:
    """Share of each token of a window that at least two readers outlined."""
    from scipy import ndimage

    config = model.net.vision.config
    along = (np.arange(config.window_pixels) - (config.window_pixels - 1) / 2) * config.pixel_mm
    points = np.zeros((config.window_pixels, config.window_pixels, 3))
    points[..., 0], points[..., 1] = along, along[:, None]
    index = window.stack.volume.grid.to_index(points + np.asarray(window.centre_mm))
    region = window.stack.agreed[window.slice_index].astype(np.float32)
    inside = ndimage.map_coordinates(region, [index[..., 1], index[..., 2]], order=1, mode="constant")
    pixels = round(config.token_mm / config.pixel_mm)
    side = config.window_pixels // pixels
    filled: Maps = inside.reshape(side, pixels, side, pixels).mean(axis=(1, 3)).astype(np.float32)
    return filled


@dataclass(frozen=True)
class MapFigures:
    """All figures of one kind of map.

    Args:
        name: for the table.
        mirrored: pointing, pointing under 8 mm and median error in mm of its highest place.
        plain: the same for one window, each token where the net says it speaks of.
        inside: mean share of the map within the outline.
        deletion: fall of the logit.
        correlation: size of the mean rank correlation with the maps of random weights, mean over draws of the weights;
            None where there are none.
        settings: None for what is no class activation map.
    """

    name: str
    mirrored: tuple[float, float, float]
    plain: tuple[float, float, float] | None
    inside: float
    deletion: DeletionResult
    correlation: float | None
    settings: CamSettings | None = None

    @property
    def faithful(self) -> bool:
        """Whether both bars are met."""
        random = self.correlation is not None and self.correlation <= LARGEST_CORRELATION
        return random and self.deletion.p_value < LARGEST_P and self.deletion.fall_map > self.deletion.fall_random

    def row(self) -> list[str]:
        """Its line of the table."""
        hit, small, error = self.mirrored
        before = "" if self.plain is None else f"{self.plain[0]:.3f} / {self.plain[1]:.3f} / {self.plain[2]:.2f}"
        fall = f"{self.deletion.fall_map:.2f} / {self.deletion.fall_random:.2f}"
        random = "" if self.correlation is None else f"{self.correlation:.2f}"
        mark = "yes" if self.faithful else "" if self.correlation is None else "no"
        return [
            self.name,
            f"{hit:.3f}",
            f"{small:.3f}",
            f"{error:.2f}",
            before,
            f"{self.inside:.2f}",
            fall,
            f"{self.deletion.p_value:.0e}",
            random,
            mark,
        ]


HEAD: Final = (
    "map",
    "pointing",
    "under 8 mm",
    "error, mm",
    "one window: pointing / under 8 mm / error",
    "inside",
    "fall / at random",
    "p",
    "rank correlation",
    "faithful",
)


def cam_figures(model: LoadedModel, held: HeldWindows) -> list[MapFigures]:
    """Every block with every method."""
    net, blocks = model.net, len(model.net.vision.blocks)
    many = [CamSettings(block, method) for method in METHODS for block in range(blocks)]
    config = net.vision.config
    maps, _ = all_cams(net, held.x, many)
    once = np.concatenate([plain_cams(net, part, many)[0] for part in torch.split(held.x, BATCH)], axis=1)
    randoms = [randomized(net, np.random.default_rng([SEED, draw])) for draw in range(DRAWS)]
    others = np.stack([all_cams(each, held.x[held.first], many)[0] for each in randoms], axis=1)
    figures = []
    for settings, fine, plain, random in zip(many, maps, once, others, strict=True):
        own = token_means(fine[held.first])
        ranks = [np.nan_to_num(rank_correlations(own, token_means(draw))).mean() for draw in random]
        figures.append(
            MapFigures(
                f"{METHODS[settings.method]}, block {settings.block + 1} of {blocks}",
                held.pointing(peak_offsets_mm(fine, part_mm=config.token_mm / FINE)),
                held.pointing(peak_offsets_mm(plain, part_mm=config.token_mm) + config.token_shift_mm),
                _inside(own, held.filled),
                _deleted(net, held, own),
                float(np.mean(np.abs(ranks))),
                settings,
            )
        )
        print("  ".join(figures[-1].row()), flush=True)
    return figures


def other_figures(model: LoadedModel, held: HeldWindows) -> list[MapFigures]:
    """What the maps are compared with: the tokens' own logits, and occlusion, which needs no gradient."""
    net, config = model.net, model.net.vision.config
    with torch.no_grad():
        tokens = torch.cat([net.token_logits(part) for part in torch.split(held.x, BATCH)]).numpy()
    above = tokens - tokens.min(axis=(1, 2), keepdims=True)
    plain = held.pointing(peak_offsets_mm(tokens, part_mm=config.token_mm) + config.token_shift_mm)
    own = tokens[held.first]
    first = MapFigures(
        "token logits, one window", plain, None, _inside(above[held.first], held.filled), _deleted(net, held, own), None
    )
    x = held.x[held.first]
    occluded = occlusion_map(net, x, tokens=own.shape[1:], rng=np.random.default_rng(SEED))
    inside = _inside(np.maximum(occluded, 0), held.filled)
    nowhere = (float("nan"),) * 3
    return [first, MapFigures("occlusion", nowhere, None, inside, _deleted(net, held, occluded), None)]


def _inside(maps: Maps, filled: Maps) -> float:
    flat, part = maps.reshape(len(maps), -1), filled.reshape(len(maps), -1)
    return float(((flat * part).sum(axis=1) / np.maximum(flat.sum(axis=1), 1e-9)).mean())


def _deleted(net: torch.nn.Module, held: HeldWindows, maps: Maps) -> DeletionResult:
    kept = np.ascontiguousarray(maps)
    rng = np.random.default_rng(SEED)
    return deletion_test(net, held.x[held.first], rng=rng, maps=kept, repeats=REPEATS)


def best(figures: Sequence[MapFigures]) -> MapFigures:
    """The one that points best among those that are faithful."""
    return max((f for f in figures if f.faithful), key=lambda f: (f.mirrored[0], -f.mirrored[2]))


def main() -> None:
    """Print the table and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--nodules", type=int, default=80)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    model = load_model(options.weights)
    held = HeldWindows.read(model, options.nodules)
    figures = cam_figures(model, held)
    chosen = best(figures)
    table = [figure.row() for figure in [*other_figures(model, held), *figures]]
    print(f"the best faithful one: {chosen.settings}")
    if options.no_write:
        return
    made = Made(
        command=f"python -m benchmarks.explanations --nodules {options.nodules}",
        seed=SEED,
        weights_name=model.name,
        weights_sha256=model.sha256,
        data="windows_val.csv",
        data_sha256=FROZEN["windows_val.csv"],
    )
    shipped = CamSettings.of_model(model)
    body = (
        f"Position on {len(held.x)} windows of `val`, one vote a nodule; faithfulness on {len(held.first)}, one a "
        f"nodule. Best among the faithful ones: {chosen.name}. The manifest names "
        f"{METHODS[shipped.method]} of block {shipped.block % len(model.net.vision.blocks) + 1}.\n\n"
        + markdown_table(HEAD, table)
    )
    replace_section("explanations", section("Heat maps: block and method (val)", body, made))


if __name__ == "__main__":
    main()
