"""The LIDC crops: slices around nodules with four readers' outlines, to windows with an image-level label.

A window's label is the share of readers who could stand behind "there is a nodule": its concept labels come from the
readers' ratings of the whole nodule. Outlines decide only whether a window holds a nodule.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from imaging.models.prompts import NODULE, attribute_names
from pipelines.preparation.cutting import Stacks

#: Distance, in mm, to any outline from which on a window counts as free of nodules.
FREE_IN_PLANE_MM = 3.0
FREE_BETWEEN_SLICES_MM = 6.0
#: Label of "nodule" by the number of readers who outlined it: few readers, little confidence.
READER_CONFIDENCE = {1: 0.35, 2: 0.8, 3: 0.95, 4: 1.0}


@dataclass(frozen=True, eq=False)
class Crops:
    """Slices of one split with known HU.

    Args:
        stacks: the slices.
        index: one line a slice (patient, nodule, slice, z_mm ...), in the order of `stacks`.
        agreed: bool (n, h, w): outlined by two readers, or by the only one.
        taken: bool (n, h, w): any outline of any nodule of the scan, with its margin; a window that touches it is
            not free of nodules.
        labels: float32 (n, concepts) for a window that holds the nodule of that slice.
    """

    stacks: Stacks
    index: pd.DataFrame
    agreed: torch.Tensor
    taken: torch.Tensor
    labels: npt.NDArray[np.float32]


def read_crops(folder: Path, *, split: str, device: str = "cpu") -> Crops:
    """Read the slices of one split from a folder with crops.csv, crops.jls, outlines.npz and nodules.csv."""
    index = pd.read_csv(folder / "crops.csv")
    nodules = pd.read_csv(folder / "nodules.csv")
    # Without a place in the scan nobody can say which other outlines lie near: such slices are left out.
    index = index[(index.split == split) & (index.hu_source > 0) & index.z_mm.notna() & index.origin_row.notna()]
    index = index.merge(nodules.drop(columns=["split", "pixel_spacing"]), on=["patient", "nodule"], how="left")
    index["stack"] = index.groupby(["patient", "nodule"], sort=True).ngroup()
    index = index.sort_values(["stack", "z_mm"]).drop_duplicates(["stack", "z_mm"]).reset_index(drop=True)
    hu = _decode(folder / "crops.jls", index)
    packed = np.load(folder / "outlines.npz")["masks"][index.row.to_numpy()]
    outlines = np.unpackbits(packed, axis=-1).astype(bool)
    readers = outlines.sum(axis=1)
    few = (index.n_readers.fillna(1).to_numpy() < 2)[:, None, None]
    agreed = np.where(few, readers >= 1, readers >= 2)
    taken = _paint_all_outlines(index, readers > 0)
    stacks = Stacks(
        torch.from_numpy(hu).to(device),
        index["stack"].to_numpy(np.int64),
        index.z_mm.to_numpy(np.float64),
        index.pixel_spacing.to_numpy(np.float64),
    )
    grown = _dilate(torch.from_numpy(taken).to(device), index.pixel_spacing.to_numpy(), FREE_IN_PLANE_MM)
    return Crops(stacks, index, torch.from_numpy(agreed).to(device), grown, concept_labels(index))


def _decode(path: Path, index: pd.DataFrame) -> npt.NDArray[np.float16]:
    import jpeg_ls

    stored = np.fromfile(path, np.uint8)
    hu = np.empty((len(index), 128, 128), np.float16)
    bytes_of = index[["offset", "length"]].to_numpy(np.int64).tolist()
    scales = index[["hu_slope", "hu_intercept"]].to_numpy(np.float32)
    for i, ((start, size), (slope, intercept)) in enumerate(zip(bytes_of, scales, strict=True)):
        grey = jpeg_ls.decode(stored[start : start + size])
        hu[i] = np.clip(grey.astype(np.float32) * slope + intercept, -1200, 2000)
    return hu


def _paint_all_outlines(index: pd.DataFrame, any_reader: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Every outline of the same scan that lies near a slice, painted into it."""
    painted = any_reader.copy()
    origin = np.round(index[["origin_row", "origin_col"]].to_numpy()).astype(int)
    z = index.z_mm.to_numpy()
    scan = index.patient.astype(str) + index.series.fillna("?").astype(str)
    for members in index.groupby(scan).indices.values():
        for i in members:
            near = members[np.abs(z[members] - z[i]) <= FREE_BETWEEN_SLICES_MM]
            for j in near:
                shift = origin[j] - origin[i]
                if j != i and (np.abs(shift) < 128).all():
                    _paste(painted[i], any_reader[j], shift)
    return painted


def _paste(target: npt.NDArray[np.bool_], source: npt.NDArray[np.bool_], shift: npt.NDArray[np.int_]) -> None:
    (r, c), (h, w) = shift, target.shape
    into = (slice(max(r, 0), min(h + r, h)), slice(max(c, 0), min(w + c, w)))
    out = (slice(max(-r, 0), min(h - r, h)), slice(max(-c, 0), min(w - c, w)))
    target[into] |= source[out]


def _dilate(masks: torch.Tensor, pixel_mm: npt.NDArray[np.floating], margin_mm: float) -> torch.Tensor:
    """Masks grown by a square of `margin_mm`, each by its own pixel spacing."""
    grown = torch.empty_like(masks)
    reach = np.ceil(margin_mm / pixel_mm).astype(int)
    for r in np.unique(reach):
        for rows in np.array_split(np.flatnonzero(reach == r), max(1, int((reach == r).sum() // 1024))):
            at = torch.from_numpy(rows).to(masks.device)
            wide = torch.nn.functional.max_pool2d(masks[at].float()[:, None], 2 * int(r) + 1, 1, int(r))
            grown[at] = wide[:, 0] > 0
    return grown


def concept_labels(index: pd.DataFrame) -> npt.NDArray[np.float32]:
    """Labels of a window that holds the slice's nodule: (n, concepts), NaN where the readers' ratings are unclear."""
    texture, size = index.texture, index.diameter_mm
    spiculated, lobulated = index.spiculation, index.lobulation
    smooth_yes = (index.margin >= 4.5) & (spiculated <= 1.5) & (lobulated <= 1.5)
    rules: dict[str, tuple[pd.Series, pd.Series]] = {
        "solid": (texture >= 4.5, texture <= 3.0),
        "ground-glass": (texture <= 2.0, texture >= 4.0),
        "part-solid": ((texture > 2.0) & (texture < 4.0), (texture >= 4.75) | (texture <= 1.25)),
        "calcified": (index.calcification < 5.5, index.calcification >= 5.9),
        "spiculated": (spiculated >= 3.0, spiculated <= 1.5),
        "lobulated": (lobulated >= 3.0, lobulated <= 1.5),
        "smooth": (smooth_yes, (index.margin <= 3.0) | (spiculated >= 2.5)),
        "small": (size < 6.0, size >= 7.0),
        "large": (size > 15.0, size < 12.0),
    }
    columns = [index.n_readers.fillna(1).clip(1, 4).astype(int).map(READER_CONFIDENCE).to_numpy(np.float32)]
    for name in attribute_names():
        yes, no = rules[name]
        columns.append(np.select([yes.to_numpy(), no.to_numpy()], [1.0, 0.0], np.nan).astype(np.float32))
    return np.stack(columns, axis=1)


def concept_columns() -> tuple[str, ...]:
    """Names of the label columns, ``nodule`` first."""
    return (NODULE, *attribute_names())
