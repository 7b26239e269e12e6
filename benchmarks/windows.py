"""Benchmark 1, windows: is there a nodule in a window of 33.6 mm, and does the point lie in it?

    python -m benchmarks.windows [--split val|test] [--weights PATH] [--baselines-only] [--no-write]

The windows are a frozen list. AUROC tells windows that hold a nodule from windows that hold none, over all windows
and over those whose grey scale is known exactly. The strict pointing game asks whether the refined point lies in the
outline of at least two readers. The model's logit and evidence are means over mirrored windows, as in the second look
of `nodulus predict`; of four lesions outlined on the CT around the window, that with the strongest evidence in it and
the highest logit of its own gives the refined point. A window is one slice, and so is the truth: the refined point is
where the lesion lies in that slice; its centre in 3D, which is what `nodulus predict` gives, stands beside it. Windows
of one nodule share one vote; intervals are by bootstrap over patients. Layers, thresholds and models are chosen on
`val`, the rules of the refined point on `val` and on nodules of `train` (`benchmarks.train_windows`); every look at
`test` is logged.
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
from benchmarks.scorers import Point, Scorer, Window, WindowPoints
from imaging.evaluation.bootstrap import Interval, auroc_interval, mean_interval, median_interval
from imaging.evaluation.pointing import in_plane_error_mm, points_at, shared_votes

SMALL_MM = 8.0


@dataclass(frozen=True, eq=False)
class WindowSet:
    """The frozen windows with their stacks; `table` and `windows` run in parallel."""

    table: pd.DataFrame
    windows: tuple[Window, ...]

    @classmethod
    def read(cls, split: str, folder: Path = SHARED / "lidc_crops") -> WindowSet:
        """The windows of a split."""
        table = frozen_list(f"windows_{split}.csv", folder)
        crops = LidcCrops(folder)
        stacks: dict[tuple[str, int], Stack] = {}
        windows = []
        for line in table.itertuples():
            key = (line.patient, line.nodule)
            if key not in stacks:
                stacks[key] = crops.stack(*key)
            stack = stacks[key]
            at = stack.slice_of(line.row)
            x, y, z = stack.volume.grid.to_mm((at, line.centre_row, line.centre_col))
            windows.append(Window(stack, at, (float(x), float(y), float(z))))
        exact = [bool(w.stack.exact[w.slice_index]) for w in windows]
        return cls(table.assign(exact=exact), tuple(windows))

    @property
    def holds(self) -> npt.NDArray[np.bool_]:
        """Whether each window holds a nodule."""
        labels: npt.NDArray[np.bool_] = self.table.label.to_numpy() == 1
        return labels

    @property
    def votes(self) -> npt.NDArray[np.float64]:
        """Windows of one nodule share one vote; a window without a nodule has one of its own."""
        names = [
            f"{line.patient}/{line.nodule}" if line.label else f"free {n}"
            for n, line in enumerate(self.table.itertuples())
        ]
        return shared_votes(names)


@dataclass(frozen=True)
class Pointed:
    """How one kind of point did on the windows that hold a nodule."""

    hit: npt.NDArray[np.bool_]
    error_mm: npt.NDArray[np.float64]

    @classmethod
    def of(cls, windows: Sequence[Window], points: Sequence[Point]) -> Pointed:
        """Judge one point a window, in the plane of its slice."""
        hits, errors = [], []
        for window, point in zip(windows, points, strict=True):
            grid = window.stack.volume.grid
            row_column = grid.to_index(point)[1:]
            region = window.stack.agreed[window.slice_index]
            hits.append(points_at(region, row_column))
            errors.append(in_plane_error_mm(row_column, region, pixel_spacing_mm=grid.spacing_mm[1]))
        return cls(np.array(hits), np.array(errors))


@dataclass(frozen=True)
class WindowFigures:
    """All figures of one scorer."""

    name: str
    auroc: Interval
    auroc_exact: Interval
    auroc_unweighted: float
    points: dict[str, tuple[Interval, Interval, Interval]]  # kind -> all, under 8 mm, median error in mm
    by_size: list[tuple[str, int, Interval, Interval]]  # size, nodules, pointing, median error
    calibration_error: float | None  # of scores, where a scorer has any


def measure(scorer: Scorer, windows: WindowSet) -> WindowFigures:
    """Score every window and count."""
    from imaging.evaluation.auroc import RankedScores

    logits = scorer.window_logits(windows.windows)
    table, holds, votes = windows.table, windows.holds, windows.votes
    patients = table.patient.to_numpy()
    exact = table.exact.to_numpy()

    def auroc(keep: npt.NDArray[np.bool_]) -> Interval:
        rng = np.random.default_rng(SEED)
        return auroc_interval(holds[keep], logits[keep], patients[keep], weights=votes[keep], count=RESAMPLES, rng=rng)

    positives = np.flatnonzero(holds)
    held = Held(
        [windows.windows[n] for n in positives],
        patients[positives],
        votes[positives],
        table.diameter_mm.to_numpy()[positives],
    )
    judged = kinds_of(held, scorer.point_windows(held.windows))
    points = {kind: held.pointing(each) for kind, each in judged.items()}
    return WindowFigures(
        name=scorer.name,
        auroc=auroc(np.ones(len(table), dtype=bool)),
        auroc_exact=auroc(exact),
        auroc_unweighted=RankedScores(holds, logits).auroc(),
        points=points,
        by_size=held.by_size(judged["refined"]),
        calibration_error=_calibration_error(scorer, logits, holds),
    )


def _calibration_error(scorer: Scorer, logits: npt.NDArray[np.float64], holds: npt.NDArray[np.bool_]) -> float | None:
    """Expected calibration error of a scorer's scores, every window alike; None if it has logits only."""
    from imaging.evaluation.calibration import measure_calibration

    calibrate = getattr(scorer, "calibrate", None)
    return None if calibrate is None else measure_calibration([calibrate(x) for x in logits], holds).error


@dataclass(frozen=True)
class Held:
    """The windows that hold a nodule: whose they are, and how much each counts."""

    windows: list[Window]
    patients: npt.NDArray[np.object_]
    votes: npt.NDArray[np.float64]
    diameters_mm: npt.NDArray[np.float64]

    def pointing(self, judged: Pointed) -> tuple[Interval, Interval, Interval]:
        """Share of hits, the same under 8 mm, and the median error in mm."""
        everything = np.ones(len(self.windows), dtype=bool)
        small = self.diameters_mm < SMALL_MM
        return (self._share(judged, everything), self._share(judged, small), self._error(judged, everything))

    def by_size(self, judged: Pointed) -> list[tuple[str, int, Interval, Interval]]:
        """Size, nodules, share of hits and median error in mm of each size group."""
        rows = []
        for low, high in SIZES_MM:
            members = (self.diameters_mm >= low) & (self.diameters_mm < high)
            if members.any():
                nodules = round(float(self.votes[members].sum()))
                rows.append((size_name(low, high), nodules, self._share(judged, members), self._error(judged, members)))
        return rows

    def _share(self, judged: Pointed, members: npt.NDArray[np.bool_]) -> Interval:
        rng = np.random.default_rng(SEED)
        return mean_interval(
            judged.hit[members], self.patients[members], weights=self.votes[members], count=RESAMPLES, rng=rng
        )

    def _error(self, judged: Pointed, members: npt.NDArray[np.bool_]) -> Interval:
        rng = np.random.default_rng(SEED)
        return median_interval(
            judged.error_mm[members], self.patients[members], weights=self.votes[members], count=RESAMPLES, rng=rng
        )


def kinds_of(held: Held, points: Sequence[WindowPoints]) -> dict[str, Pointed]:
    """The point that counts, and the others that a scorer gives for every window."""
    kinds = {"refined": [each.point_mm for each in points]}
    for name in points[0].others:
        kinds[name] = [each.others[name] for each in points]
    return {kind: Pointed.of(held.windows, places) for kind, places in kinds.items()}


def body(figures: Sequence[WindowFigures], windows: WindowSet) -> str:
    """The tables as Markdown."""
    holds = windows.holds
    nodules = round(float(windows.votes[holds].sum()))
    text = (
        f"{len(holds)} windows of 33.6 mm: {int(holds.sum())} hold one of {nodules} nodules, {int((~holds).sum())} "
        f"hold none; {windows.table.patient.nunique()} patients. One vote a nodule; 95 % intervals by bootstrap over "
        "patients.\n\n"
    )
    header = ("scorer", "AUROC", "AUROC, exact grey scale", "AUROC, one vote a window")
    rows = [(f.name, f"{f.auroc:.4f}", f"{f.auroc_exact:.4f}", f"{f.auroc_unweighted:.4f}") for f in figures]
    text += markdown_table(header, rows) + "\n"
    header = ("scorer", "point", "strict pointing game", "under 8 mm", "median error, mm in plane")
    rows = [
        (f.name, kind, str(everything), str(small), f"{error:.2f}")
        for f in figures
        for kind, (everything, small, error) in f.points.items()
    ]
    text += markdown_table(header, rows) + "\n"
    if figures[0].calibration_error is not None:
        text += f"Expected calibration error of the scores over these windows: {figures[0].calibration_error:.3f}.\n\n"
    text += f"{figures[0].name} (refined point), by size of the nodule:\n\n"
    header = ("diameter", "nodules", "strict pointing game", "median error, mm in plane")
    rows = [(name, str(count), str(share), f"{error:.2f}") for name, count, share, error in figures[0].by_size]
    return text + markdown_table(header, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its table."""
    parser = parser_of("windows", __doc__)
    parser.add_argument("--no-grad-cam", action="store_true", help="leave out the Grad-CAM peak")
    options = parser.parse_args(arguments)
    windows = WindowSet.read(options.split)
    scorers, made = compared("windows", options, grad_cam=not options.no_grad_cam)
    figures = [measure(scorer, windows) for scorer in scorers]
    best = figures[0]
    pointing, small, error = best.points["refined"]
    headline = (
        f"{best.name}: AUROC {best.auroc.value:.4f}; pointing {pointing.value:.3f}, "
        f"under 8 mm {small.value:.3f}; median error {error.value:.2f} mm"
    )
    title = f"Windows ({options.split})"
    publish(
        "windows", title, body(figures, windows), made, split=options.split, headline=headline, write=writes(options)
    )


if __name__ == "__main__":
    main()
