"""From a path to heat maps: Grad-CAM with a chosen block, method and extent, and similarity to any prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imaging.errors import UsageError
from pipelines.analysis_options import AnalysisOptions
from pipelines.chosen_series import Chosen, read_chosen
from pipelines.devices import load_on
from pipelines.map_words import map_words
from pipelines.predict import analyse
from pipelines.progress import OnStage, part_of
from pipelines.result_folder import check_result_folder, result_files, result_folder

if TYPE_CHECKING:
    from imaging.explanation.gradcam import Extent
    from imaging.models.cams import CamSettings
    from imaging.models.weights import LoadedModel
    from imaging.outputs.case import CaseResult

#: What `explain_to_folder` writes: the maps, where each finding lies, what the maps mark, and the report.
FORMATS: Final = ("json", "maps", "overlay", "explanation")


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
        method: a key of `imaging.models.cams.METHODS`; by default the model card's.
        whole_lungs: Grad-CAM of windows all over the lungs (minutes) instead of around the findings.
        series, study, weights, device, on_stage: as for `predict`.
        options: the others of `pipelines.analysis_options.AnalysisOptions`.

    Raises:
        InputError, ModelError: as for `predict`.
        UsageError: ``usage.option`` for a block or a method that does not exist, before anything is read.
    """
    how = AnalysisOptions(weights=weights, prompt=prompt, device=device, **options)
    question = _Question.asked(how, layer, method, whole_lungs)
    return _answer(question, how, read_chosen(path, series=series, study=study, on_stage=on_stage), on_stage)


@dataclass(frozen=True)
class _Question:
    """Which map of which model."""

    model: LoadedModel
    settings: CamSettings
    extent: Extent

    @classmethod
    def asked(cls, how: AnalysisOptions, layer: int | None, method: str | None, whole_lungs: bool) -> _Question:
        from imaging.models.cams import CamSettings

        model = load_on(how.device, how.weights)
        default = CamSettings.of_model(model)
        settings = CamSettings(default.block if layer is None else layer, method or default.method)
        settings.check(model.net)
        return cls(model, settings, "lungs" if whole_lungs else "findings")

    def is_usual(self) -> bool:
        """Whether `analyse` computes just this map."""
        return self.extent == "findings" and self.settings == type(self.settings).of_model(self.model)


def _answer(question: _Question, how: AnalysisOptions, chosen: Chosen, on_stage: OnStage | None) -> CaseResult:
    """The analysed CT with the map that was asked for, and a report that says how it was made."""
    from imaging.explanation.gradcam import grad_cam_map

    result = analyse(chosen, how, model=question.model, on_stage=on_stage)
    report, grad_cam = result.report, result.grad_cam
    if not question.is_usual():
        progress = part_of(on_stage, "explain")
        grad_cam = grad_cam_map(
            question.model,
            chosen.volume,
            chosen.lungs,
            report.findings,
            settings=question.settings,
            extent=question.extent,
            on_progress=progress,
        )
    said = map_words(
        question.model,
        chosen.volume.grid,
        findings=len(report.findings),
        prompt=how.prompt,
        notices=report.notices,
        settings=question.settings,
        extent=question.extent,
    )
    asked = {"layer": question.settings.block, "method": question.settings.method, "extent": question.extent}
    made = replace(report.provenance, settings=dict(report.provenance.settings) | asked)
    return replace(result, grad_cam=grad_cam, report=replace(report, maps=dict(report.maps) | said, provenance=made))


def explain_to_folder(
    path: str | Path,
    folder: str | Path,
    *,
    formats: Sequence[str] = FORMATS,
    overwrite: bool = False,
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
) -> tuple[CaseResult, dict[str, Path]]:
    """Heat maps of one CT in a folder, which appears when all of them are complete.

    An earlier result is replaced only by one that has all its files: the tables, pages and DICOM objects that `predict`
    wrote are never lost for a heat map.

    Args:
        formats: keys of `imaging.outputs.WRITERS`.
        overwrite: replace an earlier result.
        options: those of `explain`.

    Returns:
        The result, and file name -> path of what was written.

    Raises:
        UsageError: ``usage.output_exists``, ``outputs.unknown_format`` and ``usage.option`` before anything is read;
            ``outputs.no_dicom_source`` before anything is computed.
        OutputError: a result cannot be written; an earlier result is still there.
    """
    from imaging.outputs import WRITERS, check_formats, write_case

    wanted = tuple(formats)
    check_formats([name for name in wanted if name not in WRITERS], None)
    check_result_folder(folder, overwrite=overwrite)
    _check_nothing_is_lost(Path(folder), wanted)
    how = AnalysisOptions(weights=weights, prompt=prompt, device=device, **options)
    question = _Question.asked(how, layer, method, whole_lungs)
    chosen = read_chosen(path, series=series, study=study, on_stage=on_stage)
    check_formats(wanted, chosen.volume.origin)
    result = _answer(question, how, chosen, on_stage)
    with result_folder(folder, overwrite=overwrite) as unfinished:
        written = write_case(result, unfinished, formats=wanted, on_progress=part_of(on_stage, "write"))
    return result.with_notices(written.notices), {name: Path(folder) / name for name in written}


def _check_nothing_is_lost(folder: Path, formats: Sequence[str]) -> None:
    """Refuse to replace an earlier result by one without some of its files."""
    from imaging.outputs import WRITERS

    new = {file for name in formats for file in WRITERS[name].files}
    lost = sorted(path.name for path in result_files(folder) if path.name not in new)
    if lost:
        said = f"an earlier result has {', '.join(lost)}, which heat maps alone would not replace"
        raise UsageError("usage.output_exists", said, where=folder)
