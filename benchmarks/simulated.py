"""Benchmark 4, simulated scans: the full LUNA16 protocol on 100 phantom chests whose nodules are known.

    python -m benchmarks.simulated --work FOLDER [--scans 0:20] [--weights PATH] [--no-write]

Every scan follows from its number alone: chest, vessels, scanner, and up to six nodules of 4 to 30 mm (solid,
part-solid, ground-glass, calcified; isolated, on a vessel, on the pleura); a quarter of the scans hold none. The
generator shares no code and no parameter with anything that makes training data. It is a sanity check, not a claim
about patients. Marks are kept in the work folder, scan by scan, so that a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import BlobDetector, CentrePrior, RandomInLung, Scorer, StackMark
from imaging.errors import InputError
from imaging.evaluation.bootstrap import FrocIntervals, froc_intervals
from imaging.evaluation.breakdown import GroupSensitivity, breakdowns
from imaging.evaluation.froc import RATES
from imaging.evaluation.luna16 import FrocResult, evaluate_marks
from imaging.evaluation.tables import Annotations, Marks
from imaging.geometry import Grid, Volume
from imaging.io.atomic import write_text
from imaging.simulation.lesions import ATTACHMENTS, KINDS, OUTLINES, NoduleWish, PlantedNodule
from imaging.simulation.scanner import Scanner
from imaging.simulation.thorax import simulate_thorax

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

#: What the scans are made from; changing anything of it makes another benchmark.
FAMILY: Final = 20_261_123
SCANS: Final = 100
EMPTY_SHARE: Final = 0.25
MOST_NODULES: Final = 6
DIAMETERS_MM: Final = (4.0, 30.0)
HEIGHT_MM, SIDE_PIXELS = 300.0, 512
SLICE_MM: Final = (1.25, 2.0, 2.5)
MARKS_A_SCAN = 60
SEED = 0
#: Texture as the readers of LIDC rate it, so that breakdowns speak one language.
TEXTURE: Final = {"solid": 5, "calcified": 5, "part-solid": 3, "ground-glass": 1}


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """One scan of the family, with its truth."""

    number: int
    volume: Volume
    nodules: tuple[PlantedNodule, ...]

    @property
    def name(self) -> str:
        """What stands for a series UID."""
        return f"simulated-{self.number:03d}"


def wishes(rng: np.random.Generator) -> list[NoduleWish]:
    """What is to be planted in one scan; diameters are log-uniform."""
    count = 0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, MOST_NODULES + 1))
    low, high = np.log(DIAMETERS_MM)
    return [
        NoduleWish(
            float(np.exp(rng.uniform(low, high))),
            KINDS[rng.choice(4, p=(0.55, 0.15, 0.2, 0.1))],
            OUTLINES[rng.integers(3)],
            ATTACHMENTS[rng.integers(3)],
        )
        for _ in range(count)
    ]


def make_scan(number: int, *, side_pixels: int = SIDE_PIXELS) -> SimulatedScan:
    """Scan `number` of the family; where a nodule finds no room, the largest is left out."""
    rng = np.random.default_rng([FAMILY, number])
    wanted = wishes(rng)
    slice_mm, pixel_mm = float(rng.choice(SLICE_MM)), float(rng.uniform(0.62, 0.78)) * SIDE_PIXELS / side_pixels
    soft = float(rng.random())
    scanner = Scanner(blur_mm=1.0 + 0.5 * soft, noise_hu=float(rng.uniform(10, 35)), grain_mm=0.6 + 0.6 * soft)
    while True:
        try:
            thorax = simulate_thorax(
                rng=np.random.default_rng([FAMILY, number, len(wanted)]),
                shape=(round(HEIGHT_MM / slice_mm), side_pixels, side_pixels),
                spacing_mm=(slice_mm, pixel_mm, pixel_mm),
                nodules=wanted,
                scanner=scanner,
            )
        except ValueError:
            if not wanted:
                raise
            wanted = sorted(wanted, key=lambda wish: wish.diameter_mm)[:-1]
            continue
        return SimulatedScan(number, thorax.volume, tuple(thorax.nodules))


@dataclass(frozen=True, eq=False)
class _AsStack:
    """A scan with its lungs, as the baselines want to see it."""

    volume: Volume
    lungs: Lungs


def mark_scan(scan: SimulatedScan, scorers: Sequence[Any]) -> dict[str, Any]:
    """Truth and marks of one scan as plain values; a scan that the pipeline refuses has no marks, and says why."""
    from imaging.preprocessing.lungs import find_lungs

    record: dict[str, Any] = {
        "nodules": [
            {
                "centre_mm": nodule.centre_mm,
                "diameter_mm": nodule.diameter_mm,
                "kind": nodule.kind,
                "attachment": nodule.attachment,
            }
            for nodule in scan.nodules
        ],
        "refused": None,
        "marks": {scorer.name: [] for scorer in scorers},
    }
    try:
        whole = _AsStack(scan.volume, find_lungs(scan.volume))
    except InputError as error:
        record["refused"] = error.code
        return record
    coarse = _coarse(whole)
    for scorer in scorers:
        marks: list[StackMark] = scorer.mark_stack(whole if scorer.wants_detail else coarse)
        record["marks"][scorer.name] = [[*mark.point_mm, mark.logit] for mark in marks[:MARKS_A_SCAN]]
    return record


def _coarse(seen: _AsStack) -> _AsStack:
    """The lungs' box with every second row and column, for the baselines, which need no more."""
    from imaging.preprocessing.lungs import Lungs

    inside = np.argwhere(seen.lungs.labels[:, ::4, ::4]) * (1, 4, 4)
    low, high = np.maximum(inside.min(axis=0) - (2, 8, 8), 0), inside.max(axis=0) + np.array([3, 12, 12])
    box = tuple(slice(a, b, step) for a, b, step in zip(low, high, (1, 2, 2), strict=True))
    affine = seen.volume.grid.affine.copy()
    affine[:3, 1:3] *= 2
    affine[:3, 3] = seen.volume.grid.to_mm(low)
    array = np.ascontiguousarray(seen.volume.array[box])
    grid = Grid((*array.shape,), affine)
    lungs = Lungs(np.ascontiguousarray(seen.lungs.labels[box]), grid, seen.lungs.volume_ml)
    return _AsStack(Volume(array, grid), lungs)


def truth_of(records: dict[str, dict[str, Any]]) -> Annotations:
    """All nodules of some scans, with texture and pleural contact."""
    rows = [(name, nodule) for name, record in records.items() for nodule in record["nodules"]]
    return Annotations(
        tuple(name for name, _ in rows),
        np.array([nodule["centre_mm"] for _, nodule in rows]),
        np.array([nodule["diameter_mm"] for _, nodule in rows]),
        {
            "texture": tuple(str(TEXTURE[nodule["kind"]]) for _, nodule in rows),
            "pleural_contact": tuple(str(int(nodule["attachment"] == "pleura")) for _, nodule in rows),
        },
    )


def marks_of(records: dict[str, dict[str, Any]], scorer: str) -> Marks:
    """All marks of one scorer."""
    rows = [(name, mark) for name, record in records.items() for mark in record["marks"][scorer]]
    values = np.array([mark for _, mark in rows]).reshape(-1, 4)
    return Marks(tuple(name for name, _ in rows), values[:, :3], values[:, 3])


def body(records: dict[str, dict[str, Any]], scorers: Sequence[str]) -> tuple[str, str]:
    """The tables as Markdown, and the headline."""
    truth = truth_of(records)
    results = {name: evaluate_marks(marks_of(records, name), truth, None, tuple(records)) for name in scorers}
    refused = sum(record["refused"] is not None for record in records.values())
    text = (
        f"{len(records)} simulated scans, {len(truth.seriesuids)} nodules of 4 to 30 mm; {refused} scans were refused. "
        "LUNA16 protocol; 95 % interval by bootstrap over scans.\n\n"
    )
    rows, headline = [], ""
    for name, result in results.items():
        intervals = froc_intervals(result.pool, rng=np.random.default_rng(SEED))
        rows.append(_row(name, result, intervals))
        headline = headline or f"{name}: CPM {intervals.cpm}"
    text += markdown_table(("scorer", "CPM", "1/8", "1/4", "1/2", "1", "2", "4", "8"), rows)
    first = next(iter(results))
    for title, groups in breakdowns(results[first], truth).items():
        text += f"\n{first}, by {title}:\n\n" + _group_table(groups)
    return text, headline


def _row(name: str, result: FrocResult, intervals: FrocIntervals) -> tuple[str, ...]:
    return (name, str(intervals.cpm), *(f"{s:.3f}" for s in result.curve.at(RATES)))


def _group_table(groups: Sequence[GroupSensitivity]) -> str:
    at_one, at_four = RATES.index(1.0), RATES.index(4.0)
    rows = [
        (g.group, str(g.nodules), *(f"{s:.3f}" for s in (g.cpm, g.sensitivity[at_one], g.sensitivity[at_four])))
        for g in groups
    ]
    return markdown_table(("group", "nodules", "mean", "at 1", "at 4"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Mark the scans that are asked for; write the table once all of them are marked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated", description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the marks of each scan")
    parser.add_argument("--scans", default=f"0:{SCANS}", help="which scans to mark, first:last+1")
    parser.add_argument("--weights", help="weights to measure; by default those that ship")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args(arguments)
    first, last = (int(part) for part in options.scans.split(":"))
    from benchmarks.model_scorer import ModelScorer

    model = ModelScorer.load(options.weights)
    kept = options.work / model.weights_sha256[:16]
    for number in range(first, min(last, SCANS)):
        path = kept / f"{number:03d}.json"
        if not path.exists():
            scorers: list[Scorer] = [model, RandomInLung(number), CentrePrior(), BlobDetector()]
            write_text(path, json.dumps(mark_scan(make_scan(number), scorers)))
            print(f"scan {number}: {path.stat().st_size} bytes of marks", flush=True)
    records = {f"simulated-{path.stem}": json.loads(path.read_text()) for path in sorted(kept.glob("*.json"))}
    digest = hashlib.sha256(json.dumps([r["nodules"] for r in records.values()]).encode()).hexdigest()
    command = "python -m benchmarks.simulated --work FOLDER"
    made = Made(command, SEED, model.weights_name, model.weights_sha256, f"family {FAMILY}, truth", digest)
    names = (model.name, RandomInLung.name, CentrePrior.name, BlobDetector.name)
    text, headline = body(records, names)
    complete = len(records) == SCANS
    write = complete and not options.no_write
    publish("scans", "Simulated scans", text, made, split="simulated", headline=headline, write=write)
    if not complete:
        print(f"{len(records)} of {SCANS} scans are marked; the table is written once all are")


if __name__ == "__main__":
    main()
