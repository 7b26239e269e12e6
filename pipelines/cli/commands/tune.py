"""``nodulus tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.allowed import TUNED_WINDOWS
from pipelines.cli.options import Count, OutputFolder, Seed, Voice, number, split_commas
from pipelines.cli.speak import progress, tell

Words = Annotated[tuple[str, ...], Parameter(converter=split_commas, n_tokens=1, negative="", accepts_keys=False)]


def tune(
    *,
    manifest: Path,
    output: OutputFolder,
    weights: str | None = None,
    name: str = "tuned",
    steps: Count = 1200,
    windows: Annotated[int, number(TUNED_WINDOWS)] = 8000,
    collections: Words = (),
    seed: Seed = 0,
    device: str = "cpu",
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Teach the text tower of some weights more wordings of the attributes; scores of nodules stay as they are.

    Parameters
    ----------
    manifest
        A table of prepared cases as for ``nodulus train``, or a prepared folder. Scans in it are left out.
    output
        A new folder: weights with manifest.json as --weights takes them, and run.json.
    weights
        To start from: a name or a folder. By default the shipped ones.
    name
        Of the new weights.
    steps
        Of the optimizer.
    windows
        So many windows are looked at, at most: 55 kB of memory and some 0.05 s each.
    collections
        Only windows of these collections, such as lidc; by default of all.
    seed
        Of the choice of windows and of the wordings.
    device
        Where the towers run.
    """
    from imaging.training.text_tuning import TuningRecipe
    from pipelines.devices import check_device
    from pipelines.tune_text import TuneOptions, tune_to_folder

    check_device(device)
    with progress(voice) as reporter:
        result = tune_to_folder(
            manifest,
            output,
            weights=weights,
            recipe=TuningRecipe(steps=steps, seed=seed),
            options=TuneOptions(windows=windows, collections=collections),
            device=device,
            name=name,
            on_progress=reporter.stage,
        )
    tell(voice, {"output": str(output), **result}, lambda: f"Weights: {output}")
    return 0
