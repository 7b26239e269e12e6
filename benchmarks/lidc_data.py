"""The LIDC crops as small volumes, and the frozen lists that the benchmarks are run on.

A crop stack holds the slices of one nodule, 128 x 128 native pixels each, with the outlines of up to four readers.
Outlines are truth for measuring; nothing here is imported by the library or by training.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from imaging.evaluation.pointing import STRICT_READERS
from imaging.geometry import Grid, Volume
from imaging.preprocessing.lungs import Lungs

#: Where the data lies: beside the checkout.
SHARED: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
#: SHA-256 of each frozen list; a list that differs is another benchmark.
FROZEN: Final = {
    "windows_test.csv": "8aa55f863f7254d9bb429cc7f8d4015ce835017e9df06d7da5649b97322538c4",
    "windows_val.csv": "a68b6266130740e39d6341c7cf1497e8b943f736069385fb6872346f4299a6c3",
    "crops_test.csv": "95ba1e466073a6aeac6aed5097a699ba97791765034389c351cc1c12604b39ba",
    "crops_val.csv": "4cce6b965e9f0e4a2f20a297043c708f4f61816583ed95ff70e9944e3d4da30f",
}
WINDOW_MM: Final = 33.6
#: HU below which a voxel counts as aerated lung, and above which it is more than padding.
LUNG_HU: Final = (-1020.0, -500.0)
#: Tissue that survives an opening of this radius is chest wall or mediastinum, but for its outermost millimetres, where
#: nodules lie sunk into the pleura. Both were set on `val`, so that no nodule's middle is lost.
WALL_RADIUS_MM: Final = 11.0
PLEURA_MM: Final = 3.0

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def frozen_list(name: str, folder: Path) -> pd.DataFrame:
    """A frozen list, or SystemExit if a byte of it has changed."""
    content = (folder / name).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != FROZEN[name]:
        raise SystemExit(f"{name} is not the frozen list: its sha256 is {digest}, not {FROZEN[name]}")
    return pd.read_csv(folder / name)


@dataclass(frozen=True, eq=False)
class Stack:
    """The slices of one nodule, or a part of them, as a volume.

    Args:
        patient, nodule: whose.
        volume: HU; the grid keeps the scan's own spacing, and its place where that is known.
        rows: (slices,) row of each slice in the table of crops.
        readers: uint8 (slices, h, w), how many readers' outlines of this nodule hold a pixel.
        outlined: bool (slices, h, w), any reader's outline of any nodule of the scan.
        exact: (slices,) whether the grey scale is known exactly.
    """

    patient: str
    nodule: int
    volume: Volume
    rows: npt.NDArray[np.int64]
    readers: npt.NDArray[np.uint8]
    outlined: Bools
    exact: Bools

    @property
    def agreed(self) -> Bools:
        """Inside the outline of at least two readers."""
        region: Bools = self.readers >= STRICT_READERS
        return region

    def slice_of(self, row: int) -> int:
        """Index in the volume of a row of the table of crops."""
        return int(np.flatnonzero(self.rows == row)[0])

    @cached_property
    def lungs(self) -> Lungs:
        """The lungs, guessed from so small a piece: see `guess_lungs`."""
        return guess_lungs(self.volume)

    def part(self, rows: slice, columns: slice) -> Stack:
        """The stack cut to a rectangle of pixels."""
        grid = self.volume.grid
        affine = grid.affine.copy()
        affine[:3, 3] = grid.to_mm((0, rows.start, columns.start))
        array = self.volume.array[:, rows, columns]
        volume = Volume(np.ascontiguousarray(array), Grid((*array.shape,), affine))
        cut = (slice(None), rows, columns)
        return Stack(self.patient, self.nodule, volume, self.rows, self.readers[cut], self.outlined[cut], self.exact)


class LidcCrops:
    """The table of crops and what lies behind it, decoded as it is asked for."""

    def __init__(self, folder: Path = SHARED / "lidc_crops") -> None:
        self.folder = folder
        self.index = pd.read_csv(folder / "crops.csv")
        self.nodules = pd.read_csv(folder / "nodules.csv").set_index(["patient", "nodule"])
        self._stored = np.fromfile(folder / "crops.jls", np.uint8)
        self._masks = np.load(folder / "outlines.npz")["masks"]
        self._rows_of = self.index.groupby(["patient", "nodule"]).indices
        self._rows_of_patient = self.index.groupby("patient").indices

    def outlines(self, row: int) -> Bools:
        """(4 readers, 128, 128) of one slice; empty where a reader drew none."""
        return np.unpackbits(self._masks[row], axis=-1).astype(bool)

    def stack(self, patient: str, nodule: int) -> Stack:
        """All slices of a nodule whose HU are known, from the feet up."""
        lines = self.index.iloc[self._rows_of[(patient, nodule)]]
        lines = lines[lines.hu_source > 0].sort_values("z_mm")
        rows = lines.row.to_numpy()
        hu = np.stack([self._hu(line) for line in lines.itertuples()])
        volume = Volume(hu, self._grid(lines))
        drawn = np.stack([self.outlines(row) for row in rows])
        outlined = drawn.any(axis=1) | self._outlines_of_others(lines)
        exact = lines.hu_source.to_numpy() == 1
        return Stack(patient, nodule, volume, rows, drawn.sum(axis=1, dtype=np.uint8), outlined, exact)

    def _hu(self, line: object) -> npt.NDArray[np.float32]:
        import jpeg_ls

        grey = jpeg_ls.decode(self._stored[line.offset : line.offset + line.length])
        return grey.astype(np.float32) * np.float32(line.hu_slope) + np.float32(line.hu_intercept)

    def _grid(self, lines: pd.DataFrame) -> Grid:
        z_mm = lines.z_mm.to_numpy()
        steps = np.diff(z_mm)
        spacing = float(np.median(steps)) if steps.size else float(self._slice_spacing(lines.iloc[0]))
        if steps.size and np.abs(steps - spacing).max() > 0.02 * spacing:
            raise ValueError(f"{lines.patient.iloc[0]}: the slices lie at {z_mm.tolist()} mm, not evenly")
        first = lines.iloc[0]
        pixel = float(first.pixel_spacing)
        origin = np.nan_to_num([first.origin_col * pixel, first.origin_row * pixel, first.z_mm])
        return Grid.from_spacing((len(lines), 128, 128), spacing_mm=(spacing, pixel, pixel), origin_mm=tuple(origin))

    def _slice_spacing(self, line: pd.Series) -> float:
        return float(self.nodules.loc[(line.patient, line.nodule), "slice_spacing"])

    def _outlines_of_others(self, lines: pd.DataFrame) -> Bools:
        """Outlines of the patient's other nodules, where they reach into these slices."""
        painted = np.zeros((len(lines), 128, 128), dtype=bool)
        others = self.index.iloc[self._rows_of_patient[lines.patient.iloc[0]]]
        others = others[(others.nodule != lines.nodule.iloc[0]) & others.origin_row.notna()]
        for n, here in enumerate(lines.itertuples()):
            for other in others[(others.z_mm - here.z_mm).abs() < 0.5].itertuples():
                shift = int(other.origin_row - here.origin_row), int(other.origin_col - here.origin_col)
                if max(abs(shift[0]), abs(shift[1])) < 128:
                    _paste(painted[n], self.outlines(other.row).any(axis=0), shift)
        return painted


def _paste(target: Bools, source: Bools, shift: tuple[int, int]) -> None:
    """Set in `target` what `source`, moved by (rows, columns), holds."""
    into = tuple(slice(max(s, 0), min(n + s, n)) for s, n in zip(shift, target.shape, strict=True))
    out = tuple(slice(max(-s, 0), min(n - s, n)) for s, n in zip(shift, target.shape, strict=True))
    target[into] |= source[out]


def guess_lungs(volume: Volume) -> Lungs:
    """Everything but chest wall and mediastinum, slice by slice, without any outline.

    A crop is too small for a real lung mask. Tissue that survives an opening with a disc of `WALL_RADIUS_MM` and
    reaches the border of the crop is wall; the rest, nodules on the pleura included, is searched.
    """
    from scipy import ndimage

    grid = volume.grid
    radius = max(1, round(WALL_RADIUS_MM / grid.spacing_mm[1]))
    smooth = ndimage.gaussian_filter(volume.array, (0, 0.7 / grid.spacing_mm[1], 0.7 / grid.spacing_mm[2]))
    tissue = smooth > LUNG_HU[1]
    labels = np.ones(grid.shape, dtype=np.uint8)
    for n, plane in enumerate(tissue):
        labels[n][_wall(plane, radius, depth=PLEURA_MM / grid.spacing_mm[1])] = 0
    return Lungs(labels, grid, float(lung_volume_ml(volume)), ())


def _wall(tissue: Bools, radius: int, *, depth: float) -> Bools:
    """Opened tissue that reaches the border, from `depth` pixels on inwards; beyond the border it goes on."""
    from scipy import ndimage

    padded = np.pad(tissue, radius + 1, mode="edge")
    core = ndimage.distance_transform_edt(padded) > radius
    opened = ndimage.distance_transform_edt(~core) <= radius
    opened = opened[radius + 1 : -radius - 1, radius + 1 : -radius - 1]
    parts, _ = ndimage.label(opened)
    at_border = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    wall = np.isin(parts, at_border[at_border > 0])
    deep: Bools = wall & (ndimage.distance_transform_edt(np.pad(wall, 1, mode="edge"))[1:-1, 1:-1] > depth)
    return deep


def lung_volume_ml(volume: Volume) -> float:
    """Aerated lung in a crop, ml: voxels in `LUNG_HU`."""
    aerated = (volume.array > LUNG_HU[0]) & (volume.array < LUNG_HU[1])
    return float(aerated.sum() * volume.grid.voxel_volume_mm3 / 1000.0)
