"""One round of a run: choose windows, train, validate; what validation says of stopping and calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imaging.training.cases import CaseSet
from pipelines.training_data import TrainingData

if TYPE_CHECKING:
    from imaging.models.network import NoduleNet
    from imaging.training.engine import Told, Trainer
    from imaging.training.processes import Processes

#: Logits and outcomes of one kind of validation cases.
Judged = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]
#: What is watched for the best round: the first of these that a run has.
WATCHED = ("auroc_val_windows", "auroc_val_scans")
#: Validation windows are shared out to the processes in pieces of so many.
PIECE = 1024


def one_round(
    trainer: Trainer,
    data: TrainingData,
    number: int,
    *,
    on_step: Callable[[int], None] | None = None,
    on_told: Callable[[Told], None] | None = None,
) -> dict[str, float]:
    """Choose the windows of scans, and train to the round's end: the losses."""
    if any(bag.labels[0] >= 0.5 for bag in data.bags):
        trainer.relabel(_labels(trainer, data, number))
    return trainer.run(on_step=on_step, on_told=on_told)


def _labels(trainer: Trainer, data: TrainingData, round_number: int) -> npt.NDArray[np.float32]:
    """Labels of all windows: prepared ones as they are, those of scans by what the net finds suspicious."""
    from imaging.training.bags import Bag, label_windows
    from imaging.training.judging import suspicion

    def of_bag(bag: Bag) -> npt.NDArray[np.float32]:
        with_nodule = bag.labels[0] >= 0.5
        logits = suspicion(trainer.mean, bag.windows, device=str(trainer.device)) if with_nodule else None
        return label_windows(bag, logits, round_number)

    labels = [cases.labels for cases in data.windows]
    return np.concatenate([*labels, *trainer.processes.spread(of_bag, data.bags)])


def validate(net: NoduleNet, data: TrainingData, processes: Processes) -> dict[str, Judged]:
    """Logits and outcomes of validation cases: of windows, and of whole scans by their most suspicious window."""
    from imaging.training.judging import image_logits, suspicion

    device, found = str(processes.device), {}
    if data.val_windows:
        pieces = [piece for cases in data.val_windows for piece in _pieces(cases)]
        logits = processes.spread(lambda images: image_logits(net, images, device=device).numpy(), pieces)
        labels = np.concatenate([cases.labels[:, 0] for cases in data.val_windows])
        known = ~np.isnan(labels)
        found["windows"] = (np.concatenate(logits)[known], labels[known] >= 0.5)
    if data.val_bags:
        scans = processes.spread(
            lambda bag: float(suspicion(net, bag.windows, device=device).max(initial=-math.inf)), data.val_bags
        )
        right = np.array([bag.labels[0] >= 0.5 for bag in data.val_bags])
        found["scans"] = (np.array(scans, np.float32), right)
    return found


def _pieces(cases: CaseSet) -> list[npt.NDArray[np.uint8]]:
    return [cases.images[start : start + PIECE] for start in range(0, len(cases), PIECE)]


def metrics(judged: Mapping[str, Judged]) -> dict[str, float | None]:
    """AUROC of each kind; None where one of the two sides is missing."""
    from imaging.evaluation.auroc import RankedScores

    areas = {kind: RankedScores(right, logits).auroc() for kind, (logits, right) in judged.items()}
    return {f"auroc_val_{kind}": None if math.isnan(area) else area for kind, area in areas.items()}


def calibration(judged: Mapping[str, Judged]) -> dict[str, Any]:
    """The line from logit to score, by Platt on validation windows, else on validation scans, else none."""
    from imaging.evaluation.calibration import fit_platt

    for kind, (logits, right) in judged.items():
        if right.any() and not right.all():
            slope, offset = fit_platt(logits, right)
            if slope > 0:
                return {"slope": slope, "offset": offset, "fitted_on": f"{len(right)} validation {kind}"}
    return {"slope": 1.0, "offset": 0.0, "fitted_on": "nothing: scores are not calibrated"}


# --- when to stop ----------------------------------------------------------------------------------------------------


def watched(line: Mapping[str, Any]) -> tuple[str, float] | None:
    """The figure of a round that early stopping watches, by name; None if it has none."""
    return next(((name, float(line[name])) for name in WATCHED if line.get(name) is not None), None)


def best_round(history: Sequence[Mapping[str, Any]]) -> int:
    """Index of the best round; the first of equals."""
    values = [found[1] if (found := watched(line)) else -math.inf for line in history]
    return int(np.argmax(values))


def is_stale(history: Sequence[Mapping[str, Any]], patience: int | None) -> bool:
    """Whether so many rounds have passed since the best one."""
    return patience is not None and bool(history) and len(history) - 1 - best_round(history) >= patience
