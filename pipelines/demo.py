"""A CT whose nodules are known, made here, analysed as any other, and compared with the truth, misses included.

The phantom's seed and shapes are not those of any training; nothing is downloaded.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from imaging.errors import UsageError
from imaging.findings import Finding
from imaging.io.atomic import atomic_folder, write_text
from pipelines.allowed import SEED as SEEDS
from pipelines.progress import OnProgress, OnStage, part_of

if TYPE_CHECKING:
    from imaging.findings import Report
    from imaging.simulation.lesions import PlantedNodule

#: Of the demo's phantom alone; training draws from other streams.
SEED: Final = 20_261_123

#: Written into the folder of a demo; a folder with it may be replaced by a new demo.
TRUTH_FILE: Final = "truth.csv"


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Args:
        report: of the analysis.
        truth: what was planted.
        found: for each planted nodule the finding that hit it, or None.
        false_marks: findings that hit nothing.
        files: name -> path of everything worth opening.
    """

    report: Report
    truth: tuple[PlantedNodule, ...]
    found: tuple[Finding | None, ...]
    false_marks: tuple[Finding, ...]
    files: Mapping[str, Path]


def run_demo(folder: str | Path, *, seed: int = SEED, on_stage: OnStage | None = None, **options: Any) -> Demo:
    """Make the phantom, analyse it with `options` of `pipelines.predict.analyse_to_folder`, compare.

    Writes ``ct/`` (DICOM), ``result/`` (what `predict` writes) and ``truth.csv`` into `folder`, which appears complete
    or not at all; an earlier demo in it is replaced.

    Raises:
        UsageError: ``usage.output_exists`` if `folder` holds anything but an earlier demo.
    """
    from pipelines.predict import analyse_to_folder

    SEEDS.check("seed", seed)
    target = Path(folder)
    again = (target / TRUTH_FILE).is_file()
    if target.exists() and not again and any(target.iterdir()):
        raise UsageError("usage.output_exists", "the folder is not an earlier demo", where=target)
    with atomic_folder(target, replace=again) as unfinished:
        if on_stage:
            on_stage("making a phantom", 0, 1)
        truth = make_ct(unfinished / "ct", seed=seed, on_progress=part_of(on_stage, "making a phantom"))
        result, files = analyse_to_folder(unfinished / "ct", unfinished / "result", on_stage=on_stage, **options)
        found, false_marks = match(result.report.findings, truth)
        write_text(unfinished / TRUTH_FILE, _truth_csv(truth, found))
    written = {name: target / "result" / path.name for name, path in files.items()}
    return Demo(result.report, tuple(truth), found, false_marks, {"ct": target / "ct", **written})


def make_ct(folder: Path, *, seed: int = SEED, on_progress: OnProgress | None = None) -> list[PlantedNodule]:
    """Write the phantom as a DICOM series, its files in no order; what was planted in it."""
    from imaging.simulation.dicom_series import write_series
    from imaging.simulation.thorax import make_thorax

    rng = np.random.default_rng(seed)
    volume, truth = make_thorax(rng=rng, on_progress=on_progress)
    write_series(volume, folder, order="shuffled", rng=rng)
    return truth


def match(
    findings: Sequence[Finding], truth: Sequence[PlantedNodule]
) -> tuple[tuple[Finding | None, ...], tuple[Finding, ...]]:
    """LUNA16's rule: a mark hits a nodule within its radius; the best one counts, others on it are neither."""
    found: list[Finding | None] = []
    used: set[int] = set()
    for nodule in truth:
        near = [
            f for f in findings if np.linalg.norm(np.subtract(f.centre_mm, nodule.centre_mm)) <= nodule.diameter_mm / 2
        ]
        used |= {finding.number for finding in near}
        found.append(max(near, key=lambda finding: finding.score, default=None))
    return tuple(found), tuple(finding for finding in findings if finding.number not in used)


def _truth_csv(truth: Sequence[PlantedNodule], found: Sequence[Finding | None]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("coordX", "coordY", "coordZ", "diameter_mm", "kind", "finding"))
    for nodule, finding in zip(truth, found, strict=True):
        writer.writerow((*nodule.centre_mm, nodule.diameter_mm, nodule.kind, finding.number if finding else ""))
    return stream.getvalue()
