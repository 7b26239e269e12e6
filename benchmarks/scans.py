"""Benchmark 5, scans: whole chest CTs through the pipeline, run once a release.

    python -m benchmarks.scans --release NAME [--weights PATH] [--no-write]

For each outlined nodule of the two scans: at which rank a finding hits it (strictly inside its radius, LUNA16's rule),
and how many false marks come before. A mark on any outlined nodule is never false. Each run is a logged look, so the
script refuses to start without the name of the release it is run for.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.lidc_data import SHARED
from benchmarks.results_table import Made, log_look, markdown_table, replace_section, section
from benchmarks.scorers import Point, blob_response
from imaging.provenance import file_sha256

#: Findings asked for, at any score.
FINDINGS = 60
SEED = 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """What happened to one nodule: the rank of the first mark on it and the false marks before; None if never hit."""

    rank: int | None
    false_before: int | None


def rank_nodules(points_mm: Sequence[Point], centres_mm: Floats, diameters_mm: Floats) -> list[Ranked]:
    """Ranks of nodules among marks that are given from the most suspicious on.

    A mark that hits any nodule is not false, and a further mark on the same nodule is not counted at all.
    """
    offsets = np.asarray(points_mm, dtype=float).reshape(-1, 1, 3) - centres_mm[None]
    hits = (offsets**2).sum(axis=-1) < (diameters_mm / 2.0) ** 2
    false_before = np.concatenate([[0], np.cumsum(~hits.any(axis=1))])
    ranked = []
    for column in hits.T:
        first = int(column.argmax()) if column.any() else None
        ranked.append(Ranked(None, None) if first is None else Ranked(first + 1, int(false_before[first])))
    return ranked


def main(arguments: Sequence[str] | None = None) -> None:
    """Run both scans, log the look and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scans", description=__doc__.splitlines()[0])
    parser.add_argument("--release", help="the release this look is for; without it nothing is run")
    parser.add_argument("--weights", help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print and log only")
    options = parser.parse_args(arguments)
    if not options.release:
        raise SystemExit("these two scans are looked at once a release: name it with --release")
    folder = SHARED / "ct"
    truth = pd.read_csv(folder / "truth.csv")
    from imaging.models.weights import load_model

    model = load_model(options.weights)
    rows, headline = [], []
    for scan, nodules in truth.groupby("scan"):
        marks = _marks(folder / f"{scan}.zip", model)
        centres = nodules[["coordX", "coordY", "coordZ"]].to_numpy()
        judged = {name: rank_nodules(points, centres, nodules.diameter_mm.to_numpy()) for name, points in marks.items()}
        for n, nodule in enumerate(nodules.itertuples()):
            size = f"{nodule.diameter_mm:.1f}"
            rows.append((str(scan), size, str(nodule.readers), *(_cell(each[n]) for each in judged.values())))
            if nodule.readers == 4:
                headline.append(f"{scan} {size} mm: {_cell(judged['nodulus'][n])}")
    made = Made(
        f"python -m benchmarks.scans --release {options.release}",
        SEED,
        model.name,
        model.sha256,
        "ct/truth.csv",
        file_sha256(folder / "truth.csv"),
    )
    body = (
        f"Rank of the first mark on each outlined nodule among {FINDINGS} marks at any score, and in brackets the "
        "false marks before it; a dash where no mark hits it.\n\n"
    )
    names = ("nodulus", "random in the lung", "centre prior", "LoG blobs")
    body += markdown_table(("scan", "diameter, mm", "readers", *names), rows)
    text = section(f"Whole scans (release {options.release})", body, made)
    print(text)
    log_look("scans", "scan", made, "; ".join(headline))
    if not options.no_write:
        replace_section("scans", text)


def _cell(ranked: Ranked) -> str:
    return "-" if ranked.rank is None else f"{ranked.rank} ({ranked.false_before})"


def _marks(path: Path, model: object) -> dict[str, list[Point]]:
    """Marks of the pipeline and of the baselines, the most suspicious first."""
    from pipelines.predict import predict

    case = predict(path, model=model, threshold=0.0, max_findings=FINDINGS, explain=False)
    volume, lungs = case.volume, case.lungs
    rng = np.random.default_rng(SEED)
    voxels = np.argwhere(lungs.mask)
    grid = volume.grid
    middle = grid.to_mm(voxels.mean(axis=0))
    lattice = grid.to_mm(voxels[rng.permutation(len(voxels))[: 40 * FINDINGS]])
    nearest = np.argsort(np.linalg.norm(lattice - middle, axis=1), kind="stable")[:FINDINGS]
    return {
        "nodulus": [finding.centre_mm for finding in case.report.findings],
        "random in the lung": _points(grid.to_mm(rng.choice(voxels, FINDINGS))),
        "centre prior": _points(lattice[nearest]),
        "LoG blobs": _blobs(volume, lungs.mask),
    }


def _blobs(volume: object, mask: npt.NDArray[np.bool_]) -> list[Point]:
    from scipy import ndimage

    response = np.where(mask, blob_response(volume), -np.inf)
    size = [2 * int(np.ceil(2.5 / spacing)) + 1 for spacing in volume.grid.spacing_mm]
    peaks = np.argwhere((response == ndimage.maximum_filter(response, size=size)) & np.isfinite(response))
    strongest = np.argsort(-response[tuple(peaks.T)], kind="stable")[:FINDINGS]
    return _points(volume.grid.to_mm(peaks[strongest]))


def _points(values: Floats) -> list[Point]:
    return [(float(x), float(y), float(z)) for x, y, z in values]


if __name__ == "__main__":
    main()
