"""``nodulus evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from pipelines.allowed import RESAMPLES
from pipelines.cli.options import OutputFolder, Seed, Voice, number
from pipelines.cli.speak import progress, tell

if TYPE_CHECKING:
    from pipelines.evaluate import Evaluation


def evaluate(
    marks: Path,
    /,
    *,
    truth: Path,
    output: OutputFolder,
    excluded: Path | None = None,
    series: Path | None = None,
    resamples: Annotated[int, number(RESAMPLES)] = 1000,
    seed: Seed = 0,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Score findings against a truth by the LUNA16 protocol: CPM with its interval, curve, breakdowns, doubts.

    Parameters
    ----------
    marks
        A CSV that opens with seriesuid,coordX,coordY,coordZ,probability: findings.csv of a batch, or a submission.
    truth
        A CSV with seriesuid,coordX,coordY,coordZ,diameter_mm.
    output
        The folder for evaluation.json, evaluation.html and froc.svg; they appear when all of them are complete.
    excluded
        The same columns as the truth; marks on these findings are neither right nor wrong.
    series
        Every analysed scan, one UID a line; scans without any mark count too.
    resamples
        Of the bootstrap over scans.
    seed
        Of the bootstrap.
    overwrite
        Replace an earlier evaluation in the output folder, once the new one is complete.
    """
    from pipelines.evaluate import evaluate_to_folder

    with progress(voice) as reporter:
        evaluation, files = evaluate_to_folder(
            marks,
            output,
            overwrite=overwrite,
            truth=truth,
            excluded=excluded,
            series=series,
            resamples=resamples,
            seed=seed,
            on_progress=lambda done, total: reporter.stage("resampling scans", done, total),
        )
    named = {name: str(path) for name, path in files.items()}
    tell(voice, {"files": named, "evaluation": evaluation.to_json()}, lambda: _text(evaluation, named))
    return 0


def _text(evaluation: Evaluation, files: dict[str, str]) -> str:
    from pipelines.cli.show import notices_text, table

    values = evaluation.to_json()
    low, high = values["intervals"]["cpm"]["low"], values["intervals"]["cpm"]["high"]
    cpm = f"CPM {values['cpm']:.3f} ({low:.3f} to {high:.3f})"
    parts = [cpm, notices_text(evaluation.notices), table(("file", "path"), files.items())]
    return "\n\n".join(part for part in parts if part)
