"""Can a net tell simulated lesions from real ones? Those that arm B trains on, against nodules of patients held out.

    python -m benchmarks.discriminator [--steps 1500] [--no-write]

A small convolutional net sees squares of 16.8 mm, three slices deep, around real nodules of LIDC and around lesions
that `pipelines.preparation.synthesis` draws into windows without a nodule of the same crops. It learns on patients of
`train` and is judged on those of `val`. At 0.5 it cannot tell them apart; the goal is at most 0.7. So that a low figure
does not come from a weak net, the same net learns to find an artefact planted into half of the real squares, which it
must at 0.95 or more. Sizes, kinds and neighbourhoods are not matched: a difference in them is found like any other.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from benchmarks.comparison import RESAMPLES, SEED
from benchmarks.lidc_data import SHARED
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.upper_bound import window_masks
from imaging.evaluation.bootstrap import Interval, auroc_interval
from imaging.models.intensity import HU_HIGH, HU_LOW, from_bytes
from imaging.models.vision import VisionConfig
from imaging.provenance import file_sha256
from pipelines.preparation.lidc_crops import read_crops
from pipelines.preparation.synthesis import Lattice, draw_lesion
from pipelines.preparation.windows import cut_holding, free_windows

#: Side of a square in pixels of 0.7 mm, and how far from its middle the lesion may lie.
SIDE: Final = 24
JITTER: Final = 2
#: Windows cut of each nodule; for each of these, windows without one that are tried, and lesions drawn into each.
A_NODULE, FREE_TRIES, DRAWS = 12, 12, 6
#: A voxel that a drawn lesion changes by more belongs to it, HU.
CHANGED_HU: Final = 60.0
#: The artefact, a speck of 2 mm like a clip: so much denser, HU, and so wide, pixels.
ARTEFACT_HU, ARTEFACT_PIXELS = 400.0, 3
BATCH: Final = 64
GOAL, SURELY = 0.7, 0.95

#: Squares of one kind and of the other, so many of each.
Draw = Callable[[int, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, eq=False)
class Squares:
    """HU / 500 of squares (n, 3, `SIDE`, `SIDE`), and which of them are drawn together by the bootstrap."""

    images: torch.Tensor
    units: npt.NDArray[np.object_]


def real_squares(folder: Path, config: VisionConfig, rng: np.random.Generator, *, split: str) -> Squares:
    """Squares around nodules of two readers."""
    crops = read_crops(folder, split=split)
    images, poses = cut_holding(crops, config, rng, a_nodule=A_NODULE)
    inside = window_masks(crops, crops.agreed, poses, config) >= 0.5
    patients = crops.index.patient.to_numpy(dtype=object)[poses.row]
    squares, kept = _around(*_hu(images), inside, rng)
    return Squares(squares, patients[kept])


def simulated_squares(
    folder: Path, config: VisionConfig, rng: np.random.Generator, *, split: str, most: int
) -> Squares:
    """Squares around lesions drawn into windows without a nodule; those of one window are one unit."""
    crops = read_crops(folder, split=split)
    free = free_windows(crops, config, rng, number=FREE_TRIES * most)
    hu, present = _hu(free.images)
    squares, units = [], []
    for _ in range(DRAWS):
        drawn, visible, _ = draw_lesion(hu, Lattice.of(config, hu.device), rng)
        changed = (drawn - hu)[:, hu.shape[1] // 2].abs() > CHANGED_HU
        some, kept = _around(drawn, present & visible[:, None], changed, rng)
        squares.append(some)
        units += [f"simulated in {n}" for n in kept]
    order = rng.permutation(len(units))[:most]
    return Squares(torch.cat(squares)[torch.from_numpy(order)], np.array(units, dtype=object)[order])


def _hu(images: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """HU of stored windows, and which of their slices exist (n, slices)."""
    stored = torch.from_numpy(images)
    return from_bytes(stored), stored.flatten(2).amax(dim=2) > 0


def _around(
    hu: torch.Tensor, present: torch.Tensor, inside: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, npt.NDArray[np.int64]]:
    """Squares around the middle of what is `inside` (n, h, w), a little beside it, and which windows gave one."""
    middle, side = hu.shape[1] // 2, hu.shape[-1]
    three = present[:, middle - 1 : middle + 2].all(dim=1)
    squares, kept = [], []
    for number in torch.nonzero(three & inside.flatten(1).any(dim=1))[:, 0].tolist():
        at = torch.nonzero(inside[number]).float().mean(dim=0).numpy()
        row, column = np.rint(at + rng.uniform(-JITTER, JITTER, 2)).astype(int) - SIDE // 2
        if 0 <= row <= side - SIDE and 0 <= column <= side - SIDE:
            squares.append(hu[number, middle - 1 : middle + 2, row : row + SIDE, column : column + SIDE])
            kept.append(number)
    return torch.stack(squares).clamp(HU_LOW, HU_HIGH) / 500.0, np.array(kept, dtype=np.int64)


def with_artefact(squares: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Squares with a small dense square somewhere in each, in all three slices."""
    planted = squares.clone()
    for image in planted:
        row, column = rng.integers(0, SIDE - ARTEFACT_PIXELS, 2)
        image[:, row : row + ARTEFACT_PIXELS, column : column + ARTEFACT_PIXELS] += ARTEFACT_HU / 500.0
    return planted


def make_net() -> nn.Module:
    """Four convolutions and the mean and maximum over the square: 0.1 M parameters."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 32, 1), (32, 48, 2), (48, 64, 1), (64, 96, 2)):
        layers += [nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, _MeanAndMax(), nn.Linear(192, 1), nn.Flatten(0))


class _MeanAndMax(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.flatten(2)
        return torch.cat([flat.mean(dim=2), flat.amax(dim=2)], dim=1)


def told_apart(draw: Draw, judged: tuple[Squares, Squares], *, steps: int, seed: int) -> Interval:
    """AUROC on the judged squares of a net that learned to tell the two kinds apart that `draw` gives."""
    torch.manual_seed(seed)
    chance, net = torch.Generator().manual_seed(seed), make_net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    labels = torch.cat([torch.ones(BATCH // 2), torch.zeros(BATCH // 2)])
    for _ in range(steps):
        loss = cross_entropy(net(_turned(torch.cat(draw(BATCH // 2, chance)), chance)), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        pace.step()
    net.eval()
    with torch.inference_mode():
        scores = [net(each.images).numpy() for each in judged]
    truth = np.repeat([True, False], [len(each) for each in scores])
    units = np.concatenate([each.units for each in judged])
    rng = np.random.default_rng(seed)
    return auroc_interval(truth, np.concatenate(scores).astype(np.float64), units, count=RESAMPLES, rng=rng)


def between(one: Squares, other: Squares) -> Draw:
    """Draws of two sets."""

    def draw(count: int, chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return _some(one, count, chance), _some(other, count, chance)

    return draw


def planting(squares: Squares, rng: np.random.Generator) -> Draw:
    """Draws of one set, the artefact planted anew into the first of the two."""

    def draw(count: int, chance: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return with_artefact(_some(squares, count, chance), rng), _some(squares, count, chance)

    return draw


def _some(squares: Squares, count: int, chance: torch.Generator) -> torch.Tensor:
    return squares.images[torch.randint(len(squares.images), (count,), generator=chance)]


def _turned(images: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """The batch turned by a quarter and mirrored at random, all alike."""
    turns, mirror = (int(torch.randint(0, n, (1,), generator=chance)) for n in (4, 2))
    turned = torch.rot90(images, turns, (2, 3))
    return turned.flip(3) if mirror else turned


def half_with_artefact(squares: Squares, rng: np.random.Generator) -> tuple[Squares, Squares]:
    """One half of the units with the artefact, the other as it is."""
    names = np.unique(squares.units.astype(str))
    planted = np.isin(squares.units.astype(str), rng.permutation(names)[: len(names) // 2])
    marked = with_artefact(squares.images[torch.from_numpy(planted)], rng)
    return (
        Squares(marked, squares.units[planted]),
        Squares(squares.images[torch.from_numpy(~planted)], squares.units[~planted]),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both nets and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.discriminator", description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    folder, config = SHARED / "lidc_crops", VisionConfig()
    rng = np.random.default_rng(options.seed)
    real = {split: real_squares(folder, config, rng, split=split) for split in ("train", "val")}
    made_up = {
        split: simulated_squares(folder, config, rng, split=split, most=len(each.images))
        for split, each in real.items()
    }
    steps, seed = options.steps, options.seed
    lesions = told_apart(
        between(real["train"], made_up["train"]), (real["val"], made_up["val"]), steps=steps, seed=seed
    )
    halves = half_with_artefact(real["val"], rng)
    artefact = told_apart(planting(real["train"], rng), halves, steps=steps, seed=seed)
    rows = [
        ("simulated lesions against real ones", f"{lesions:.3f}", f"<= {GOAL:g}", _met(lesions.value <= GOAL)),
        ("a planted artefact, the same net", f"{artefact:.3f}", f">= {SURELY:g}", _met(artefact.value >= SURELY)),
    ]
    real_counts, made_counts = (f"{len(s['train'].images)} and {len(s['val'].images)}" for s in (real, made_up))
    text = (
        f"Squares of `train` to learn from and of `val` to judge on: {real_counts} real, {made_counts} simulated. "
        "95 % intervals by bootstrap over patients.\n\n"
    ) + markdown_table(("told apart", "AUROC", "goal", ""), rows)
    made = Made(
        f"python -m benchmarks.discriminator --steps {options.steps}",
        options.seed,
        "none",
        "-" * 16,
        "lidc_crops/crops.csv",
        file_sha256(folder / "crops.csv"),
    )
    headline = f"{lesions.value:.3f}"
    publish(
        "discriminator",
        "Simulated lesions against real ones (val)",
        text,
        made,
        split="val",
        headline=headline,
        write=not options.no_write,
    )


def _met(met: bool) -> str:
    return "met" if met else "missed"


if __name__ == "__main__":
    main()
