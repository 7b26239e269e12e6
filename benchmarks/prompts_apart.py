"""Text benchmark: does a prompt's map go to the right one of two different lesions in one scan?

    python -m benchmarks.prompts_apart [--scans 12] [--weights PATH] [--no-write]

Each simulated chest holds two lesions of one size that differ in one thing: ground-glass and solid, calcified and
solid, spiculated and smooth, or one three times as wide as the other. Both are looked at as `nodulus explain` does, by
the same code, with the lungs cut down to what lies within 32 mm of a lesion. The value of a lesion is the highest
similarity within its outline and one token around it. A prompt is right where its value is higher at the lesion that
has what it names. Since one lesion may simply be more conspicuous, both prompts of a pair are asked: "both right" needs
the map to move from the one to the other; chance is 1/4. Prompts are held out: none is a sentence of training.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from benchmarks.results_table import Made, markdown_table, publish
from imaging.geometry import Volume
from imaging.preprocessing.lungs import Lungs, find_lungs
from imaging.simulation.lesions import NoduleWish, PlantedNodule
from imaging.simulation.thorax import simulate_thorax

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel

FAMILY: Final = 20_261_124
REACH_MM: Final = 32.0


@dataclass(frozen=True)
class Pair:
    """Two lesions, and a prompt that names each.

    Args:
        name: for the table.
        first, second: what is planted.
        prompts: one for the first, one for the second.
    """

    name: str
    first: NoduleWish
    second: NoduleWish
    prompts: tuple[str, str]


PAIRS: Final = (
    Pair(
        "ground-glass / solid",
        NoduleWish(14.0, "ground-glass"),
        NoduleWish(14.0, "solid"),
        ("today's CT demonstrates a ground-glass pulmonary nodule", "today's CT demonstrates a solid pulmonary nodule"),
    ),
    Pair(
        "calcified / solid",
        NoduleWish(10.0, "calcified"),
        NoduleWish(10.0, "solid"),
        (
            "today's CT demonstrates a calcified pulmonary nodule",
            "today's CT demonstrates a noncalcified pulmonary nodule",
        ),
    ),
    Pair(
        "spiculated / smooth",
        NoduleWish(14.0, "solid", "spiculated"),
        NoduleWish(14.0, "solid", "round"),
        ("today's CT demonstrates a spiculated pulmonary nodule", "today's CT demonstrates a smooth pulmonary nodule"),
    ),
    Pair(
        "large / small",
        NoduleWish(21.0),
        NoduleWish(7.0),
        ("today's CT demonstrates a large pulmonary nodule", "today's CT demonstrates a small pulmonary nodule"),
    ),
)


def make_scan(pair: Pair, number: int) -> tuple[Volume, tuple[PlantedNodule, PlantedNodule]]:
    """A chest with both lesions; the first has the first wish."""
    rng = np.random.default_rng([FAMILY, PAIRS.index(pair), number])
    thorax = simulate_thorax(
        rng=rng, shape=(100, 320, 320), spacing_mm=(2.5, 1.0, 1.0), nodules=[pair.first, pair.second]
    )
    wish = pair.first
    alike = [(n.kind, n.outline) == (wish.kind, wish.outline) for n in thorax.nodules]
    if all(alike):
        alike = [abs(n.diameter_mm - wish.diameter_mm) < 2.0 for n in thorax.nodules]
    one = alike.index(True)
    return thorax.volume, (thorax.nodules[one], thorax.nodules[1 - one])


def near(lungs: Lungs, nodules: Sequence[PlantedNodule]) -> Lungs:
    """The part of the lungs within `REACH_MM` of a nodule."""
    labels = np.zeros_like(lungs.labels)
    for nodule in nodules:
        reach = np.ceil(REACH_MM / np.asarray(lungs.grid.spacing_mm)).astype(int)
        middle = np.rint(lungs.grid.to_index(nodule.centre_mm)).astype(int)
        low, high = np.maximum(middle - reach, 0), middle + reach + 1
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        labels[box] = lungs.labels[box]
    return Lungs(labels, lungs.grid, float((labels > 0).sum() * lungs.grid.voxel_volume_mm3 / 1000))


def value_at(token_map: TokenMap, prompt: str, nodule: PlantedNodule) -> float:
    """The highest logit of a prompt in a nodule and one token around it; -inf where nothing was looked at."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in token_map.grid.shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(token_map.grid.to_mm(index) - np.asarray(nodule.centre_mm), axis=-1)
    values = token_map.similarity[prompt][distance <= nodule.diameter_mm / 2 + token_map.grid.spacing_mm[1]]
    return float(np.nanmax(values)) if np.isfinite(values).any() else -np.inf


def right(model: LoadedModel, pair: Pair, number: int) -> tuple[bool, bool]:
    """Whether each prompt of a pair is higher at its own lesion."""
    from imaging.models.scoring import score_volume

    volume, nodules = make_scan(pair, number)
    token_map = score_volume(model, volume, near(find_lungs(volume), nodules), prompts=pair.prompts)
    values = [[value_at(token_map, prompt, nodule) for nodule in nodules] for prompt in pair.prompts]
    return values[0][0] > values[0][1], values[1][1] > values[1][0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompts_apart", description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=12, help="scans a pair")
    parser.add_argument("--weights", type=Path, help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    from imaging.models.weights import load_model

    model = load_model(options.weights)
    rows = []
    for pair in PAIRS:
        found = np.array([right(model, pair, number) for number in range(options.scans)])
        shares = [*found.mean(axis=0), found.all(axis=1).mean()]
        rows.append((pair.name, *(f"“{p}”" for p in pair.prompts), *(f"{share:.2f}" for share in shares)))
        print(rows[-1], flush=True)
    made = Made(
        f"python -m benchmarks.prompts_apart --scans {options.scans}",
        FAMILY,
        model.name,
        model.sha256,
        "simulated chests",
        "-" * 16,
    )
    text = f"{options.scans} simulated chests a pair; share in which a prompt's map goes to the right lesion.\n\n"
    header = ("lesions", "first prompt", "second prompt", "first right", "second right", "both right (chance 0.25)")
    text += markdown_table(header, rows)
    headline = "; ".join(f"{row[0]} {row[-1]}" for row in rows)
    publish(
        "prompts-apart",
        "Prompts between two lesions",
        text,
        made,
        split="simulated",
        headline=headline,
        write=not options.no_write,
    )


if __name__ == "__main__":
    main()
