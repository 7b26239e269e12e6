"""Benchmark 2, crops: find the nodule in a small stack that was cut off-centre.

    python -m benchmarks.crops [--split val|test] [--weights PATH] [--baselines-only] [--no-write]

Each stack is a piece of 80 x 80 pixels of a scan, all slices in which a nodule was outlined, the nodule anywhere in
it. A mark is right by LUNA16's rule: strictly inside the radius of the nodule, in 3D. A mark on any reader's outline,
of this or another nodule, is ignored. False marks are counted per stack and per litre of aerated lung; intervals are by
bootstrap over patients. The stacks show no nodule's end, and their middle slice is near its middle: see the centre
prior. Of the nodules that are hit, the strongest mark that hits each says how far off its place is in 3D, and whether
it lies in a voxel that two readers outlined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.comparison import RESAMPLES, SEED, SIZES_MM, compared, parser_of, size_name, writes
from benchmarks.lidc_data import SHARED, LidcCrops, Stack, frozen_list
from benchmarks.results_table import markdown_table, publish
from benchmarks.scorers import Scorer, StackMark
from imaging.evaluation.bootstrap import Interval, bounds, mean_interval, median_interval, resamples, unit_index
from imaging.evaluation.luna16 import FrocResult, evaluate_marks
from imaging.evaluation.tables import Annotations, Marks

CROP_PIXELS = 80
#: False marks per stack at which sensitivity is read, and per litre of lung.
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
RATES_PER_LITRE = (5.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True, eq=False)
class CropSet:
    """The frozen stacks with the nodule in each; `table` and `stacks` run in parallel."""

    table: pd.DataFrame
    stacks: tuple[Stack, ...]
    truth: Annotations

    @classmethod
    def read(cls, split: str, folder: Path = SHARED / "lidc_crops") -> CropSet:
        """The stacks of a split."""
        table = frozen_list(f"crops_{split}.csv", folder)
        crops = LidcCrops(folder)
        stacks = []
        for line in table.itertuples():
            stack = crops.stack(line.patient, line.nodule)
            if len(stack.rows) != line.slices or stack.rows.min() != line.first_row:
                raise ValueError(f"{line.patient}, nodule {line.nodule}: the list names other slices than the crops")
            rows, columns = (slice(start, start + CROP_PIXELS) for start in (line.top, line.left))
            stacks.append(stack.part(rows, columns))
        centres = np.array([nodule_centre_mm(stack) for stack in stacks])
        names = tuple(str(n) for n in range(len(stacks)))
        return cls(table, tuple(stacks), Annotations(names, centres, table.diameter_mm.to_numpy()))

    @property
    def litres(self) -> float:
        """Aerated lung in all stacks."""
        return sum(stack.lungs.volume_ml for stack in self.stacks) / 1000.0


def nodule_centre_mm(stack: Stack) -> npt.NDArray[np.float64]:
    """Middle of what two readers outlined, LPS mm; of what any reader outlined where no two agree."""
    region = stack.agreed if stack.agreed.any() else stack.readers > 0
    return stack.volume.grid.to_mm(np.argwhere(region).mean(axis=0))


def judge(stack_marks: Sequence[Sequence[StackMark]], crops: CropSet) -> FrocResult:
    """The LUNA16 protocol over stacks; a mark on any outline that does not hit the nodule is left out beforehand."""
    names, points, scores = [], [], []
    for name, marks, stack, centre, diameter in zip(
        crops.truth.seriesuids, stack_marks, crops.stacks, crops.truth.points_mm, crops.truth.diameters_mm, strict=True
    ):
        for mark in marks:
            if _hits(mark, centre, diameter) or not _on_outline(stack, mark):
                names.append(name)
                points.append(mark.point_mm)
                scores.append(mark.logit)
    table = Marks(tuple(names), np.array(points).reshape(-1, 3), np.array(scores))
    return evaluate_marks(table, crops.truth, None, crops.truth.seriesuids)


def _hits(mark: StackMark, centre: npt.NDArray[np.float64], diameter: float) -> bool:
    return bool(np.sum((np.asarray(mark.point_mm) - centre) ** 2) < (diameter / 2.0) ** 2)


def _on_outline(stack: Stack, mark: StackMark) -> bool:
    return bool(stack.outlined[_voxel(stack, mark)])


def _voxel(stack: Stack, mark: StackMark) -> tuple[int, ...]:
    index = np.rint(stack.volume.grid.to_index(mark.point_mm)).astype(int)
    return tuple(np.clip(index, 0, np.asarray(stack.volume.grid.shape) - 1))


@dataclass(frozen=True, eq=False)
class Placed:
    """The strongest mark that hits each nodule: which nodule, how far from its middle, in what two readers outlined."""

    nodule: npt.NDArray[np.int64]
    error_mm: npt.NDArray[np.float64]
    inside: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, stack_marks: Sequence[Sequence[StackMark]], crops: CropSet) -> Placed:
        """Judge the marks of each stack."""
        found: list[tuple[int, float, bool]] = []
        for number, (marks, stack, centre, diameter) in enumerate(
            zip(stack_marks, crops.stacks, crops.truth.points_mm, crops.truth.diameters_mm, strict=True)
        ):
            hits = [mark for mark in marks if _hits(mark, centre, diameter)]
            if hits:
                best = max(hits, key=lambda mark: mark.logit)
                error = float(np.linalg.norm(np.subtract(best.point_mm, centre)))
                found.append((number, error, bool(stack.agreed[_voxel(stack, best)])))
        numbers, millimetres, inside = zip(*found, strict=True) if found else ((), (), ())
        return cls(np.array(numbers, np.int64), np.array(millimetres), np.array(inside, bool))

    def by_size(self, crops: CropSet) -> list[tuple[str, int, Interval, Interval]]:
        """Size, nodules hit, share inside and median error in mm; all sizes last."""
        rows = []
        for low, high in (*SIZES_MM, (0.0, np.inf)):
            diameters = crops.truth.diameters_mm[self.nodule]
            some = (diameters >= low) & (diameters < high)
            if some.any():
                patients = crops.table.patient.to_numpy()[self.nodule[some]]
                shares = mean_interval(self.inside[some], patients, count=RESAMPLES, rng=np.random.default_rng(SEED))
                errors = median_interval(
                    self.error_mm[some], patients, count=RESAMPLES, rng=np.random.default_rng(SEED)
                )
                rows.append((size_name(low, high), int(some.sum()), shares, errors))
        return rows


@dataclass(frozen=True)
class CropFigures:
    """All figures of one scorer: sensitivity at `RATES`, at `RATES_PER_LITRE`, and by size at 1 and 4 false marks."""

    name: str
    at_rates: list[Interval]
    per_litre: list[Interval]
    greatest: float
    by_size: list[tuple[str, int, float, float]]
    placed: list[tuple[str, int, Interval, Interval]]


def measure(scorer: Scorer, crops: CropSet) -> CropFigures:
    """Mark every stack and count."""
    marks = [scorer.mark_stack(stack) for stack in crops.stacks]
    result = judge(marks, crops)
    stacks_per_litre = len(crops.stacks) / crops.litres
    rates = np.array([*RATES, *(rate / stacks_per_litre for rate in RATES_PER_LITRE)])
    patient, patients = unit_index(crops.table.patient.to_numpy())
    rng = np.random.default_rng(SEED)
    drawn = [result.pool.curve(scan_weights=w[patient]).at(rates) for w in resamples(patients, RESAMPLES, rng)]
    low, high = bounds(drawn)
    intervals = [Interval(*map(float, row)) for row in zip(result.curve.at(rates), low, high, strict=True)]
    return CropFigures(
        name=scorer.name,
        at_rates=intervals[: len(RATES)],
        per_litre=intervals[len(RATES) :],
        greatest=float(result.found.mean()),
        by_size=_by_size(result, crops.truth.diameters_mm),
        placed=Placed.of(marks, crops).by_size(crops),
    )


def _by_size(result: FrocResult, diameters_mm: npt.NDArray[np.float64]) -> list[tuple[str, int, float, float]]:
    rows = []
    for low, high in SIZES_MM:
        members = (diameters_mm >= low) & (diameters_mm < high)
        if members.any():
            one, four = result.pool.curve(nodule_subset=members).at([1.0, 4.0])
            rows.append((size_name(low, high), int(members.sum()), float(one), float(four)))
    return rows


def body(figures: Sequence[CropFigures], crops: CropSet) -> str:
    """The tables as Markdown."""
    text = (
        f"{len(crops.stacks)} stacks of {crops.table.patient.nunique()} patients, {crops.litres:.2f} litres of aerated "
        "lung. Sensitivity by LUNA16's hit rule; marks on any reader's outline are ignored; 95 % intervals by "
        "bootstrap over patients.\n\nFalse marks per stack:\n\n"
    )
    header = ("scorer", "1/8", "1/4", "1/2", "1", "2", "4", "8", "at most")
    rows = [
        (f.name, *(_cell(i, rate) for i, rate in zip(f.at_rates, RATES, strict=True)), f"{f.greatest:.3f}")
        for f in figures
    ]
    text += markdown_table(header, rows) + "\nFalse marks per litre of lung:\n\n"
    rows = [(f.name, *(str(interval) for interval in f.per_litre)) for f in figures]
    text += markdown_table(("scorer", *(f"{rate:g}" for rate in RATES_PER_LITRE)), rows)
    text += f"\n{figures[0].name}, by size of the nodule:\n\n"
    header = ("diameter", "nodules", "at 1 false mark a stack", "at 4")
    rows = [(name, str(count), f"{one:.3f}", f"{four:.3f}") for name, count, one, four in figures[0].by_size]
    text += markdown_table(header, rows)
    text += f"\n{figures[0].name}, the strongest mark that hits a nodule, in 3D:\n\n"
    header = ("diameter", "nodules hit", "inside what two readers outlined", "median error, mm")
    rows = [(name, str(count), str(share), f"{error:.2f}") for name, count, share, error in figures[0].placed]
    return text + markdown_table(header, rows)


def _cell(interval: Interval, rate: float) -> str:
    """Intervals only where the bars are, to keep the table readable."""
    return str(interval) if rate in (1.0, 4.0) else f"{interval.value:.3f}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its table."""
    options = parser_of("crops", __doc__).parse_args(arguments)
    crops = CropSet.read(options.split)
    scorers, made = compared("crops", options)
    figures = [measure(scorer, crops) for scorer in scorers]
    one, four = figures[0].at_rates[3], figures[0].at_rates[5]
    headline = f"{figures[0].name}: sensitivity {one.value:.3f} at 1 false mark a stack, {four.value:.3f} at 4"
    title = f"Crops ({options.split})"
    publish("crops", title, body(figures, crops), made, split=options.split, headline=headline, write=writes(options))


if __name__ == "__main__":
    main()
