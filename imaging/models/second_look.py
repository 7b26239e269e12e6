"""The second look: each place alone in a window of its own, mirrored, its neighbours filled with lung.

A token sees its whole window, so a vessel beside a nodule would share the nodule's score; here the others are gone and
only the tokens that can be the place's lesion count. Beside the logit comes the evidence for it: the class activation
map of that very logit, which lies on the lesion where the tokens' own logits do not (`imaging.models.cams`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from imaging.findings import Point
from imaging.geometry import Grid, Volume
from imaging.models.cams import BATCH, CamSettings, mirrored_cams
from imaging.models.intensity import normalize_hu
from imaging.models.network import pool_tokens
from imaging.models.sampling import sample_windows, window_offsets
from imaging.models.scoring import TokenMap
from imaging.models.vision import TOKEN_PIXELS, VisionConfig
from imaging.models.weights import LoadedModel

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

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
#: Evidence is at least this part of the strongest, so that it has a logarithm.
FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class Look:
    """What the second look saw of one place.

    Args:
        logit: mean over the mirrors of the pooled tokens that can be its lesion.
        evidence: logarithm of the activation map of that logit, the mean over the mirrors, on a lattice of pixels in
            the window's plane; NaN too far away to be its lesion.
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
        x = normalize_hu(hu).to(next(model.net.parameters()).device)
        pool = _near_only(~_within(_token_places(config), reach_mm).to(x.device))
        cams, logits = mirrored_cams(model.net, x, settings=CamSettings.of_model(model), pool=pool)
        evidence = log_evidence(cams)
        evidence[~_within(_pixel_places(config), reach_mm).numpy()] = np.nan
        looks += [
            Look(float(logit), window_evidence(config, centre, each))
            for logit, centre, each in zip(logits, centres_mm[part], evidence, strict=True)
        ]
    return looks


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, BATCH):
        yield slice(start, min(start + BATCH, count))


def _near_only(far: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Pools tokens (n, th, tw) without those that lie too far from the middle; the same in every mirror."""
    return lambda logits: pool_tokens(logits.masked_fill(far, -torch.inf))


def log_evidence(cams: Floats32) -> Floats32:
    """Logarithms of activation maps (n, rows, columns), each bounded below by `FLOOR` of its highest value."""
    highest = cams.max(axis=(1, 2), keepdims=True)
    logs: Floats32 = np.log(np.maximum(cams, FLOOR * np.where(highest > 0, highest, 1.0)))
    return logs


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
