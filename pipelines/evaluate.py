"""What ``nodulus evaluate`` does: marks and truth in; CPM, curve, breakdowns, doubts out, as JSON and one HTML page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from imaging.errors import InputError, Notice
from imaging.evaluation.bootstrap import FrocIntervals, Interval, froc_intervals
from imaging.evaluation.breakdown import GroupSensitivity, breakdowns, scan_auroc
from imaging.evaluation.calibration import Calibration, measure_calibration
from imaging.evaluation.luna16 import FALSE, MAX_MARKS_PER_SCAN, ON_NODULE, FrocResult, evaluate_marks
from imaging.evaluation.tables import Annotations, Marks, read_annotations, read_marks, read_seriesuids
from imaging.provenance import creation_time, file_sha256, software_version
from pipelines.allowed import RESAMPLES, SEED
from pipelines.result_folder import Kind, check_result_folder, result_folder

if TYPE_CHECKING:
    from jinja2 import Template

#: Version of the layout of `Evaluation.to_json`.
SCHEMA_VERSION: Final = 1
JSON_NAME, PAGE_NAME, PLOT_NAME = "evaluation.json", "evaluation.html", "froc.svg"
RESULT: Final = Kind(frozenset({JSON_NAME, PAGE_NAME, PLOT_NAME}), JSON_NAME)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that is said about a set of marks.

    Args:
        result: the protocol's matches and curve.
        intervals: bootstrap over scans.
        groups: title of a breakdown -> its rows.
        scan_auroc: strongest mark of a scan against "holds a nodule".
        calibration: of kept marks, right if on a nodule; None if the scores are not in [0, 1] or nothing is left.
        truth: the annotations, as read.
        inputs: role -> name and SHA-256 of each file.
        settings: resamples and seed.
        notices: every doubt.
    """

    result: FrocResult
    intervals: FrocIntervals
    groups: Mapping[str, tuple[GroupSensitivity, ...]]
    scan_auroc: Interval
    calibration: Calibration | None
    truth: Annotations
    inputs: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, int]
    notices: tuple[Notice, ...]

    def nodules(self) -> list[dict[str, Any]]:
        """Each nodule with the score at which it was found, None where it was missed; in the order of the file."""
        truth = self.truth
        return [
            {
                "seriesuid": truth.seriesuids[row],
                "centre_lps_mm": truth.points_mm[row].tolist(),
                "diameter_mm": float(truth.diameters_mm[row]),
                "score": float(best) if np.isfinite(best) else None,
            }
            for row, best in zip(self.result.nodule_row, self.result.best, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """The evaluation as plain values, unrounded."""
        auroc = self.scan_auroc.to_json()
        return {
            "schema_version": SCHEMA_VERSION,
            "protocol": "LUNA16",
            "software": software_version(),
            "created": creation_time().isoformat(timespec="seconds"),
            "inputs": {role: dict(values) for role, values in self.inputs.items()},
            "settings": {"max_marks_per_scan": MAX_MARKS_PER_SCAN, **self.settings},
            **self.result.to_json(),
            "intervals": self.intervals.to_json(),
            "by_group": {title: [row.to_json() for row in rows] for title, rows in self.groups.items()},
            "scan_auroc": None if auroc["value"] is None else auroc,
            "calibration_of_marks": None if self.calibration is None else self.calibration.to_json(),
            "notices": [notice.to_json() for notice in self.notices],
            "nodules_listed": self.nodules(),
        }


def evaluate(
    marks: str | Path,
    *,
    truth: str | Path,
    excluded: str | Path | None = None,
    series: str | Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a CSV of marks by the LUNA16 protocol.

    Args:
        marks: ``seriesuid,coordX,coordY,coordZ,probability`` (LPS mm; any order, further columns are fine).
        truth: ``seriesuid,coordX,coordY,coordZ,diameter_mm``; columns ``texture`` and ``pleural_contact`` are used.
        excluded: the same columns; marks on these findings are neither right nor wrong.
        series: every analysed scan, one UID a line.
        resamples, seed: of the bootstrap over scans.

    Raises:
        InputError: ``evaluation.*`` for tables that cannot be read or do not fit together.
        UsageError: ``usage.option`` for numbers of resamples and seeds that `pipelines.allowed` does not have.
    """
    RESAMPLES.check("resamples", resamples)
    SEED.check("seed", seed)
    paths = {"marks": marks, "truth": truth, "excluded": excluded, "series": series}
    given = {role: Path(path) for role, path in paths.items() if path is not None}
    told: list[Notice] = []
    nodules = read_annotations(given["truth"], notices=told)
    found = read_marks(given["marks"], notices=told)
    ignored = read_annotations(given["excluded"], notices=told) if "excluded" in given else None
    scans = read_seriesuids(given["series"], notices=told) if "series" in given else None
    _check_judged(found, scans or (*nodules.seriesuids, *(ignored.seriesuids if ignored else ())), given)
    result = evaluate_marks(found, nodules, ignored, scans)
    rng = np.random.default_rng(seed)
    intervals = froc_intervals(result.pool, count=resamples, rng=rng, on_progress=on_progress)
    calibration, doubts = _calibration(result)
    return Evaluation(
        result=result,
        intervals=intervals,
        groups=breakdowns(result, nodules),
        scan_auroc=scan_auroc(result, count=resamples, rng=rng),
        calibration=calibration,
        truth=nodules,
        inputs={role: {"name": path.name, "sha256": file_sha256(path)} for role, path in given.items()},
        settings={"resamples": resamples, "seed": seed},
        notices=(*told, *result.notices, *doubts),
    )


def _check_judged(marks: Marks, known: Iterable[str], given: Mapping[str, Path]) -> None:
    """Refuse marks of which none is of a scan that is known; no mark at all is a detector that found nothing.

    That no scan is known at all, `evaluate_marks` refuses.
    """
    scans = set(known)
    if scans and marks.seriesuids and not scans & set(marks.seriesuids):
        source = "the list of scans" if "series" in given else "the truth"
        message = (
            f"{len(marks.seriesuids)} marks of {len(set(marks.seriesuids))} scans, such as {marks.seriesuids[0]!r}, "
            f"and none of these is in {source}, which has {len(scans)}, such as {min(scans)!r}"
        )
        raise InputError("evaluation.no_listed_marks", message, where=given["marks"])


def _calibration(result: FrocResult) -> tuple[Calibration | None, tuple[Notice, ...]]:
    judged = np.isin(result.verdicts, (FALSE, ON_NODULE))
    scores = result.scores[judged]
    if scores.size == 0:
        return None, ()
    if scores.min() < 0.0 or scores.max() > 1.0:
        message = f"scores run from {scores.min():.6g} to {scores.max():.6g}"
        return None, (Notice("evaluation.not_probabilities", message),)
    return measure_calibration(scores, result.verdicts[judged] == ON_NODULE), ()


def evaluate_to_folder(
    marks: str | Path, folder: str | Path, *, overwrite: bool = False, **options: Any
) -> tuple[Evaluation, dict[str, Path]]:
    """`evaluate` with its `options`, then write ``evaluation.json``, ``evaluation.html`` and ``froc.svg``: all or none.

    Args:
        marks: as for `evaluate`.
        folder: for the three files; others in it stay as they are.
        overwrite: replace an earlier evaluation there.
        options: as for `evaluate`.

    Raises:
        InputError, UsageError: as `evaluate`; ``usage.output_exists``.
        OutputError: ``output.*`` if a file cannot be written; what was there before is still there.
    """
    check_result_folder(folder, overwrite=overwrite, kind=RESULT)
    evaluation = evaluate(marks, **options)
    return evaluation, write_evaluation(evaluation, folder, overwrite=overwrite)


def write_evaluation(evaluation: Evaluation, folder: str | Path, *, overwrite: bool = False) -> dict[str, Path]:
    """Write an evaluation's three files; returns name -> path."""
    from imaging.evaluation.froc_plot import froc_svg

    plot = froc_svg(evaluation.result.curve, evaluation.intervals, label=evaluation.inputs["marks"]["name"])
    contents = {
        JSON_NAME: json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        PAGE_NAME: page(evaluation),
        PLOT_NAME: f'<?xml version="1.0" encoding="utf-8"?>\n{plot}\n',
    }
    with result_folder(folder, overwrite=overwrite, kind=RESULT) as unfinished:
        for name, text in contents.items():
            (unfinished / name).write_text(text, encoding="utf-8", newline="")
    return {name: Path(folder) / name for name in contents}


def page(evaluation: Evaluation) -> str:
    """The evaluation as one HTML page that needs no network."""
    from imaging.evaluation.froc import RATES
    from imaging.evaluation.froc_plot import froc_svg, reliability_svg

    values = evaluation.to_json()
    missed = [nodule for nodule in values["nodules_listed"] if nodule["score"] is None]
    return _template().render(
        e=evaluation,
        values=values,
        rates=list(zip(("1/8", "1/4", "1/2", "1", "2", "4", "8"), RATES, strict=True)),
        plot=froc_svg(evaluation.result.curve, evaluation.intervals, label=evaluation.inputs["marks"]["name"]),
        reliability=None if evaluation.calibration is None else reliability_svg(evaluation.calibration),
        missed=sorted(missed, key=lambda nodule: -nodule["diameter_mm"]),
    )


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    source = Path(__file__).with_name("evaluation_page.jinja").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)
