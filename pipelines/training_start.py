"""What a run begins with: a net, fresh or from weights, and a pace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imaging.errors import UsageError
from imaging.training.pace import Pace, StepPace, TimedPace, noted_pace
from pipelines.training_settings import TrainOptions

if TYPE_CHECKING:
    from imaging.models.network import NoduleNet
    from imaging.training.processes import Processes
    from imaging.training.recipe import Recipe


def net_to_train(options: TrainOptions, seed: int) -> tuple[NoduleNet, TrainOptions, dict[str, Any] | None]:
    """The net to train, fresh or from weights; the options with its sizes; where it came from."""
    import torch

    from imaging.models.network import NoduleNet
    from imaging.models.weights import load_model
    from imaging.training.wordings import wordings

    if options.start is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return NoduleNet.fresh(options.vision, options.text, texts=wordings().texts()), options, None
    model = load_model(options.start)
    sized = replace(options, vision=model.net.vision.config, text=model.net.text.config)
    return model.net, sized, {"name": model.name, "sha256": model.sha256}


def chosen_pace(options: TrainOptions, recipe: Recipe, processes: Processes, started_s: float) -> Pace:
    """By the clock, as in an earlier run, or by steps.

    Raises:
        UsageError: ``train.recipe`` for a pace of an earlier run that cannot be kept.
    """
    if options.minutes is not None:
        return TimedPace(
            60 * options.minutes, started=started_s, rounds=options.rounds, agree=_agree_on_time(processes)
        )
    if options.pace is not None:
        return _kept_pace(options.pace)
    length = max(options.shortest_round, -(-recipe.steps // options.rounds))
    return StepPace(recipe.steps, warmup=recipe.warmup, length=length)


def _kept_pace(noted: Mapping[str, Any]) -> Pace:
    """The pace that a record noted; one without a step would end with nothing trained and no round to tell of.

    Raises:
        UsageError: ``train.recipe``.
    """
    try:
        pace = noted_pace(dict(noted))
        over = pace.over(0)
    except (LookupError, TypeError, ValueError) as error:
        text = f"pace: {type(error).__name__}: {error}; it must be as nodulus train wrote it"
        raise UsageError("train.recipe", text) from error
    if over:
        raise UsageError("train.recipe", f"pace: {pace.to_json()} has no step")
    return pace


def _agree_on_time(processes: Processes) -> Callable[[list[float]], list[float]]:
    """All processes go by the first one's clock, which is looked at when its GPU has done what it was told."""
    import torch

    def agree(values: list[float]) -> list[float]:
        if processes.device.type == "cuda":
            torch.cuda.synchronize(processes.device)
        return list(processes.agreed(values))

    return agree
