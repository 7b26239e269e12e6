"""From a table of cases with image-level labels to weights that ``--weights`` takes.

A run goes in rounds of equal length. Before each, the windows of scans that hold a nodule are chosen anew by what the
net has learned; after each, it is validated and a checkpoint is written, from which a stopped run goes on bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import InputError, OutputError, UsageError
from imaging.io.atomic import atomic_path, write_bytes, write_text
from imaging.models.text import TextConfig
from imaging.models.vision import VisionConfig
from imaging.provenance import creation_time, file_sha256, library_versions, software_version
from pipelines.training_data import TrainingData, gather

if TYPE_CHECKING:
    from imaging.training.engine import Trainer

NAME = "trained"
CHECKPOINT = "checkpoint.safetensors"
CACHE = "cache"


@dataclass(frozen=True)
class TrainOptions:
    """What the command line does not ask for.

    Args:
        vision, text: size of the towers.
        batch: windows a step.
        rate: highest learning rate.
        rounds: a run is cut into so many parts of equal length, or fewer,
        shortest_round: so that none has fewer steps than this, unless the run has.
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    batch: int = 64
    rate: float = 1e-3
    rounds: int = 20
    shortest_round: int = 25


def train_to_folder(
    manifest: str | Path,
    output: str | Path,
    *,
    steps: int = 4000,
    seed: int = 0,
    device: str = "cpu",
    resume: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    options: TrainOptions | None = None,
) -> dict[str, Any]:
    """Train a model and write a run folder: weights and ``manifest.json``, ``run.json``, a checkpoint, a cache.

    Args:
        manifest: the table of cases, see `imaging.training.manifest`.
        output: the run folder.
        steps: of the optimizer in all; they decide the schedule.
        seed: of the weights, the batches and the augmentation.
        device: as torch names it.
        resume: go on from the folder's checkpoint.
        on_progress: called as (steps done, steps); may raise to cancel, and the run can be resumed.
        options: sizes and rates.

    Returns:
        name and sha256 of the weights, the last metrics, and what calibration rests on.

    Raises:
        InputError: what `pipelines.training_data.gather` raises; ``train.changed`` where a run cannot be resumed.
        UsageError: ``train.no_checkpoint``, ``usage.option``.
        OutputError: ``output.exists`` and what writing raises.
    """
    from imaging.training.bags import joined_cases

    chosen, folder = options or TrainOptions(), Path(output)
    if steps < 1:
        raise UsageError("usage.option", f"steps must be at least 1, not {steps}")
    _check_folder(folder, resume=resume)
    data = gather(Path(manifest), folder / CACHE, chosen.vision, on_row=_at_the_start(on_progress, steps))
    trainer = _fresh(joined_cases(data.windows, data.bags), chosen, steps, seed, device)
    identity = _identity(trainer, data, chosen, device)
    history = _go_on(trainer, folder / CHECKPOINT, identity) if resume else []
    length = max(chosen.shortest_round, -(-steps // chosen.rounds))
    while trainer.step < steps:
        history.append(_one_round(trainer, data, length, on_progress))
        with atomic_path(folder / CHECKPOINT) as unfinished:
            trainer.save(unfinished, notes={"identity": _stable(identity), "history": json.dumps(history)})
        if on_progress is not None:
            on_progress(trainer.step, steps)
    return _finish(trainer, data, folder, identity, history)


def _check_folder(folder: Path, *, resume: bool) -> None:
    if resume and not (folder / CHECKPOINT).is_file():
        raise UsageError("train.no_checkpoint", f"there is no {CHECKPOINT}", where=folder)
    if not resume and folder.is_dir() and any(path.name != CACHE for path in folder.iterdir()):
        raise OutputError("output.exists", "the folder exists and is not empty", where=folder)


def _at_the_start(on_progress: Callable[[int, int], None] | None, steps: int) -> Callable[[int, int], None] | None:
    """Reading is not counted as training, but can be cancelled."""
    return None if on_progress is None else lambda done, total: on_progress(0, steps)


def _fresh(cases: Any, options: TrainOptions, steps: int, seed: int, device: str) -> Trainer:
    import torch

    from imaging.models.network import NoduleNet
    from imaging.training.engine import Recipe, Trainer

    torch.manual_seed(seed)
    net = NoduleNet.fresh(options.vision, options.text)
    recipe = Recipe(steps, batch=options.batch, rate=options.rate, warmup=max(1, min(200, steps // 10)), seed=seed)
    return Trainer(net, cases, recipe, device=device)


def _one_round(
    trainer: Trainer, data: TrainingData, length: int, on_progress: Callable[[int, int], None] | None
) -> dict[str, Any]:
    """Choose windows, train, validate: one line of the history."""
    total = trainer.recipe.steps
    if any(bag.labels[0] >= 0.5 for bag in data.bags):
        trainer.relabel(_labels(trainer, data, trainer.step // length))
    on_step = None if on_progress is None else lambda done, steps, parts: on_progress(done, steps)
    losses = trainer.run(min(length, total - trainer.step), on_step=on_step)
    return {"step": trainer.step, **losses, **_metrics(_validation(trainer, data))}


def _labels(trainer: Trainer, data: TrainingData, round_number: int) -> Any:
    """Labels of all windows: prepared ones as they are, those of scans by what the net finds suspicious."""
    import numpy as np

    from imaging.training.bags import label_windows
    from imaging.training.engine import suspicion

    labels = [cases.labels for cases in data.windows]
    for bag in data.bags:
        logits = None
        if bag.labels[0] >= 0.5:
            logits = suspicion(trainer.mean, bag.windows, device=str(trainer.device))
        labels.append(label_windows(bag, logits, round_number))
    return np.concatenate(labels)


# --- validation ------------------------------------------------------------------------------------------------------


def _validation(trainer: Trainer, data: TrainingData) -> dict[str, tuple[Any, Any]]:
    """Logits and outcomes of validation cases: of windows, and of whole scans by their most suspicious window."""
    import numpy as np

    from imaging.training.engine import suspicion, window_logits

    device, found = str(trainer.device), {}
    if data.val_windows:
        logits = np.concatenate([window_logits(trainer.mean, s, device=device).numpy() for s in data.val_windows])
        labels = np.concatenate([s.labels[:, 0] for s in data.val_windows])
        known = ~np.isnan(labels)
        found["windows"] = (logits[known], labels[known] >= 0.5)
    if data.val_bags:
        scans = [float(suspicion(trainer.mean, bag.windows, device=device).max()) for bag in data.val_bags]
        found["scans"] = (np.array(scans), np.array([bag.labels[0] >= 0.5 for bag in data.val_bags]))
    return found


def _metrics(validation: dict[str, tuple[Any, Any]]) -> dict[str, float | None]:
    import math

    from imaging.evaluation.auroc import RankedScores

    areas = {kind: RankedScores(right, logits).auroc() for kind, (logits, right) in validation.items()}
    return {f"auroc_val_{kind}": None if math.isnan(area) else area for kind, area in areas.items()}


def _calibration(validation: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """The line from logit to score, by Platt on validation windows, else on validation scans, else none."""
    from imaging.evaluation.calibration import fit_platt

    for kind, (logits, right) in validation.items():
        if right.any() and not right.all():
            slope, offset = fit_platt(logits, right)
            if slope > 0:
                return {"slope": slope, "offset": offset, "fitted_on": f"{len(right)} validation {kind}"}
    return {"slope": 1.0, "offset": 0.0, "fitted_on": "nothing: scores are not calibrated"}


# --- what a run leaves behind ----------------------------------------------------------------------------------------


def _identity(trainer: Trainer, data: TrainingData, options: TrainOptions, device: str) -> dict[str, Any]:
    """Everything that decides the bytes of the weights, besides the versions of the libraries."""
    return {
        "recipe": trainer.recipe.to_json(),
        "network": {"vision": options.vision.to_json(), "text": options.text.to_json()},
        "rounds": [options.rounds, options.shortest_round],
        "device": device.split(":")[0],
        "cases": data.identity,
    }


def _stable(values: Any) -> str:
    return json.dumps(values, sort_keys=True)


def _go_on(trainer: Trainer, checkpoint: Path, identity: dict[str, Any]) -> list[dict[str, Any]]:
    """Load the checkpoint of the same run; its history."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, "pt") as stored:
            notes = stored.metadata()
        begun, history, step = json.loads(notes["identity"]), json.loads(notes["history"]), int(notes["step"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError("train.no_checkpoint", f"{CHECKPOINT} cannot be read: {error}", where=checkpoint) from error
    changed = sorted(key for key in identity if _stable(identity[key]) != _stable(begun.get(key)))
    if changed:
        raise InputError("train.changed", f"not what the run was begun with: {', '.join(changed)}", where=checkpoint)
    trainer.load(checkpoint, step=step)
    return list(history)


def _finish(
    trainer: Trainer, data: TrainingData, folder: Path, identity: dict[str, Any], history: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the weights, their manifest and the record of the run."""
    from safetensors.torch import save

    weights = folder / f"{NAME}.safetensors"
    # Not by save_file, whose files only their owner can read.
    write_bytes(weights, save({k: v.contiguous().cpu() for k, v in trainer.mean.state_dict().items()}))
    sha256 = file_sha256(weights)
    calibration = _calibration(_validation(trainer, data))
    card = {
        "name": NAME,
        "file": weights.name,
        "sha256": sha256,
        "licence": "not stated: that of the training cases counts",
        "network": trainer.mean.to_json(),
        "calibration": calibration,
        "operating_point": {"threshold": 0.5, "false_marks_per_scan": None, "measured_on": "not measured"},
        "explanation": {"layer": -1},
        "recipe": identity["recipe"],
        "history": history,
    }
    write_text(folder / "manifest.json", _pretty({"schema_version": 1, "default": NAME, "models": [card]}))
    run = {
        "schema_version": 1,
        "software": software_version(),
        "libraries": library_versions(),
        "finished": creation_time().isoformat(),
        **{key: value for key, value in identity.items() if key != "cases"},
        "cases": list(data.sources),
        "left_out": list(data.left_out),
        "weights_sha256": sha256,
        "calibration": calibration,
        "history": history,
    }
    write_text(folder / "run.json", _pretty(run))
    return {"weights": NAME, "sha256": sha256, "steps": trainer.step, "calibration": calibration, "last": history[-1]}


def _pretty(values: Any) -> str:
    return json.dumps(values, indent=1) + "\n"
