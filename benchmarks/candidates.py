"""Benchmark 3, candidates: nodules against what CAD systems took for one, from a single slice.

    python -m benchmarks.candidates [--split val|test] [--weights PATH] [--baselines-only] [--no-write]

LUNA16 candidates as pictures of 50 x 50 pixels. Their pixel spacing is unknown for most, so all are given 0.7 mm; each
is one slice, so the slice is repeated (and, in a second row, given alone). The brightness of the middle alone tells
much here, so it is in the table; there is no bar. Intervals are by bootstrap over scans.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.comparison import RESAMPLES, SEED, baselines, parser_of, writes
from benchmarks.lidc_data import SHARED, Stack
from benchmarks.results_table import Made, markdown_table, publish
from benchmarks.scorers import BlobDetector, CentrePrior, RandomInLung, Window
from imaging.evaluation.bootstrap import Interval, auroc_interval
from imaging.geometry import Grid, Volume

#: SHA-256 of candidates.csv and candidates.jpgs, one after the other.
FROZEN: Final = "d71a5b0715d12b63e1ad073ddd10269d38653c84081a21a8137c0e6036c237f5"
PIXELS, PIXEL_MM = 50, 0.7
#: The grey scale of the pictures, HU.
BLACK_HU, WHITE_HU = -1000.0, 400.0
REPEATS, REPEAT_MM = 7, 2.5


@dataclass(frozen=True, eq=False)
class Candidates:
    """Labels, scans and pictures (HU) of one split, and the hash of the two files they came from."""

    holds: npt.NDArray[np.bool_]
    scans: npt.NDArray[np.int64]
    pictures: tuple[npt.NDArray[np.float32], ...]
    sha256: str

    @classmethod
    def read(cls, split: str, folder: Path = SHARED / "luna16_candidates") -> Candidates:
        """The candidates of a split."""
        from PIL import Image

        listed, stored = (folder / "candidates.csv").read_bytes(), (folder / "candidates.jpgs").read_bytes()
        digest = hashlib.sha256(listed + stored).hexdigest()
        table = pd.read_csv(io.BytesIO(listed)).query("split == @split")
        pictures = []
        for line in table.itertuples():
            grey = Image.open(io.BytesIO(stored[line.offset : line.offset + line.length])).convert("L")
            pictures.append(_to_size(np.asarray(grey, dtype=np.float32) / 255.0 * (WHITE_HU - BLACK_HU) + BLACK_HU))
        return cls(table.label.to_numpy() == 1, table.series_rank_lo.to_numpy(), tuple(pictures), digest)

    def windows(self, *, repeats: int) -> list[Window]:
        """One window around the middle of each picture, which is repeated along z."""
        return [_window(picture, repeats) for picture in self.pictures]


def _to_size(picture: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Pictures that the border of the scan cut are continued to 50 x 50."""
    missing = [PIXELS - n for n in picture.shape]
    return np.pad(picture, [(m // 2, m - m // 2) for m in missing], mode="edge")


def _window(picture: npt.NDArray[np.float32], repeats: int) -> Window:
    hu = np.repeat(picture[None], repeats, axis=0)
    grid = Grid.from_spacing((*hu.shape,), spacing_mm=(REPEAT_MM, PIXEL_MM, PIXEL_MM))
    nothing = np.zeros(hu.shape, dtype=bool)
    stack = Stack("", 0, Volume(hu, grid), np.arange(repeats), nothing.astype(np.uint8), nothing, nothing[:, 0, 0])
    return Window(stack, repeats // 2, grid.centre_mm)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark and write its table."""
    options = parser_of("candidates", __doc__).parse_args(arguments)
    candidates = Candidates.read(options.split)
    if candidates.sha256 != FROZEN:
        raise SystemExit(f"the candidates are not the frozen ones: their sha256 is {candidates.sha256}, not {FROZEN}")
    scorers, name, sha256 = _baselines(), "none", "-" * 16
    if not options.baselines_only:
        from benchmarks.model_scorer import ModelScorer

        model = ModelScorer.load(options.weights)
        name, sha256 = model.weights_name, model.weights_sha256
        scorers = {
            "nodulus, slice repeated": lambda c: model.window_logits(c.windows(repeats=REPEATS)),
            "nodulus, slice alone": lambda c: model.window_logits(c.windows(repeats=1)),
            **scorers,
        }
    figures = {scorer: _auroc(candidates, score(candidates)) for scorer, score in scorers.items()}
    made = Made(
        f"python -m benchmarks.candidates --split {options.split}", SEED, name, sha256, "luna16_candidates", FROZEN
    )
    text = (
        f"{int(candidates.holds.sum())} nodules and {int((~candidates.holds).sum())} false candidates of "
        f"{np.unique(candidates.scans).size} scans; 95 % intervals by bootstrap over scans. No bar.\n\n"
    )
    text += markdown_table(("scorer", "AUROC"), [(scorer, str(each)) for scorer, each in figures.items()])
    headline = "; ".join(f"{scorer} {each.value:.4f}" for scorer, each in list(figures.items())[:2])
    title = f"Candidates ({options.split})"
    publish("candidates", title, text, made, split=options.split, headline=headline, write=writes(options))


def _baselines() -> dict[str, Callable[[Candidates], npt.ArrayLike]]:
    def scored(scorer: RandomInLung | CentrePrior | BlobDetector) -> Callable[[Candidates], npt.ArrayLike]:
        return lambda c: scorer.window_logits(c.windows(repeats=REPEATS))

    return {
        "brightness of the middle": lambda c: [middle_brightness(picture) for picture in c.pictures],
        **{scorer.name: scored(scorer) for scorer in baselines()},
    }


def middle_brightness(picture: npt.NDArray[np.float32]) -> float:
    """Mean HU of the middle 8 x 8 pixels."""
    rows, columns = (slice(n // 2 - 4, n // 2 + 4) for n in picture.shape)
    return float(picture[rows, columns].mean())


def _auroc(candidates: Candidates, scores: npt.ArrayLike) -> Interval:
    rng = np.random.default_rng(SEED)
    return auroc_interval(candidates.holds, scores, candidates.scans, count=RESAMPLES, rng=rng)


if __name__ == "__main__":
    main()
