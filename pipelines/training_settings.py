"""What a training run is asked for: options, a file of settings, and the recipe that follows from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imaging.errors import UsageError
from imaging.io.texts import open_text
from imaging.models.text import TextConfig
from imaging.models.vision import VisionConfig
from pipelines.allowed import COUNT, MORE_THAN_0, SEED, SHARE, Allowed

if TYPE_CHECKING:
    from imaging.training.recipe import Recipe

#: Windows a step on a CPU and on a GPU, and the rates that trained well with them.
CPU_BATCH, CPU_RATE = 64, 1e-3
GPU_BATCH, GPU_RATE = 1024, 2e-3
#: Settings that a file may have for the run as a whole; those of a recipe stand in a table of their own.
RUN_SETTINGS = ("rounds", "shortest_round", "patience")
#: Which numbers the settings of a recipe may be.
RECIPE_NUMBERS: Final = {
    "batch": COUNT,
    "rate": MORE_THAN_0,
    "weight_decay": Allowed(0.0, whole=False),
    "warmup": Allowed(0),
    "ema": SHARE,
    "positives": SHARE,
}


@dataclass(frozen=True)
class TrainOptions:
    """How a run is trained; what is None follows from the device.

    Args:
        vision, text: size of the towers.
        batch: windows a step.
        rate: highest learning rate.
        rounds: a run is cut into so many parts of equal length, or fewer,
        shortest_round: so that none has fewer steps than this, unless the run has.
        minutes: train for so long, everything included, and not a number of steps.
        precision: ``auto``, ``32``, ``bf16`` or ``fp16``.
        patience: end after so many rounds in which validation got no better, and ship the best round.
        start: weights to begin with, as `imaging.models.weights.load_model` takes them.
        recipe: other fields of `imaging.training.recipe.Recipe`.
        pace: of an earlier run, to be kept again; steps and rounds follow from it.
        repeats_sha256: of the weights of that run.
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    batch: int | None = None
    rate: float | None = None
    rounds: int = 20
    shortest_round: int = 25
    minutes: float | None = None
    precision: str = "auto"
    patience: int | None = None
    start: str | Path | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    pace: Mapping[str, Any] | None = None
    repeats_sha256: str | None = None

    def __post_init__(self) -> None:
        COUNT.check("rounds", self.rounds)
        COUNT.check("shortest_round", self.shortest_round)
        optional = {"minutes": MORE_THAN_0, "patience": COUNT, "batch": COUNT, "rate": MORE_THAN_0}
        for name, allowed in optional.items():
            if (value := getattr(self, name)) is not None:
                allowed.check(name, value)


def make_recipe(options: TrainOptions, *, steps: int, seed: int, device: str) -> Recipe:
    """The recipe of a run.

    Raises:
        UsageError: ``usage.option`` for a number that cannot be, ``train.recipe`` for a setting that does not exist.
    """
    from imaging.training.recipe import Recipe

    COUNT.check("steps", steps)
    SEED.check("seed", seed)
    on_gpu = device.partition(":")[0] == "cuda"
    asked = {
        "batch": options.batch,
        "rate": options.rate,
        "precision": None if options.precision == "auto" else options.precision,
    }
    values: dict[str, Any] = {
        "batch": GPU_BATCH if on_gpu else CPU_BATCH,
        "rate": GPU_RATE if on_gpu else CPU_RATE,
        "warmup": max(1, min(200, steps // 10)),
        "precision": "bf16" if on_gpu else "32",
        **options.recipe,
        **{name: value for name, value in asked.items() if value is not None},
    }
    _check_names(values, {f.name for f in fields(Recipe)} - {"steps", "seed"})
    for name in RECIPE_NUMBERS.keys() & values.keys():
        RECIPE_NUMBERS[name].check(name, values[name])
    return Recipe(0 if options.minutes is not None else steps, seed=seed, **values)


def read_settings(path: Path, options: TrainOptions) -> tuple[TrainOptions, dict[str, int]]:
    """A file of settings over `options`: a JSON, or the ``run.json`` that an earlier run left.

    ``recipe`` has fields of `imaging.training.recipe.Recipe`, ``network`` those of the two towers; ``rounds``,
    ``shortest_round`` and ``patience`` stand beside them. Of a ``run.json`` the pace is kept too, step by step.

    Returns:
        The options, and what the file says of ``steps`` and ``seed``.

    Raises:
        InputError: what `open_text` refuses it with.
        UsageError: ``train.recipe``.
    """
    from imaging.training.losses import LossWeights

    try:
        with open_text(path) as stream:
            values = json.load(stream)
        recipe = dict(values.get("recipe", {}))
        network = values.get("network", {})
        vision = VisionConfig(**network["vision"]) if "vision" in network else options.vision
        text = TextConfig(**network["text"]) if "text" in network else options.text
        if "weights" in recipe:
            recipe["weights"] = LossWeights(**recipe["weights"])
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise UsageError("train.recipe", f"{type(error).__name__}: {error}", where=path) from error
    begun = "weights_sha256" in values
    if not begun:
        _check_names(values, {"recipe", "network", *RUN_SETTINGS}, where=path)
    whole = {name: value for name in ("steps", "seed") if (value := recipe.pop(name, None)) is not None}
    if begun and whole.get("steps") == 0:  # a timed run: its pace says how many
        del whole["steps"]
    run = {name: values[name] for name in RUN_SETTINGS if name in values}
    kept = {"pace": values["pace"], "repeats_sha256": values["weights_sha256"]} if begun and "pace" in values else {}
    return replace(options, vision=vision, text=text, recipe=recipe, **kept, **run), whole


def _check_names(values: Mapping[str, Any], known: set[str], *, where: Path | None = None) -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(
            "train.recipe", f"unknown: {', '.join(unknown)}; known: {', '.join(sorted(known))}", where=where
        )
