"""``nodulus train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.options import OutputFolder, Voice
from pipelines.cli.speak import progress, tell


def train(
    *,
    manifest: Path,
    output: OutputFolder,
    steps: int = 4000,
    seed: int = 0,
    device: str = "cpu",
    resume: Annotated[bool, Parameter(negative="")] = False,
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Train a model from image-level labels; no place is ever seen.

    Parameters
    ----------
    manifest
        A CSV of path, image-level labels and, if there is one, the text of the report.
    output
        The run folder: weights with manifest.json as --weights takes them, code version, data hashes, metrics.
    steps
        Of the optimizer, in all.
    seed
        Of the weights, the batches and the augmentation.
    device
        Where the network is trained.
    resume
        Go on with the run in the output folder, to the same bytes as without a break.
    """
    from importlib import import_module

    from pipelines.devices import check_device

    check_device(device)
    train_to_folder = import_module("pipelines.train").train_to_folder
    with progress(voice) as reporter:
        result = train_to_folder(
            manifest,
            output,
            steps=steps,
            seed=seed,
            device=device,
            resume=resume,
            on_progress=lambda done, total: reporter.stage("training", done, total),
        )
    tell(voice, {"output": str(output), **result}, lambda: f"Run folder: {output}")
    return 0
