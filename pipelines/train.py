"""From cases with image-level labels to weights that ``--weights`` takes.

A run goes in rounds. Before each, the windows of scans that hold a nodule are chosen anew by what the net has learned;
after each, it is validated and a checkpoint is written, from which a stopped run goes on bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import OutputError, UsageError
from imaging.training.pace import Pace, TimedPace
from pipelines.result_folder import check_new_folder
from pipelines.training_data import TrainingData, gather
from pipelines.training_log import RunLog
from pipelines.training_pack import is_pack, unpack
from pipelines.training_record import (
    BEST,
    CHECKPOINT,
    NAME,
    go_on,
    identity,
    read_net,
    write_checkpoint,
    write_net,
    write_record,
    write_weights,
)
from pipelines.training_rounds import Judged, best_round, calibration, is_stale, metrics, one_round, validate
from pipelines.training_settings import TrainOptions, make_recipe
from pipelines.training_start import chosen_pace, net_to_train

if TYPE_CHECKING:
    from imaging.models.network import NoduleNet
    from imaging.training.engine import Trainer
    from imaging.training.processes import Processes
    from imaging.training.recipe import Recipe

CACHE = "cache"


@dataclass(frozen=True, eq=False)
class _Run:
    """One run: what it trains, on what, and where it writes."""

    trainer: Trainer
    data: TrainingData
    folder: Path
    options: TrainOptions
    who: Mapping[str, Any]


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
    started_s: float | None = None,
) -> dict[str, Any]:
    """Train a model and write a run folder: weights and ``manifest.json``, ``run.json``, a log, a checkpoint, a cache.

    Started by torchrun, all its processes share the run, and the first of them writes.

    Args:
        manifest: the table of cases, see `imaging.training.manifest`, a folder of prepared ones, or a packed file.
        output: the run folder.
        steps: of the optimizer in all; they decide the schedule, unless `options` give minutes or a pace.
        seed: of the weights, the batches and the augmentation.
        device: as torch names it.
        resume: go on from the folder's checkpoint.
        on_progress: called as (done, total), steps or thousandths of the time; may raise to cancel, and the run can be
            resumed.
        options: sizes, rates, time.
        started_s: when the time of a timed run began, on `time.monotonic`'s clock; by default now.

    Returns:
        name and sha256 of the weights, the last metrics, and what calibration rests on.

    Raises:
        InputError: what `pipelines.training_data.gather` and `unpack` raise; ``train.changed`` where a run cannot be
            resumed.
        ModelError: what `imaging.models.weights.load_model` refuses ``options.start`` with.
        UsageError: ``train.no_checkpoint``, ``train.diverged``, ``train.recipe``, ``usage.option``.
        OutputError: ``output.exists`` and what writing raises.
    """
    from imaging.training.processes import Processes

    chosen, folder = options or TrainOptions(), Path(output)
    started_s = time.monotonic() if started_s is None else started_s
    recipe = make_recipe(chosen, steps=steps, seed=seed, device=device)
    processes = Processes(device=device, precision=recipe.precision)
    if processes.first:
        _check_folder(folder, resume=resume)
    net, chosen, start = net_to_train(chosen, seed)
    pace = chosen_pace(chosen, recipe, processes, started_s)
    with processes.first_goes_ahead():
        data = _cases(Path(manifest), folder, chosen, _before(on_progress, pace))
    if chosen.patience is not None and not (data.val_windows or data.val_bags):
        raise UsageError("usage.option", "patience needs cases to validate on")
    trainer = _trainer(net, data, recipe, processes, pace)
    run = _Run(trainer, data, folder, chosen, identity(trainer, data, chosen, start))
    history = go_on(trainer, folder / CHECKPOINT, run.who) if resume else []
    with _can_go_on(folder):
        judged = _all_rounds(run, history, on_progress if processes.first else None)
        return _finish(run, history, judged)


def _check_folder(folder: Path, *, resume: bool) -> None:
    if resume and not (folder / CHECKPOINT).is_file():
        raise UsageError("train.no_checkpoint", f"there is no {CHECKPOINT}", where=folder)
    if not resume:
        check_new_folder(folder, besides=CACHE)


@contextmanager
def _can_go_on(folder: Path) -> Iterator[None]:
    """Where a run ends because it cannot write, but has a checkpoint, the next step is not to begin it again."""
    try:
        yield
    except OutputError as error:
        if not (folder / CHECKPOINT).is_file():
            raise
        remedy = "see that it can be written there, then give the same command with --resume; the checkpoint is whole"
        raise OutputError(error.code, error.message, where=error.where, remedy=remedy) from error


def _before(on_progress: Callable[[int, int], None] | None, pace: Pace) -> Callable[[int, int], None] | None:
    """Reading is not counted as training, but can be cancelled."""
    return None if on_progress is None else lambda done, total: on_progress(*pace.progress(0))


def _cases(
    manifest: Path, folder: Path, options: TrainOptions, on_row: Callable[[int, int], None] | None
) -> TrainingData:
    if is_pack(manifest):
        return unpack(manifest, options.vision)
    return gather(manifest, folder / CACHE, options.vision, on_row=on_row)


def _trainer(net: NoduleNet, data: TrainingData, recipe: Recipe, processes: Processes, pace: Pace) -> Trainer:
    from imaging.training.bags import joined_cases
    from imaging.training.engine import Trainer

    return Trainer(net, joined_cases(data.windows, data.bags), recipe, processes=processes, pace=pace)


def _all_rounds(
    run: _Run, history: list[dict[str, Any]], on_progress: Callable[[int, int], None] | None
) -> dict[str, Judged] | None:
    """Train until the pace or patience ends it, adding to the history; what the last validation found."""
    trainer, pace, judged = run.trainer, run.trainer.pace, None
    if trainer.processes.first and not history:
        write_checkpoint(trainer, run.folder, run.who, history)  # whenever it is stopped, it can go on
    log = RunLog(run.folder, step=trainer.step) if trainer.processes.first else None
    on_step = None if on_progress is None else lambda step: on_progress(*pace.progress(step))
    if isinstance(pace, TimedPace) and not history:
        began_s = time.monotonic()
        validate(trainer.mean, run.data, trainer.processes)  # to learn how much time must be kept for it
        pace.expect(time.monotonic() - began_s)
    while not pace.over(trainer.step) and not is_stale(history, run.options.patience):
        losses = one_round(trainer, run.data, len(history), on_step=on_step, on_told=log.told if log else None)
        began_s = time.monotonic()
        judged = validate(trainer.mean, run.data, trainer.processes)
        history.append({"step": trainer.step, **losses, **metrics(judged)})
        pace.end_round(trainer.step, time.monotonic() - began_s)
        if log is not None:
            log.write(trainer.step, history[-1])
            _keep(run, history)
        if on_progress is not None:
            on_progress(*pace.progress(trainer.step))
    if log is not None:
        log.close()
    return judged


def _keep(run: _Run, history: list[dict[str, Any]]) -> None:
    """A checkpoint; where the best round will ship, that one's weights first."""
    if run.options.patience is not None and best_round(history) == len(history) - 1:
        write_net(run.trainer.mean, run.folder / BEST)
    write_checkpoint(run.trainer, run.folder, run.who, history)


def _finish(run: _Run, history: list[dict[str, Any]], judged: dict[str, Judged] | None) -> dict[str, Any]:
    """Choose what ships, calibrate it, and write weights and record."""
    shipped, net = len(history) - 1, run.trainer.mean
    if run.options.patience is not None and best_round(history) != shipped:
        shipped, judged = best_round(history), None
        net = read_net(net, run.folder / BEST)
    judged = judged if judged is not None else validate(net, run.data, run.trainer.processes)
    line = calibration(judged)
    result = {"weights": NAME, "steps": run.trainer.step, "calibration": line, "last": history[-1]}
    facts: dict[str, Any] = {"calibration": line, "shipped_step": history[shipped]["step"]}
    if run.trainer.processes.first:
        facts["weights_sha256"] = write_weights(net, run.folder, run.who, history, line)
        write_record(run.trainer, run.data, run.folder, run.who, history, facts)
    run.trainer.processes.engine.wait_for_everyone()
    return result | {"sha256": facts.get("weights_sha256")} | _same(run, facts)


def _same(run: _Run, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run that was done again: whether the bytes are those of the first time."""
    if run.options.repeats_sha256 is None:
        return {}
    return {"same_bytes": facts.get("weights_sha256") == run.options.repeats_sha256}
