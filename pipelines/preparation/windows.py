"""Choose windows from crops: with a nodule, and free of nodules, at random places, turns and scales."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from imaging.models.intensity import to_bytes
from imaging.models.vision import VisionConfig
from imaging.training.cases import CaseSet
from pipelines.preparation.cutting import (
    Poses,
    Stacks,
    cut_masks,
    cut_windows,
    outside_share,
    random_poses,
    sampling_grid,
)
from pipelines.preparation.lidc_crops import Crops, concept_columns

SCALE = (0.87, 1.15)
#: Share of a nodule that must lie in a window before the window holds it.
HELD = 0.95
#: Share of lung (below -600 HU) from which on a window is worth looking at.
LUNG_SHARE = 0.04
BATCH = 2048


def holding_windows(crops: Crops, config: VisionConfig, rng: np.random.Generator, *, a_nodule: int) -> CaseSet:
    """Windows that hold a nodule, `a_nodule` tries for each nodule, with the readers' confidence as label."""
    images, poses = cut_holding(crops, config, rng, a_nodule=a_nodule)
    return _case_set(images, crops.labels[poses.row], "lidc")


def cut_holding(
    crops: Crops, config: VisionConfig, rng: np.random.Generator, *, a_nodule: int
) -> tuple[npt.NDArray[np.uint8], Poses]:
    """What `holding_windows` holds, and where each was cut, which training never hears of."""
    window_mm = config.window_pixels * config.pixel_mm
    centre, radius_px, present = _extents(crops.agreed)
    stack = crops.stacks.stack
    rows = [rng.choice(np.flatnonzero((stack == s) & present), a_nodule) for s in np.unique(stack[present])]
    row = np.concatenate(rows)
    reach_mm = window_mm / 2 - radius_px[row] * crops.stacks.pixel_mm[row] - 0.7
    reach_px = np.maximum(reach_mm, 1.0) / crops.stacks.pixel_mm[row]
    offset = rng.uniform(-1, 1, (len(row), 2)) * reach_px[:, None]
    poses = random_poses(row, centre[row] + offset, rng, scale=SCALE)

    def places(part: Poses, grid: torch.Tensor) -> torch.Tensor:
        held = _share_held(crops, part, grid, window_mm, config.window_pixels)
        wide = torch.from_numpy(2 * radius_px[part.row] * crops.stacks.pixel_mm[part.row] > 0.8 * window_mm)
        return held >= torch.where(wide.to(held.device), 0.6, HELD)

    images, kept = _cut(crops.stacks, poses, config, places, min_lung_share=0.0)
    return images, poses.part(kept)


def free_windows(crops: Crops, config: VisionConfig, rng: np.random.Generator, *, number: int) -> CaseSet:
    """Windows far from every outline of every reader, anywhere with some lung."""
    poses = _anywhere(crops.stacks, config, rng, number)

    def places(part: Poses, grid: torch.Tensor) -> torch.Tensor:
        return cut_masks(crops.taken, part, grid).flatten(1).amax(dim=1) == 0

    images, _ = _cut(crops.stacks, poses, config, places, min_lung_share=LUNG_SHARE)
    return _case_set(images, _negative_labels(len(images)), "lidc")


def stack_windows(
    stacks: Stacks,
    allowed: torch.Tensor | None,
    config: VisionConfig,
    rng: np.random.Generator,
    *,
    number: int,
    name: str,
) -> CaseSet:
    """Windows of whole scans that are taken to be free of nodules; `allowed` (n, h, w) leaves out the rest."""
    poses = _anywhere(stacks, config, rng, number)

    def places(part: Poses, grid: torch.Tensor) -> torch.Tensor:
        if allowed is None:
            return torch.ones(len(part), dtype=torch.bool, device=grid.device)
        return cut_masks(~allowed, part, grid).flatten(1).amax(dim=1) == 0

    images, _ = _cut(stacks, poses, config, places, min_lung_share=LUNG_SHARE)
    return _case_set(images, _negative_labels(len(images)), name)


def listed_windows(crops: Crops, table: pd.DataFrame, config: VisionConfig) -> CaseSet:
    """The windows of a frozen list (row, centre_row, centre_col, label), upright and at true scale."""
    table = table[table.row.isin(crops.index.row)]
    row = crops.index.reset_index().set_index("row")["index"].loc[table.row].to_numpy(np.int64)
    n = len(table)
    centre = table[["centre_row", "centre_col"]].to_numpy(np.float64)
    poses = Poses(row, centre, np.zeros(n), np.ones(n), np.ones(n, np.int64))

    def places(part: Poses, grid: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(part), dtype=torch.bool, device=grid.device)

    images, kept = _cut(crops.stacks, poses, config, places, min_lung_share=0.0, max_outside=1.0)
    labels = np.full((len(kept), len(concept_columns())), np.nan, np.float32)
    labels[:, 0] = table.label.to_numpy(np.float32)[kept]
    return _case_set(images, labels, "lidc")


def _anywhere(stacks: Stacks, config: VisionConfig, rng: np.random.Generator, number: int) -> Poses:
    """Poses whose window, were it not turned, lies in its slice."""
    size = np.array(stacks.hu.shape[-2:]) - 1
    row = rng.integers(0, len(stacks.stack), number)
    half = 0.5 * config.window_pixels * config.pixel_mm / stacks.pixel_mm[row, None]
    centre = half + rng.uniform(0, 1, (number, 2)) * np.maximum(size - 2 * half, 0)
    return random_poses(row, centre, rng, scale=SCALE)


def _cut(
    stacks: Stacks,
    poses: Poses,
    config: VisionConfig,
    places: Callable[[Poses, torch.Tensor], torch.Tensor],
    *,
    min_lung_share: float,
    max_outside: float = 0.02,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Cut, in batches, the poses that lie in their slice and that `places` accepts; keep those with enough lung."""
    window_mm = config.window_pixels * config.pixel_mm
    images, kept = [np.empty((0, config.slices, config.window_pixels, config.window_pixels), np.uint8)], []
    for start in range(0, len(poses), BATCH):
        part = poses.part(slice(start, start + BATCH))
        grid = sampling_grid(part, stacks, window_pixels=config.window_pixels, window_mm=window_mm)
        good = torch.nonzero((outside_share(grid) <= max_outside) & places(part, grid))[:, 0].cpu().numpy()
        if len(good) == 0:
            continue
        hu = cut_windows(
            part.part(good),
            stacks,
            slices=config.slices,
            slice_step_mm=config.slice_step_mm,
            window_pixels=config.window_pixels,
            window_mm=window_mm,
        )
        enough = _lung_share(hu) >= min_lung_share
        kept.append(start + good[enough.cpu().numpy()])
        images.append(to_bytes(hu[enough]).cpu().numpy())
    return np.concatenate(images), np.concatenate(kept)


def _extents(masks: torch.Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Centroid (row, column), largest distance from it, and whether there is anything, for each mask."""
    m = masks.float()
    area = m.sum(dim=(1, 2))
    along = torch.arange(masks.shape[1], device=masks.device, dtype=torch.float32)
    rows = (m.sum(2) * along).sum(1) / area.clamp(min=1)
    columns = (m.sum(1) * along).sum(1) / area.clamp(min=1)
    far = torch.zeros(len(masks), device=masks.device)
    for start in range(0, len(masks), BATCH):
        part = slice(start, start + BATCH)
        distance = (along[None, :, None] - rows[part, None, None]) ** 2 + (
            along[None, None] - columns[part, None, None]
        ) ** 2
        far[part] = (distance * m[part]).flatten(1).amax(dim=1).sqrt()
    centre = torch.stack([rows, columns], dim=1).double().cpu().numpy()
    return centre, far.double().cpu().numpy(), (area > 0).cpu().numpy()


def _share_held(crops: Crops, poses: Poses, grid: torch.Tensor, window_mm: float, window_pixels: int) -> torch.Tensor:
    """Share of the agreed outline that lies inside each window, by area in mm^2."""
    seen = cut_masks(crops.agreed, poses, grid).sum(dim=(1, 2))
    pixel = torch.from_numpy((window_mm / window_pixels * poses.scale) ** 2).to(seen)
    area = crops.agreed[torch.from_numpy(poses.row).to(seen.device)].float().sum(dim=(1, 2))
    whole = area * torch.from_numpy(crops.stacks.pixel_mm[poses.row] ** 2).to(seen)
    return seen * pixel / whole.clamp(min=1e-6)


def _lung_share(hu: torch.Tensor) -> torch.Tensor:
    return (hu[:, hu.shape[1] // 2] < -600).float().mean(dim=(1, 2))


def _negative_labels(n: int) -> npt.NDArray[np.float32]:
    labels = np.full((n, len(concept_columns())), np.nan, np.float32)
    labels[:, 0] = 0.0
    return labels


def _case_set(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.float32], name: str) -> CaseSet:
    return CaseSet(images, labels, concept_columns(), np.zeros(len(images), np.uint8), (name,))
