"""``nodulus pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.options import Voice
from pipelines.cli.speak import progress, tell


def pack(
    manifest: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    cache: Path | None = None,
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Write all that a training run needs to one file: windows, labels, sentences, hashes; no place, no report.

    Parameters
    ----------
    manifest
        A CSV as ``nodulus train`` takes it, or a prepared folder.
    output
        The file, ending in .safetensors; ``nodulus train --pack`` takes it.
    cache
        Keep the windows of scans in this folder, so that they are cut once.
    """
    from pipelines.training_pack import pack_cases

    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    with progress(voice) as reporter:
        facts = pack_cases(
            manifest, output, cache=cache, on_progress=lambda done, total: reporter.stage("packing", done, total)
        )
    counts = facts["windows"]
    tell(
        voice,
        {"output": str(output), **facts},
        lambda: f"{counts['train']} windows to train on and {counts['val']} to validate on in {output}",
    )
    return 0
