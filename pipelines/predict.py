"""From a path to a `CaseResult`: choose the series, read it, find the lungs, score, localize, explain, report.

The one use that the command line, the batch and the viewer call. Nothing here prints; progress goes to `on_stage`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.errors import InputError, Notice, UsageError
from imaging.findings import OperatingPoint, RejectedSeries, Report
from imaging.geometry import Volume
from imaging.io import SeriesInfo, list_series, read_volume
from imaging.provenance import Provenance, creation_time, library_versions, software_version
from pipelines.progress import OnStage, part_of
from pipelines.result_folder import check_result_folder, result_folder, without_results
from pipelines.series_choice import Choice, choose_series, rejected

if TYPE_CHECKING:
    from imaging.localization import Localization
    from imaging.models.scoring import TokenMap
    from imaging.models.weights import LoadedModel
    from imaging.outputs.case import CaseResult
    from imaging.preprocessing.lungs import Lungs

#: Each finding has a number in the outlines' file, one byte a voxel.
MOST_FINDINGS = 255

#: The lung finder's doubt that means "this series shows a part of the lungs only".
PARTIAL = "lungs.partial"


@dataclass(frozen=True, eq=False)
class Chosen:
    """The series that is analysed, read, with its lungs and the reasons of the others."""

    volume: Volume
    lungs: Lungs
    sentence: str
    losers: tuple[RejectedSeries, ...]


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
    check_options(threshold=threshold, max_findings=max_findings)
    chosen = read_chosen(path, series=series, study=study, on_stage=on_stage)
    return analyse(
        chosen,
        weights=weights,
        model=model,
        threshold=threshold,
        max_findings=max_findings,
        prompt=prompt,
        explain=explain,
        device=device,
        on_stage=on_stage,
    )


def analyse(
    chosen: Chosen,
    *,
    weights: str | Path | None = None,
    model: LoadedModel | None = None,
    threshold: float | None = None,
    max_findings: int = 20,
    prompt: str | None = None,
    explain: bool = True,
    device: str = "cpu",
    on_stage: OnStage | None = None,
) -> CaseResult:
    """What `predict` does once the series is read; the arguments are its own."""
    from imaging.outputs.case import CaseResult

    volume, lungs = chosen.volume, chosen.lungs
    model = _load(weights, device, on_stage) if model is None else model
    token_map = _score(model, volume, lungs, prompt, on_stage)
    localization = _localize(model, volume, lungs, token_map, threshold, max_findings, on_stage)
    grad_cam, similarity = None, None
    maps: dict[str, str] = {}
    if explain:
        grad_cam, similarity, maps = _explain(model, volume, lungs, token_map, localization, prompt, on_stage)
    settings = {"threshold": threshold, "max_findings": max_findings, "prompt": prompt, "explain": explain}
    return CaseResult(
        volume=volume,
        report=_report(chosen, model, localization, token_map, settings | {"device": device}, maps),
        lungs=lungs,
        nodules=localization.nodules,
        grad_cam=grad_cam,
        similarity=similarity,
        similarity_prompt=prompt or "",
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
    on_stage: OnStage | None = None,
    **options: Any,
) -> tuple[CaseResult, dict[str, Path]]:
    """Analyse one CT and write its results.

    The folder appears only when everything in it is complete; an earlier result is left alone unless `overwrite`.

    Args:
        formats: keys of `imaging.outputs.WRITERS`; `DEFAULT_FORMATS` if None.
        show_identifiers: put the patient's name on the page.
        overwrite: replace an earlier result in `folder`, once the new one is complete.
        options: those of `analyse`.

    Returns:
        The result, and file name -> path of what was written.

    Raises:
        UsageError: ``usage.output_exists``, ``outputs.unknown_format`` before anything is read;
            ``outputs.no_dicom_source`` before anything is computed.
        OutputError: a result cannot be written; an earlier result is still there.
    """
    from imaging.outputs import DEFAULT_FORMATS, WRITERS, check_formats, write_case

    wanted = tuple(DEFAULT_FORMATS if formats is None else formats)
    check_options(**{name: options[name] for name in ("threshold", "max_findings") if name in options})
    check_formats([name for name in wanted if name not in WRITERS], None)
    check_result_folder(folder, overwrite=overwrite)
    chosen = read_chosen(path, series=series, study=study, on_stage=on_stage)
    check_formats(wanted, chosen.volume.origin)
    result = analyse(chosen, on_stage=on_stage, **options)
    progress = part_of(on_stage, "write")
    with result_folder(folder, overwrite=overwrite) as unfinished:
        written = write_case(
            result, unfinished, formats=wanted, show_identifiers=show_identifiers, on_progress=progress
        )
    return result.with_notices(written.notices), {name: Path(folder) / name for name in written}


def read_chosen(
    path: str | Path, *, series: str | None = None, study: str | None = None, on_stage: OnStage | None = None
) -> Chosen:
    """Choose the series by the stated rule, read it and find its lungs.

    The first series in the order of the rule that shows lungs whole is taken; where none does, the one with most lung.

    Raises:
        InputError: nothing usable, several patients, values that are not HU, or no lungs in any of them.
    """
    choice = choose_series(without_results(path, list_series(path)), series=series, study=study, where=path)
    best: tuple[SeriesInfo, Volume | None, Lungs] | None = None
    losers: list[RejectedSeries] = []
    refusal: InputError | None = None
    for info in choice.ranked:
        try:
            volume, lungs = _read(path, info, on_stage)
        except InputError as error:
            refusal = refusal or error
            losers.append(
                rejected(info, "choice.no_lungs" if error.code == "lungs.none" else error.code, error.message)
            )
            continue
        if best is None or lungs.volume_ml > 1.05 * best[2].volume_ml:
            losers += [] if best is None else [_cut(best[0], best[2], lungs)]
            best = (info, volume, lungs)
        else:
            losers.append(_cut(info, lungs, best[2]))
            best = (best[0], None, best[2])
        if all(notice.code != PARTIAL for notice in lungs.notices):
            break
    if best is None:
        raise refusal if refusal is not None else InputError("series.none_usable", "no series", where=path)
    info, kept, lungs = best
    volume = kept if kept is not None else read_volume(path, series=info)
    if refusal is not None and refusal.code != "lungs.none":
        better = f"a series that the rule prefers could not be analysed: {refusal.code}, {refusal.message}"
        volume = volume.with_warnings(Notice("choice.second_best", better))
    return Chosen(volume, lungs, choice.sentence, _all_losers(choice, info, losers))


def _read(path: str | Path, info: SeriesInfo, on_stage: OnStage | None) -> tuple[Volume, Lungs]:
    from imaging.preprocessing.lungs import find_lungs

    if on_stage:
        on_stage("read", 0, 1)
    volume = read_volume(path, series=info, on_progress=part_of(on_stage, "read"))
    if not volume.is_hu:
        doubts = "; ".join(notice.message for notice in volume.warnings) or "no rescale to Hounsfield units is stored"
        raise InputError("input.not_hu", doubts, where=path)
    if on_stage:
        on_stage("read", 1, 1)
    return volume, find_lungs(volume, on_progress=part_of(on_stage, "lungs"))


def _cut(info: SeriesInfo, less: Lungs, more: Lungs) -> RejectedSeries:
    reason = f"shows {less.volume_ml:.0f} ml of lung, the chosen series {more.volume_ml:.0f} ml"
    return rejected(info, "choice.cut_lungs", reason)


def _all_losers(choice: Choice, won: SeriesInfo, tried: Iterable[RejectedSeries]) -> tuple[RejectedSeries, ...]:
    """Every series but the chosen one, once, with the reason that counted."""
    by_name = {row.seriesuid: row for row in choice.rejected} | {row.seriesuid: row for row in tried}
    by_name.pop(won.name, None)
    return tuple(by_name.values())


def check_options(*, threshold: float | None = None, max_findings: int = 1) -> None:
    """Refuse numbers that cannot be, before anything is read.

    Raises:
        UsageError: ``usage.option``.
    """
    if threshold is not None and not 0.0 <= threshold <= 1.0:
        raise UsageError("usage.option", f"a threshold lies between 0 and 1, not at {threshold}")
    if not 1 <= max_findings <= MOST_FINDINGS:
        raise UsageError("usage.option", f"the number of findings is 1 to {MOST_FINDINGS}, not {max_findings}")


def load_on(device: str, weights: str | Path | None) -> LoadedModel:
    """The model on a device that is there.

    Raises:
        UsageError: see `check_device`.
        ModelError: the weights are missing, changed or unsuitable.
    """
    from imaging.models.weights import load_model

    check_device(device)
    return load_model(weights, device=device)


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or this machine lacks.

    Raises:
        UsageError: ``usage.option``.
    """
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError("usage.option", f"the device {device!r} cannot be used here: {reason}") from error


def _load(weights: str | Path | None, device: str, on_stage: OnStage | None) -> LoadedModel:
    if on_stage:
        on_stage("model", 0, 1)
    model = load_on(device, weights)
    if on_stage:
        on_stage("model", 1, 1)
    return model


def _score(model: LoadedModel, volume: Volume, lungs: Lungs, prompt: str | None, on_stage: OnStage | None) -> TokenMap:
    from imaging.models.scoring import score_volume

    prompts = () if prompt is None else (prompt,)
    return score_volume(model, volume, lungs, prompts=prompts, on_progress=part_of(on_stage, "score"))


def _localize(
    model: LoadedModel,
    volume: Volume,
    lungs: Lungs,
    token_map: TokenMap,
    threshold: float | None,
    max_findings: int,
    on_stage: OnStage | None,
) -> Localization:
    from imaging.localization import find_findings

    return find_findings(
        volume,
        lungs,
        token_map,
        model,
        threshold=threshold,
        max_findings=max_findings,
        on_progress=part_of(on_stage, "localize"),
    )


def _explain(
    model: LoadedModel,
    volume: Volume,
    lungs: Lungs,
    token_map: TokenMap,
    localization: Localization,
    prompt: str | None,
    on_stage: OnStage | None,
) -> tuple[Any, Any, dict[str, str]]:
    """Grad-CAM, similarity, and what the first holds in a sentence."""
    from imaging.explanation.gradcam import describe_grad_cam, grad_cam_map
    from imaging.explanation.similarity import similarity_map
    from imaging.outputs.maps import GRAD_CAM

    progress = part_of(on_stage, "explain")
    grad_cam = grad_cam_map(model, volume, lungs, localization.findings, on_progress=progress)
    return grad_cam, similarity_map(token_map, volume, prompt), {GRAD_CAM: describe_grad_cam(model)}


def _report(
    chosen: Chosen,
    model: LoadedModel,
    localization: Localization,
    token_map: TokenMap,
    settings: dict[str, Any],
    maps: dict[str, str],
) -> Report:
    volume, origin = chosen.volume, chosen.volume.origin
    notices = [*volume.warnings, *chosen.lungs.notices, *token_map.notices, *localization.notices]
    return Report(
        seriesuid=volume.seriesuid,
        study_instance_uid=origin.study_instance_uid if origin else None,
        study_date=origin.study_date if origin else None,
        findings=tuple(localization.findings),
        notices=tuple(dict.fromkeys(notices)),
        operating_point=_operating_point(model, settings["threshold"]),
        provenance=Provenance(
            software=software_version(),
            input_sha256=_content_sha256(volume),
            weights_name=model.name,
            weights_sha256=model.sha256,
            settings=settings,
            versions=library_versions(),
            created=creation_time().isoformat(timespec="seconds"),
        ),
        grid=volume.grid.to_json(),
        series_choice=chosen.sentence,
        rejected_series=chosen.losers,
        lungs_ml=chosen.lungs.volume_ml,
        maps=maps,
    )


def _operating_point(model: LoadedModel, threshold: float | None) -> OperatingPoint:
    """The model's own, or one at the threshold that was asked for, whose cost nobody has measured."""
    known = model.operating_point
    if threshold is None or threshold == known.threshold:
        return known
    return replace(known, threshold=threshold, false_marks_per_scan=None, measured_on="a threshold set by the user")


def _content_sha256(volume: Volume) -> str:
    """Hash of the HU values and their places: the same for a CT as DICOM, zip, NIfTI or MetaImage of equal grids."""
    digest = hashlib.sha256(np.ascontiguousarray(volume.array, dtype="<f4").data)
    digest.update(np.round(volume.grid.affine, 3).astype("<f8").tobytes())
    return digest.hexdigest()
