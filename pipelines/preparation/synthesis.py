"""Lesions and vessels put into real lung: image-level positives and hard negatives with true depth.

Both are drawn by one renderer, so that its traces say nothing about the label. A lesion ends within a few slices, a
vessel runs through: that difference is what real crops, cut to the slices with a nodule in them, cannot teach. Nothing
here is shared with `imaging.simulation`, which makes the scans that models are tested on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from imaging.models.intensity import from_bytes, to_bytes
from imaging.models.prompts import attribute_names
from imaging.models.vision import VisionConfig
from imaging.training.cases import CaseSet
from pipelines.preparation.lidc_crops import concept_columns

BATCH = 1024
#: A lesion's neighbourhood must be at least this airy on average, or it would be drawn where nobody could see it.
AIRY_HU = -480.0


@dataclass(frozen=True, eq=False)
class Lattice:
    """Millimetre coordinates of a window's voxels, origin in its middle: z (slices,), y and x (pixels,)."""

    z: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor

    @classmethod
    def of(cls, config: VisionConfig, device: torch.device) -> Lattice:
        """The lattice of windows of `config`."""
        z = (torch.arange(config.slices, device=device) - config.slices // 2) * config.slice_step_mm
        y = (torch.arange(config.window_pixels, device=device) - (config.window_pixels - 1) / 2) * config.pixel_mm
        return cls(z.float(), y.float(), y.float())


def synthesize(cases: CaseSet, config: VisionConfig, rng: np.random.Generator, *, device: str = "cpu") -> CaseSet:
    """Windows without a nodule whose three middle slices exist: many given a lesion, most given vessels."""
    images, labels = [], []
    for start in range(0, len(cases), BATCH):
        stored = torch.from_numpy(np.ascontiguousarray(cases.images[start : start + BATCH])).to(device)
        present = stored.flatten(2).amax(dim=2) > 0
        enough = present[:, config.slices // 2 - 1 : config.slices // 2 + 2].all(dim=1)
        stored, present = stored[enough], present[enough]
        hu = from_bytes(stored)
        lattice = Lattice.of(config, hu.device)
        vessels = torch.from_numpy(rng.random(len(hu)) < 0.7).to(hu.device)
        hu = torch.where(vessels[:, None, None, None], draw_vessel(hu, lattice, rng), hu)
        more = torch.from_numpy(rng.random(len(hu)) < 0.35).to(hu.device)
        hu = torch.where(more[:, None, None, None], draw_vessel(hu, lattice, rng), hu)
        drawn, visible, kinds = draw_lesion(hu, lattice, rng)
        wanted = torch.from_numpy(rng.random(len(hu)) < 0.7).to(hu.device)
        result = torch.where((wanted & visible)[:, None, None, None], drawn, hu)
        result = torch.where(present[:, :, None, None], result, torch.nan)
        keep = (~wanted | visible).cpu().numpy()
        label = np.full((len(hu), len(concept_columns())), np.nan, np.float32)
        positive = (wanted & visible).cpu().numpy()
        label[:, 0] = np.where(positive, 0.97, 0.0)
        label[positive, 1:] = kinds[positive]
        images.append(to_bytes(result).cpu().numpy()[keep])
        labels.append(label[keep])
    joined = np.concatenate(labels)
    return CaseSet(
        np.concatenate(images), joined, concept_columns(), np.zeros(len(joined), np.uint8), ("simulated lesions",)
    )


def draw_vessel(hu: torch.Tensor, lattice: Lattice, rng: np.random.Generator) -> torch.Tensor:
    """A straight or gently bent tube through each window, mostly across its slices: HU (n, s, h, w) in and out."""
    n = len(hu)
    t = _tensor(hu, rng.uniform(-12, 12, (n, 2)))
    tilt = np.deg2rad(np.where(rng.random(n) < 0.6, rng.uniform(0, 45, n), rng.uniform(45, 85, n)))
    turn = rng.uniform(0, 2 * np.pi, n)
    slope = _tensor(hu, np.stack([np.tan(tilt) * np.sin(turn), np.tan(tilt) * np.cos(turn)], 1))
    bend = _tensor(hu, rng.normal(0, 0.02, (n, 2)))
    z = lattice.z[None, :, None]
    axis = t[:, None] + slope[:, None] * z + bend[:, None] * z**2
    dy = lattice.y[None, None, :, None] - axis[:, :, 0, None, None]
    dx = lattice.x[None, None, None, :] - axis[:, :, 1, None, None]
    norm = (1 + (slope**2).sum(1)).sqrt()[:, None, None, None]
    along = (dy * slope[:, 0, None, None, None] + dx * slope[:, 1, None, None, None]) / norm
    distance = (dy**2 + dx**2 - along**2).clamp(min=0).sqrt()
    radius = _tensor(hu, np.exp(rng.uniform(np.log(0.7), np.log(3.5), n)))
    taper = _tensor(hu, rng.uniform(-0.04, 0.04, n))
    r = (radius[:, None] * (1 + taper[:, None] * lattice.z)).clamp(min=0.4)[:, :, None, None]
    return _blend(hu, r - distance, _tensor(hu, rng.uniform(-20, 130, n)), _tensor(hu, np.ones(n)), rng)


def draw_lesion(
    hu: torch.Tensor, lattice: Lattice, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, npt.NDArray[np.float32]]:
    """A lesion in each window, whether it could be seen, and its attribute labels (n, attributes)."""
    n = len(hu)
    diameter = np.exp(rng.uniform(np.log(3.2), np.log(16.0), n))
    kind = rng.choice(4, n, p=[0.68, 0.1, 0.12, 0.1])  # solid, part-solid, ground-glass, calcified
    bumps = rng.choice([0.0, 0.06, 0.16], n, p=[0.5, 0.3, 0.2])
    spicules = (rng.random(n) < 0.15) & (kind != 2) & (diameter > 6)
    room = np.maximum(15.0 - diameter / 2, 3.0)
    centre = np.concatenate([rng.uniform(-2.2, 2.2, (n, 1)), rng.uniform(-1, 1, (n, 2)) * room[:, None]], 1)
    offsets = [a - _tensor(hu, centre[:, i])[:, None] for i, a in enumerate((lattice.z, lattice.y, lattice.x))]
    dz, dy, dx = offsets[0][:, :, None, None], offsets[1][:, None, :, None], offsets[2][:, None, None, :]
    inside = _signed_radius(dz, dy, dx, diameter / 2, bumps, spicules, rng)
    hazy = [rng.uniform(180, 900, n), rng.uniform(-700, -420, n), rng.uniform(-600, -350, n)]
    body = _tensor(hu, np.select([kind == 3, kind == 2, kind == 1], hazy, rng.uniform(-60, 110, n)))
    drawn = _blend(hu, inside, body, _tensor(hu, rng.uniform(0.85, 1.0, n)), rng)
    core = _signed_radius(dz, dy, dx, diameter / 2 * rng.uniform(0.3, 0.65, n), bumps, spicules & False, rng)
    cored = _blend(drawn, core, _tensor(hu, rng.uniform(-80, 60, n)), _tensor(hu, np.ones(n)), rng)
    drawn = torch.where(_tensor(hu, kind == 1).bool()[:, None, None, None], cored, drawn)
    near = (inside > -1.5).float()
    around = (hu * near).sum(dim=(1, 2, 3)) / near.sum(dim=(1, 2, 3)).clamp(min=1)
    contrast = ((drawn - hu).abs() * near).sum(dim=(1, 2, 3)) / near.sum(dim=(1, 2, 3)).clamp(min=1)
    in_middle = (inside[:, inside.shape[1] // 2] > 0.3).flatten(1).any(dim=1)
    visible = (around < AIRY_HU) & (contrast > 60) & in_middle
    return drawn, visible, _attributes(diameter, kind, bumps, spicules)


def _signed_radius(
    dz: torch.Tensor,
    dy: torch.Tensor,
    dx: torch.Tensor,
    radius: npt.NDArray[np.float64],
    bumps: npt.NDArray[np.float64],
    spicules: npt.NDArray[np.bool_],
    rng: np.random.Generator,
) -> torch.Tensor:
    """Depth below a lesion's surface in mm, negative outside: an ellipsoid with bumps and, for some, spicules."""
    n = len(radius)
    stretch = np.exp(rng.normal(0, 0.12, (n, 3)))
    turn = rng.uniform(0, np.pi, n)
    cos, sin = _tensor(dz, np.cos(turn))[:, None, None, None], _tensor(dz, np.sin(turn))[:, None, None, None]
    s = _tensor(dz, stretch)[:, :, None, None, None]
    u, v, w = (cos * dy + sin * dx) * s[:, 0], (cos * dx - sin * dy) * s[:, 1], dz * s[:, 2]
    distance = (u**2 + v**2 + w**2).sqrt()
    angle = torch.atan2(v, u)
    r = _tensor(dz, radius)[:, None, None, None]
    wave = torch.zeros_like(distance)
    for order in (2, 3, 5):
        phase, share = _tensor(dz, rng.uniform(0, 2 * np.pi, n)), _tensor(dz, rng.normal(0, 1, n))
        wave = wave + share[:, None, None, None] * torch.cos(order * angle + phase[:, None, None, None] + 0.4 * dz)
    surface = r * (1 + _tensor(dz, bumps)[:, None, None, None] * wave.clamp(-1.5, 1.5))
    count = _tensor(dz, rng.integers(5, 11, n))[:, None, None, None]
    sharp = torch.cos(count * angle + _tensor(dz, rng.uniform(0, 6, n))[:, None, None, None]).clamp(min=0) ** 8
    reach = _tensor(dz, np.where(spicules, rng.uniform(0.2, 0.8, n), 0.0))[:, None, None, None]
    return surface + r * reach * sharp * (1 - (w / r).abs()).clamp(min=0) - distance


def _blend(
    hu: torch.Tensor, depth_mm: torch.Tensor, body: torch.Tensor, opacity: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """Draw `body` HU where `depth_mm` is positive, with a soft edge, the scan's own noise, and denser tissue kept."""
    n = len(hu)
    edge = _tensor(hu, rng.uniform(0.25, 0.75, n))[:, None, None, None]
    share = torch.sigmoid(depth_mm / edge) * opacity[:, None, None, None]
    residual = hu - torch.nn.functional.avg_pool2d(hu, 3, 1, 1, count_include_pad=False)
    noise = residual.abs().flatten(2).median(dim=2).values.mean(dim=1).clamp(2, 40) * 1.6
    chance = torch.Generator(hu.device).manual_seed(int(rng.integers(2**62)))
    grain = torch.randn(hu.shape, device=hu.device, generator=chance)
    grain = torch.nn.functional.avg_pool2d(grain, 3, 1, 1) * 2.0 * noise[:, None, None, None]
    target = torch.maximum(hu, body[:, None, None, None] + grain)
    return hu * (1 - share) + target * share


def _attributes(
    diameter: npt.NDArray[np.float64],
    kind: npt.NDArray[np.int_],
    bumps: npt.NDArray[np.float64],
    spicules: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float32]:
    values = {
        "solid": np.isin(kind, (0, 3)),
        "ground-glass": kind == 2,
        "part-solid": kind == 1,
        "calcified": kind == 3,
        # Drawn spicules look like stars: good enough to be found, not to teach the word.
        "spiculated": np.full(len(kind), np.nan),
        "lobulated": np.where(bumps > 0.1, 1.0, np.where(bumps == 0, 0.0, np.nan)),
        "smooth": np.where((bumps == 0) & ~spicules, 1.0, np.where(spicules | (bumps > 0.1), 0.0, np.nan)),
        "small": np.where(diameter < 6, 1.0, np.where(diameter > 7, 0.0, np.nan)),
        "large": np.where(diameter > 15, 1.0, np.where(diameter < 12, 0.0, np.nan)),
    }
    return np.stack([np.asarray(values[name], np.float32) for name in attribute_names()], axis=1)


def _tensor(like: torch.Tensor, values: npt.ArrayLike) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values, np.float32), device=like.device)
