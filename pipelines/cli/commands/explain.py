"""``nodulus explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipelines.cli.options import Analysis, CamMethod, Formats, Layer, OutputFolder, Voice
from pipelines.cli.speak import progress, tell


def explain(
    path: Path,
    /,
    *,
    output: OutputFolder,
    series: str | None = None,
    layer: Layer = None,
    method: CamMethod | None = None,
    whole_lungs: Annotated[bool, Parameter(negative="")] = False,
    formats: Formats = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    analysis: Analysis = Analysis(),  # noqa: B008 - a frozen value
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """Write heat maps of one CT on its own grid: Grad-CAM, and similarity to any prompt; higher is more suspicious.

    Parameters
    ----------
    path
        A CT, as for predict.
    output
        The folder for the maps, the picture and the report; it appears when all of them are complete.
    series
        The UID of the series (uid#group where one UID holds several volumes).
    layer
        The transformer block that Grad-CAM weighs, from 0. By default the one that measured best.
    method
        Of Grad-CAM. By default the one that measured best.
    whole_lungs
        Grad-CAM all over the lungs (minutes), not only around findings.
    formats
        As in predict. By default json, maps, overlay.
    overwrite
        Replace an earlier result in the output folder, once the new one is complete.
    """
    from pipelines.cli.show import report_text
    from pipelines.devices import check_device
    from pipelines.explain import FORMATS, explain_to_folder

    check_device(analysis.device)
    with progress(voice) as reporter:
        result, files = explain_to_folder(
            path,
            output,
            formats=formats or FORMATS,
            overwrite=overwrite,
            series=series,
            layer=layer,
            method=method,
            whole_lungs=whole_lungs,
            on_stage=reporter.stage,
            **analysis.to_options(),
        )
    named = {name: str(file) for name, file in files.items()}
    facts = {"output": str(output), "files": named, "maps": dict(result.report.maps), "report": result.report.to_json()}
    tell(voice, facts, lambda: report_text(result.report, files))
    return 0
