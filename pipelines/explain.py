"""From a path to heat maps: Grad-CAM with a chosen block, method and extent, and similarity to any prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines.analysis_options import AnalysisOptions
from pipelines.chosen_series import read_chosen
from pipelines.predict import analyse
from pipelines.progress import OnStage, part_of
from pipelines.result_folder import check_result_folder, result_folder

if TYPE_CHECKING:
    from imaging.explanation.gradcam import Extent
    from imaging.outputs.case import CaseResult

#: What `explain_to_folder` writes: the maps, the picture of each finding, and the report that says what was done.
FORMATS: Final = ("json", "maps", "overlay")


def explain(
    path: str | Path,
    *,
    prompt: str | None = None,
    layer: int | None = None,
    method: str | None = None,
    whole_lungs: bool = False,
    series: str | None = None,
    study: str | None = None,
    weights: str | Path | None = None,
    device: str = "cpu",
    on_stage: OnStage | None = None,
    **options: Any,
) -> CaseResult:
    """Heat maps of one CT, on its own grid; higher is more suspicious.

    Args:
        path: as for `pipelines.predict.predict`.
        prompt: free text for the similarity map; suspicion of a nodule by default.
        layer: the transformer block whose output Grad-CAM weighs, from 0; by default the model card's.
        method: ``grad-cam`` or ``hires-cam``; by default the model card's.
        whole_lungs: Grad-CAM of windows all over the lungs (minutes) instead of around the findings.
        series, study, weights, device, on_stage: as for `predict`.
        options: the others of `pipelines.analysis_options.AnalysisOptions`.

    Raises:
        InputError, ModelError: as for `predict`.
        UsageError: ``usage.option`` for a block or a method that does not exist.
    """
    from imaging.explanation.gradcam import CamSettings, describe_grad_cam, grad_cam_map
    from imaging.models.weights import load_model
    from imaging.outputs.maps import GRAD_CAM

    how = AnalysisOptions(weights=weights, prompt=prompt, device=device, **options)
    model = load_model(weights, device=device)
    default = CamSettings.of_model(model)
    settings = CamSettings(default.block if layer is None else layer, method or default.method)  # type: ignore[arg-type]
    settings.check(model.net)
    chosen = read_chosen(path, series=series, study=study, on_stage=on_stage)
    result = analyse(chosen, how, model=model, on_stage=on_stage)
    if settings == default and not whole_lungs:
        return result
    extent: Extent = "lungs" if whole_lungs else "findings"
    grad_cam = grad_cam_map(
        model,
        chosen.volume,
        chosen.lungs,
        result.report.findings,
        settings=settings,
        extent=extent,
        on_progress=part_of(on_stage, "explain"),
    )
    said = {GRAD_CAM: describe_grad_cam(model, settings=settings, extent=extent)}
    return replace(result, grad_cam=grad_cam, report=replace(result.report, maps=dict(result.report.maps) | said))


def explain_to_folder(
    path: str | Path,
    folder: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    overwrite: bool = False,
    on_stage: OnStage | None = None,
    **options: Any,
) -> tuple[CaseResult, dict[str, Path]]:
    """Heat maps of one CT in a folder, which appears when all of them are complete.

    Args:
        formats: keys of `imaging.outputs.WRITERS`.
        overwrite: replace an earlier result.
        options: those of `explain`.

    Returns:
        The result, and file name -> path of what was written.
    """
    from imaging.outputs import write_case

    check_result_folder(folder, overwrite=overwrite)
    result = explain(path, on_stage=on_stage, **options)
    with result_folder(folder, overwrite=overwrite) as unfinished:
        written = write_case(result, unfinished, formats=tuple(formats), on_progress=part_of(on_stage, "write"))
    return result.with_notices(written.notices), {name: Path(folder) / name for name in written}
