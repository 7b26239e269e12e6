"""``nodulus explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.options import Analysis, OutputFolder, Voice
from pipelines.cli.speak import progress, tell


def explain(
    path: Path,
    /,
    *,
    output: OutputFolder,
    series: str | None = None,
    layer: int | None = None,
    method: str | None = None,
    whole_lungs: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    analysis: Analysis = Analysis(),  # noqa: B008 - a frozen value
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """Write the heat maps of one CT: Grad-CAM, and similarity to any prompt, on the CT's own grid.

    Parameters
    ----------
    path
        A CT: a DICOM file, folder or zip, NIfTI, MetaImage or NRRD, of one patient.
    output
        The folder for grad_cam.nii.gz, similarity.nii.gz, nodules.nii.gz, overlay.png and report.json.
    series
        The UID of the series (uid#group where one UID holds several volumes).
    layer
        The transformer block that Grad-CAM weighs, from 0. By default the one the model card names.
    method
        grad-cam or hires-cam. By default the one the model card names.
    whole_lungs
        Grad-CAM all over the lungs, which takes minutes, instead of around the findings.
    overwrite
        Replace an earlier result in the output folder, once the new one is complete.
    """
    from pipelines.cli.show import report_text
    from pipelines.explain import explain_to_folder

    with progress(voice) as reporter:
        result, files = explain_to_folder(
            path,
            output,
            series=series,
            layer=layer,
            method=method,
            whole_lungs=whole_lungs,
            overwrite=overwrite,
            on_stage=reporter.stage,
            **analysis.to_options(),
        )
    named = {name: str(file) for name, file in files.items()}
    tell(
        voice,
        {"output": str(output), "files": named, "report": result.report.to_json()},
        lambda: report_text(result.report, files),
    )
    return 0
