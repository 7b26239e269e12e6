"""Cut windows out of stacks of slices at any place, turn and scale, many at a time, on a CPU or a GPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stacks:
    """All slices of all stacks of a collection, one after the other.

    Args:
        hu: (n, height, width) float16 on the device that cuts; equal in size for all slices.
        stack: (n,) which stack a slice belongs to; slices of a stack are neighbours, in order of `z_mm`.
        z_mm: (n,) place along the stack.
        pixel_mm: (n,) in-plane pixel spacing.
    """

    hu: torch.Tensor
    stack: Ints
    z_mm: Floats
    pixel_mm: Floats

    def __post_init__(self) -> None:
        order = np.lexsort((self.z_mm, self.stack))
        if not np.array_equal(order, np.arange(len(order))):
            raise ValueError("slices must be sorted by stack and place")


@dataclass(frozen=True, eq=False)
class Poses:
    """Where to cut: middle slice, centre in pixels of that slice, turn and scale.

    `flip` is 1 or -1: the direction in which the slices of a window follow each other.
    """

    row: Ints
    centre: Floats  # (n, 2): row, column
    angle: Floats
    scale: Floats
    flip: Ints

    def __len__(self) -> int:
        return len(self.row)

    def part(self, keep: npt.NDArray[np.generic] | slice) -> Poses:
        """The poses at `keep` (indices, a mask or a slice)."""
        return Poses(self.row[keep], self.centre[keep], self.angle[keep], self.scale[keep], self.flip[keep])


def random_poses(row: Ints, centre: Floats, rng: np.random.Generator, *, scale: tuple[float, float]) -> Poses:
    """Poses at given places with any turn, a scale between the two bounds, and slices in either direction."""
    n = len(row)
    low, high = np.log(scale)
    return Poses(
        row, centre, rng.uniform(0, 2 * np.pi, n), np.exp(rng.uniform(low, high, n)), rng.choice(np.array([-1, 1]), n)
    )


def sampling_grid(poses: Poses, stacks: Stacks, *, window_pixels: int, window_mm: float) -> torch.Tensor:
    """Places to sample, for `torch.nn.functional.grid_sample` with align_corners=False: (n, window, window, 2)."""
    device = stacks.hu.device
    height, width = stacks.hu.shape[-2:]
    offset = ((torch.arange(window_pixels, device=device) + 0.5) / window_pixels - 0.5) * window_mm
    rows, columns = torch.meshgrid(offset, offset, indexing="ij")
    size = poses.scale / stacks.pixel_mm[poses.row]
    cos, sin, at_row, at_column = (
        torch.from_numpy(v.astype(np.float32)).to(device)[:, None, None]
        for v in (np.cos(poses.angle) * size, np.sin(poses.angle) * size, poses.centre[:, 0], poses.centre[:, 1])
    )
    y = at_row + cos * rows - sin * columns
    x = at_column + sin * rows + cos * columns
    return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)


def neighbours(poses: Poses, stacks: Stacks, offset_mm: float) -> tuple[Ints, Ints, Floats]:
    """The two slices of the same stack around a place `offset_mm` away, and the weight of the second.

    The weight is NaN where the stack does not reach that far.
    """
    span = 1e5
    key = stacks.stack * span + stacks.z_mm
    wanted = key[poses.row] + offset_mm * poses.flip * poses.scale
    upper = np.clip(np.searchsorted(key, wanted - 1e-6), 0, len(key) - 1)
    lower = np.where(np.abs(key[upper] - wanted) < 1e-3, upper, np.maximum(upper - 1, 0))
    gap = key[upper] - key[lower]
    weight = np.where(gap > 1e-3, (wanted - key[lower]) / np.where(gap > 1e-3, gap, 1.0), 0.0)
    same = (stacks.stack[lower] == stacks.stack[poses.row]) & (stacks.stack[upper] == stacks.stack[poses.row])
    inside = same & (key[lower] <= wanted + 1e-3) & (key[upper] >= wanted - 1e-3)
    return lower, upper, np.where(inside, weight, np.nan)


def cut_windows(
    poses: Poses, stacks: Stacks, *, slices: int, slice_step_mm: float, window_pixels: int, window_mm: float
) -> torch.Tensor:
    """HU of windows, float32 (n, slices, window, window); NaN for slices that the stack does not have."""
    grid = sampling_grid(poses, stacks, window_pixels=window_pixels, window_mm=window_mm)
    planes = []
    for k in range(slices):
        lower, upper, weight = neighbours(poses, stacks, (k - slices // 2) * slice_step_mm)
        w = torch.from_numpy(weight.astype(np.float32)).to(grid.device)[:, None, None]
        filled = w.nan_to_num(nan=0.0)
        plane = stacks.hu[_on(lower, grid)].float() * (1 - filled) + stacks.hu[_on(upper, grid)].float() * filled
        cut = torch.nn.functional.grid_sample(plane[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        planes.append(torch.where(w.isnan(), torch.nan, cut))
    return torch.stack(planes, dim=1)


def cut_masks(masks: torch.Tensor, poses: Poses, grid: torch.Tensor) -> torch.Tensor:
    """Bool masks (n slices, height, width) seen through windows: float (n, window, window), 0 outside the slices."""
    picked = masks[_on(poses.row, masks)].float()[:, None]
    return torch.nn.functional.grid_sample(picked, grid.to(masks.device), align_corners=False)[:, 0]


def outside_share(grid: torch.Tensor) -> torch.Tensor:
    """Share of a window that lies outside its slice: (n,)."""
    return (grid.abs() > 1).any(dim=-1).float().mean(dim=(1, 2))


def _on(index: Ints, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(index)).to(like.device)
