"""The second look: each place alone in a window of its own, mirrored, its neighbours filled with lung.

A token sees its whole window, so a vessel beside a nodule would share the nodule's score; here the others are gone and
only the tokens that can be the place's lesion count. The stem's strides pull the tokens about 1.6 mm to one side of
what they speak of; in a mirrored window they pull to the other side. Laid over one another, the mirrors cancel the pull
and sample the lesion more densely than one lattice of tokens could.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from imaging.findings import Point
from imaging.geometry import Grid, Volume
from imaging.models.intensity import normalize_hu
from imaging.models.network import NoduleNet, pool_tokens
from imaging.models.sampling import sample_windows, window_offsets
from imaging.models.scoring import BATCH, TokenMap
from imaging.models.vision import TOKEN_PIXELS, VisionConfig
from imaging.models.weights import LoadedModel

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

#: The axes of a batch of windows (n, slices, rows, columns) that each mirror turns round.
MIRRORS: tuple[tuple[int, ...], ...] = ((), (2,), (3,), (2, 3))
#: Tokens count for a place within this distance, or this far outside its lesion, mm.
PLACE_MM, BEYOND_MM = 10.0, 4.0
#: A ball of another place's lesion is filled: its radius is so many of the lesion's and so much more, mm.
FILL_PART, FILL_MM = 1.2, 1.0
#: Tissue this near to a place's own lesion is never filled, mm.
OWN_MM = 1.5
#: Farther than this from a window's centre nothing is in it, mm.
WINDOW_REACH_MM = 25.0
#: What counts as aerated lung in a window, and what stands for it where there is none, HU.
AIRY_HU, LUNG_HU = -700.0, -850.0


@dataclass(frozen=True, eq=False)
class Look:
    """What the second look saw of one place.

    Args:
        logit: mean over the mirrors of the pooled tokens that can be its lesion.
        evidence: token logits around it, the mean over the mirrors, on a lattice of pixels in the window's plane; NaN
            where a token cannot be its lesion.
    """

    logit: float
    evidence: TokenMap


def look_at_places(
    model: LoadedModel, volume: Volume, centres_mm: Sequence[Point], diameters_mm: Sequence[float | None]
) -> list[Look]:
    """Look at each place alone: the others of known size are filled with lung before the net looks.

    Args:
        model, volume: as for `imaging.models.scoring.score_volume`.
        centres_mm: LPS.
        diameters_mm: of the lesions, None where unknown.
    """
    config = model.net.vision.config
    looks: list[Look] = []
    for part in _parts(len(centres_mm)):
        hu = sample_windows(config, volume, centres_mm[part])
        for number, window in enumerate(hu.numpy(), part.start):
            fill_others(config, window, number, centres_mm, diameters_mm)
        reach_mm = [max(PLACE_MM, (d or 0.0) / 2 + BEYOND_MM) for d in diameters_mm[part]]
        mirrored = mirrored_logits(model.net, normalize_hu(hu))
        far = ~_within(_token_places(config), reach_mm)
        pooled = pool_tokens(mirrored.flatten(0, 1).masked_fill(far.repeat(len(MIRRORS), 1, 1), -torch.inf))
        logits = pooled.reshape(len(MIRRORS), -1).mean(dim=0).tolist()
        evidence = laid_over(config, mirrored)
        evidence[~_within(_pixel_places(config), reach_mm).numpy()] = np.nan
        looks += [
            Look(logit, window_evidence(config, centre, each))
            for logit, centre, each in zip(logits, centres_mm[part], evidence, strict=True)
        ]
    return looks


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))


@torch.inference_mode()
def mirrored_logits(net: NoduleNet, x: torch.Tensor) -> torch.Tensor:
    """Token logits of windows (n, slices, h, w) under each of `MIRRORS`, turned back: (mirrors, n, th, tw), CPU."""
    x = x.to(next(net.parameters()).device)
    turned = [net.token_logits(x.flip(axes)).flip([a - 1 for a in axes]) for axes in MIRRORS]
    return torch.stack(turned).float().cpu()


def laid_over(config: VisionConfig, mirrored: torch.Tensor) -> Floats32:
    """Mean over the mirrors on the lattice of pixels, each token at the place it speaks of.

    Args:
        config: of the tower.
        mirrored: (mirrors, n, th, tw), as from `mirrored_logits`.

    Returns:
        (n, pixels, pixels), linear between tokens; beyond the outermost token its value goes on.
    """
    along = [_between_tokens(config, sign) for sign in (1, -1)]
    values = mirrored.numpy().astype(np.float64)
    total = np.zeros((values.shape[1], along[0].shape[0], along[0].shape[0]))
    for axes, logits in zip(MIRRORS, values, strict=True):
        total += along[2 in axes] @ logits @ along[3 in axes].T
    return (total / len(MIRRORS)).astype(np.float32)


def _between_tokens(config: VisionConfig, sign: int) -> Floats:
    """(pixels, tokens): how much each token counts at each pixel along one side; `sign` is -1 in a mirrored window."""
    tokens = _token_places(config) + sign * config.token_shift_mm
    return np.stack([np.interp(_pixel_places(config), tokens, unit) for unit in np.eye(len(tokens))], axis=1)


def _token_places(config: VisionConfig) -> Floats:
    """Distances of the middles of tokens from the window's centre along one side, mm."""
    count = config.window_pixels // TOKEN_PIXELS
    return (np.arange(count, dtype=np.float64) - (count - 1) / 2) * config.token_mm


def _pixel_places(config: VisionConfig) -> Floats:
    """Distances of pixels from the window's centre along one side, mm."""
    return (np.arange(config.window_pixels, dtype=np.float64) - (config.window_pixels - 1) / 2) * config.pixel_mm


def _within(places: Floats, reach_mm: Sequence[float]) -> torch.Tensor:
    """Which places of a square lattice around the centre lie within each of some distances: bool (n, side, side)."""
    distance = torch.from_numpy(np.hypot(places[:, None], places))
    return distance <= torch.tensor(reach_mm, dtype=torch.float64)[:, None, None]


def window_evidence(config: VisionConfig, centre_mm: Point, values: Floats32) -> TokenMap:
    """One window's values on the lattice of pixels, (pixels, pixels), as a map of a single plane around `centre_mm`."""
    x, y, z = centre_mm
    first = _pixel_places(config)[0]
    spacing = (config.slice_step_mm, config.pixel_mm, config.pixel_mm)
    grid = Grid.from_spacing((1, *values.shape), spacing_mm=spacing, origin_mm=(x + first, y + first, z))
    return TokenMap(grid, values[None])


def fill_others(
    config: VisionConfig,
    window: Floats32,
    number: int,
    centres_mm: Sequence[Point],
    diameters_mm: Sequence[float | None],
) -> None:
    """Fill, in the HU window around place `number`, the balls of all other places with the window's own lung.

    Tissue of the place itself, and what lies within `OWN_MM` of it, stays.
    """
    z, y, x = window_offsets(config)
    own = (diameters_mm[number] or 0.0) / 2 + OWN_MM
    far = x**2 + y**2 + z**2 > own**2
    with np.errstate(invalid="ignore"):
        airy = window[window < AIRY_HU]
    lung = float(np.median(airy)) if airy.size else LUNG_HU
    for other, (centre, diameter) in enumerate(zip(centres_mm, diameters_mm, strict=True)):
        dx, dy, dz = np.subtract(centre, centres_mm[number])
        radius = 0.0 if diameter is None else FILL_PART * diameter / 2 + FILL_MM
        if other == number or diameter is None or np.linalg.norm((dx, dy, dz)) > WINDOW_REACH_MM + radius:
            continue
        ball = ((x - dx) ** 2 + (y - dy) ** 2 + (z - dz) ** 2 <= radius**2) & far & ~np.isnan(window)
        window[ball] = np.minimum(window[ball], lung)
