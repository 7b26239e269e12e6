"""From a path to a `CaseResult`: choose the series, read it, find the lungs, score, localize, explain, report.

The one use that the command line, the batch and the viewer call. Nothing here prints; progress goes to `on_stage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.analysis_options import AnalysisOptions
from pipelines.case_report import report_of
from pipelines.chosen_series import Chosen, read_chosen
from pipelines.devices import load_on
from pipelines.map_words import map_words
from pipelines.progress import OnStage, part_of
from pipelines.result_folder import check_result_folder, result_folder

if TYPE_CHECKING:
    from imaging.localization import Localization
    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel
    from imaging.outputs.case import CaseResult


def predict(
    path: str | Path,
    *,
    series: str | None = None,
    study: str | None = None,
    weights: str | Path | None = None,
    model: LoadedModel | None = None,
    threshold: float | None = None,
    max_findings: int = 20,
    prompt: str | None = None,
    explain: bool = True,
    device: str = "cpu",
    on_stage: OnStage | None = None,
) -> CaseResult:
    """Analyse one CT.

    Args:
        path: a file, folder or zip of one patient; see `pipelines.series_choice.RULE` where it holds several series.
        series: the UID of the series to analyse (``uid#group`` where one UID holds several volumes).
        study: analyse only series of this study.
        weights: a weights file or folder; the shipped ones by default.
        model: a model that is loaded already; `weights` and `device` are then ignored.
        threshold: marks with at least this score are findings; the model's operating point by default.
        max_findings: at most so many findings, the most suspicious first.
        prompt: free text for the similarity map; suspicion of a nodule by default.
        explain: whether to compute the Grad-CAM and similarity maps.
        device: where the network runs, as torch names it.
        on_stage: called as (stage, done, total) with the keys of `pipelines.progress.STAGES`; may raise to cancel.

    Raises:
        InputError: whatever `list_series`, `read_volume`, `choose_series` and `find_lungs` refuse; ``input.not_hu``.
        ModelError: the weights are missing, changed or unsuitable.
        UsageError: ``usage.option`` for a threshold, number or device that cannot be.
    """
    options = AnalysisOptions(weights, threshold, max_findings, prompt, explain, device)
    chosen = read_chosen(path, series=series, study=study, on_stage=on_stage)
    return analyse(chosen, options, model=model, on_stage=on_stage)


def analyse(
    chosen: Chosen,
    options: AnalysisOptions | None = None,
    *,
    model: LoadedModel | None = None,
    on_stage: OnStage | None = None,
) -> CaseResult:
    """What `predict` does once the series is read.

    Args:
        chosen: the CT and its lungs.
        options: how; the usual ones by default.
        model: a model that is loaded already; the options' weights and device are then ignored.
        on_stage: as for `predict`.
    """
    from imaging.outputs.case import CaseResult

    options = AnalysisOptions() if options is None else options
    model = _load(options, on_stage) if model is None else model
    token_map = _score(model, chosen, options, on_stage)
    localization = _localize(model, chosen, token_map, options, on_stage)
    grad_cam, similarity = None, None
    maps: dict[str, str] = {}
    if options.explain:
        grad_cam, similarity, maps = _explain(model, chosen, token_map, localization, options, on_stage)
    return CaseResult(
        volume=chosen.volume,
        report=report_of(chosen, model, localization, token_map, options, maps),
        lungs=chosen.lungs,
        nodules=localization.nodules,
        grad_cam=grad_cam,
        similarity=similarity,
        similarity_prompt=options.prompt or "",
    )


def predict_to_folder(path: str | Path, folder: str | Path, **options: Any) -> dict[str, Path]:
    """Analyse one CT and write its results; `options` are those of `analyse_to_folder`. Returns file name -> path."""
    return analyse_to_folder(path, folder, **options)[1]


def analyse_to_folder(
    path: str | Path,
    folder: str | Path,
    *,
    formats: Sequence[str] | None = None,
    show_identifiers: bool = False,
    overwrite: bool = False,
    series: str | None = None,
    study: str | None = None,
    model: LoadedModel | None = None,
    on_stage: OnStage | None = None,
    **options: Any,
) -> tuple[CaseResult, dict[str, Path]]:
    """Analyse one CT and write its results.

    The folder appears only when everything in it is complete; an earlier result is left alone unless `overwrite`.

    Args:
        formats: keys of `imaging.outputs.WRITERS`; `DEFAULT_FORMATS` if None.
        show_identifiers: put the patient's name on the page.
        overwrite: replace an earlier result in `folder`, once the new one is complete.
        series, study, model, on_stage: as for `predict`.
        options: those of `AnalysisOptions`.

    Returns:
        The result, and file name -> path of what was written.

    Raises:
        UsageError: ``usage.output_exists``, ``outputs.unknown_format`` before anything is read;
            ``outputs.no_dicom_source`` before anything is computed.
        OutputError: a result cannot be written; an earlier result is still there.
    """
    from imaging.outputs import DEFAULT_FORMATS, WRITERS, check_formats, write_case

    wanted = tuple(DEFAULT_FORMATS if formats is None else formats)
    how = AnalysisOptions(**options)
    check_formats([name for name in wanted if name not in WRITERS], None)
    check_result_folder(folder, overwrite=overwrite)
    chosen = read_chosen(path, series=series, study=study, on_stage=on_stage)
    check_formats(wanted, chosen.volume.origin)
    result = analyse(chosen, how, model=model, on_stage=on_stage)
    progress = part_of(on_stage, "write")
    with result_folder(folder, overwrite=overwrite) as unfinished:
        written = write_case(
            result, unfinished, formats=wanted, show_identifiers=show_identifiers, on_progress=progress
        )
    return result.with_notices(written.notices), {name: Path(folder) / name for name in written}


def _load(options: AnalysisOptions, on_stage: OnStage | None) -> LoadedModel:
    if on_stage:
        on_stage("model", 0, 1)
    model = load_on(options.device, options.weights)
    if on_stage:
        on_stage("model", 1, 1)
    return model


def _score(model: LoadedModel, chosen: Chosen, options: AnalysisOptions, on_stage: OnStage | None) -> TokenMap:
    from imaging.models.scoring import score_volume

    prompts = () if options.prompt is None else (options.prompt,)
    progress = part_of(on_stage, "score")
    return score_volume(model, chosen.volume, chosen.lungs, prompts=prompts, on_progress=progress)


def _localize(
    model: LoadedModel, chosen: Chosen, token_map: TokenMap, options: AnalysisOptions, on_stage: OnStage | None
) -> Localization:
    from imaging.localization import find_findings

    return find_findings(
        chosen.volume,
        chosen.lungs,
        token_map,
        model,
        threshold=options.threshold,
        max_findings=options.max_findings,
        on_progress=part_of(on_stage, "localize"),
    )


def _explain(
    model: LoadedModel,
    chosen: Chosen,
    token_map: TokenMap,
    localization: Localization,
    options: AnalysisOptions,
    on_stage: OnStage | None,
) -> tuple[Any, Any, dict[str, str]]:
    """Grad-CAM, similarity, and what they hold in a sentence each."""
    from imaging.explanation.gradcam import grad_cam_map
    from imaging.explanation.similarity import similarity_map

    progress = part_of(on_stage, "explain")
    grad_cam = grad_cam_map(model, chosen.volume, chosen.lungs, localization.findings, on_progress=progress)
    similarity = similarity_map(token_map, chosen.volume, options.prompt)
    findings = len(localization.findings)
    said = map_words(model, chosen.volume.grid, findings=findings, prompt=options.prompt, notices=token_map.notices)
    return grad_cam, similarity, said
