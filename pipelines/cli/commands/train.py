"""``nodulus train``."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from pipelines.allowed import COUNT, MORE_THAN_0, SEED
from pipelines.cli.options import Count, OutputFolder, Voice, number
from pipelines.cli.speak import progress, tell
from pipelines.memory import keep_freed_memory
from pipelines.training_launch import is_first, is_launched, launch

#: Steps where neither an option, nor a file of settings, nor the clock says how many.
STEPS = 4000


def train(
    *,
    manifest: Path | None = None,
    pack: Path | None = None,
    output: OutputFolder,
    steps: Annotated[int | None, number(COUNT)] = None,
    minutes: Annotated[float | None, number(MORE_THAN_0)] = None,
    seed: Annotated[int | None, number(SEED)] = None,
    device: str = "cpu",
    devices: Count = 1,
    precision: str = "auto",
    patience: Annotated[int | None, number(COUNT)] = None,
    recipe: Path | None = None,
    start: Path | None = None,
    resume: Annotated[bool, Parameter(negative="")] = False,
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Train a model from image-level labels; no place is ever seen.

    Parameters
    ----------
    manifest
        A CSV of path, image-level labels and, if there is one, the text of the report; or a prepared folder.
    pack
        The same as one file, as ``nodulus pack`` writes it.
    output
        The run folder: weights with manifest.json as --weights takes them, run.json, log.csv, a checkpoint.
    steps
        Of the optimizer, in all. By default 4000.
    minutes
        Train for so long instead, from the start of the command to the last file.
    seed
        Of the weights, the batches and the augmentation. By default 0.
    device
        Where the network is trained.
    devices
        So many GPUs (or CPU processes) of this machine share the run. For several machines, start it by torchrun.
    precision
        auto, 32, bf16 or fp16. By default bf16 on a GPU and 32 on a CPU.
    patience
        End after so many rounds without a better validation, and ship the best round.
    recipe
        A JSON of settings, or the run.json of an earlier run to do it again.
    start
        Weights to begin with: a run folder or a weights file.
    resume
        Go on with the run in the output folder, to the same bytes as without a break.
    """
    from importlib import import_module

    from pipelines.devices import check_device

    started_s = time.monotonic() - _age_s()
    cases = _one_of(manifest, pack)
    if devices != 1 and not is_launched():
        return launch(sys.argv[1:], devices)
    check_device(device)
    chosen, numbers = _settings(recipe, steps=steps, seed=seed, minutes=minutes)
    if patience is not None:
        chosen = replace(chosen, patience=patience)
    options = replace(chosen, minutes=minutes, precision=precision, start=start)
    if device == "cpu":
        keep_freed_memory()
    voice = voice if is_first() else Voice(quiet=True)
    train_to_folder = import_module("pipelines.train").train_to_folder
    with progress(voice) as reporter:
        result = train_to_folder(
            cases,
            output,
            **numbers,
            device=device,
            resume=resume,
            options=options,
            started_s=started_s,
            on_progress=lambda done, total: reporter.stage("training", done, total),
        )
    tell(voice, {"output": str(output), **result}, lambda: f"Run folder: {output}")
    return 0


def _one_of(manifest: Path | None, pack: Path | None) -> Path:
    from imaging.errors import UsageError

    if (manifest is None) == (pack is None):
        raise UsageError("usage.option", "give either --manifest or --pack")
    cases = manifest or pack
    assert cases is not None
    return cases


def _settings(
    recipe: Path | None, *, steps: int | None, seed: int | None, minutes: float | None
) -> tuple[Any, dict[str, int]]:
    """Options from a file of settings, and the numbers that the command line or the file gives."""
    from imaging.errors import UsageError
    from pipelines.training_settings import TrainOptions, read_settings

    if steps is not None and minutes is not None:
        raise UsageError("usage.option", "give either --steps or --minutes")
    chosen, numbers = (TrainOptions(), {}) if recipe is None else read_settings(recipe, TrainOptions())
    if steps is not None or minutes is not None or seed is not None:
        chosen = replace(chosen, pace=None, repeats_sha256=None)  # another run than the one on file
    given = {"steps": steps, "seed": seed}
    numbers = {"steps": STEPS, "seed": 0} | numbers | {k: v for k, v in given.items() if v is not None}
    return chosen, numbers


def _age_s() -> float:
    """Seconds since this process began: reading the libraries is part of the time that a run is given."""
    import psutil

    return max(0.0, time.time() - float(psutil.Process().create_time()))
