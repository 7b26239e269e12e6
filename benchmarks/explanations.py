"""Benchmark of heat maps: which block and which method, measured on `val`; whether the maps follow the model.

    python -m benchmarks.explanations [--weights PATH] [--nodules 80] [--no-write]

One window a nodule of the frozen list of windows. For each map: how often its highest token touches the outline of at
least two readers (strict pointing game), the share of the map inside the outline, the fall of the logit when its top
tenth becomes lung (against random tokens), and the rank correlation with the maps of the same network with random
weights. The layer that the model card names is chosen from this table; `test` is never looked at here.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.lidc_data import FROZEN
from benchmarks.results_table import Made, markdown_table, replace_section, section
from benchmarks.scorers import Window
from benchmarks.windows import WindowSet
from imaging.explanation.faithfulness import deletion_test, randomization_test
from imaging.explanation.gradcam import METHODS, CamSettings, window_cams
from imaging.explanation.perturbation import occlusion_map
from imaging.models.scoring import window_inputs
from imaging.models.weights import LoadedModel, load_model

Maps = npt.NDArray[np.float32]
SEED = 0
#: Part of a token that must lie in the outline for the token to touch it.
TOUCHES = 0.1


@dataclass(frozen=True, eq=False)
class HeldWindows:
    """Windows that hold a nodule, as the network sees them, and which part of each token the nodule fills."""

    x: torch.Tensor
    filled: Maps

    @classmethod
    def read(cls, model: LoadedModel, nodules: int) -> HeldWindows:
        """One window for each of so many nodules of `val`."""
        chosen = WindowSet.read("val")
        rows = chosen.table[chosen.holds].drop_duplicates(["patient", "nodule"]).index[:nodules]
        places = [chosen.windows[chosen.table.index.get_loc(row)] for row in rows]
        x = torch.cat([window_inputs(model, w.stack.volume, [w.centre_mm]) for w in places])
        return cls(x, np.stack([_filled(w, model) for w in places]))


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
    return inside.reshape(side, pixels, side, pixels).mean(axis=(1, 3)).astype(np.float32)


def rows(model: LoadedModel, held: HeldWindows, *, repeats: int = 10) -> Iterator[list[str]]:
    """One row of the table for each map."""
    net, x = model.net, held.x
    with torch.no_grad():
        tokens = torch.cat([net.token_logits(part) for part in x.split(32)]).numpy()
    yield ["token logits", *_where(tokens - tokens.min(axis=(1, 2), keepdims=True), held), *_deleted(net, x, tokens)]
    blocks = len(net.vision.blocks)
    for method in METHODS:
        for block in range(blocks):
            settings = CamSettings(block, method)
            maps = np.concatenate([window_cams(net, part, settings=settings)[0] for part in x.split(32)])
            random = randomization_test(net, x, rng=np.random.default_rng(SEED), settings=settings)
            name = f"{method}, block {block + 1} of {blocks}"
            yield [
                name,
                *_where(maps, held),
                *_deleted(net, x, maps),
                f"{random.correlations[-1]:.2f}",
                f"{random.absolute[-1]:.2f}",
            ]
    occluded = occlusion_map(net, x, tokens=held.filled.shape[1:], rng=np.random.default_rng(SEED))
    yield ["occlusion", *_where(np.maximum(occluded, 0), held), *_deleted(net, x, occluded)]


def _where(maps: Maps, held: HeldWindows) -> list[str]:
    flat, filled = maps.reshape(len(maps), -1), held.filled.reshape(len(maps), -1)
    peak = filled[np.arange(len(flat)), flat.argmax(axis=1)] >= TOUCHES
    share = (flat * filled).sum(axis=1) / np.maximum(flat.sum(axis=1), 1e-9)
    return [f"{peak.mean():.2f}", f"{share.mean():.2f}"]


def _deleted(net: torch.nn.Module, x: torch.Tensor, maps: Maps) -> list[str]:
    result = deletion_test(net, x, rng=np.random.default_rng(SEED), maps=np.ascontiguousarray(maps))
    return [f"{result.fall_map:.2f}", f"{result.fall_random:.2f}", f"{result.p_value:.0e}"]


HEAD = ["map", "pointing", "inside", "fall", "fall, random", "p", "rank correlation", "its size"]


def main() -> None:
    """Print the table and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--nodules", type=int, default=80)
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    model = load_model(options.weights)
    held = HeldWindows.read(model, options.nodules)
    table = []
    for row in rows(model, held):
        table.append(row + [""] * (len(HEAD) - len(row)))
        print("  ".join(f"{cell:>24}" if n == 0 else f"{cell:>7}" for n, cell in enumerate(table[-1])), flush=True)
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
    body = f"{len(held.x)} windows of `val`, one a nodule.\n\n{markdown_table(HEAD, table)}"
    replace_section("explanations", section("Heat maps: block and method", body, made))


if __name__ == "__main__":
    main()
