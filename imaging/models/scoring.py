"""From a CT to a map of token logits: how suspicious each place is, and how similar to a prompt.

The stem's gate looks at every plane; the transformer then looks at windows around the most suspicious places, at three
planes of the first of them and at one of the rest. Both were trained from image-level labels only. Where windows
overlap, a token's logit is their mean, weighted towards the middle of a window. `imaging.models.second_look` then looks
at each place alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from imaging.errors import Notice
from imaging.findings import Point
from imaging.geometry import Grid, Volume
from imaging.models.intensity import normalize_hu
from imaging.models.network import NoduleNet, attention_of
from imaging.models.prompts import NODULE, concepts
from imaging.models.sampling import ScanPlanes, sample_windows, scan_planes
from imaging.models.vision import TOKEN_PIXELS
from imaging.models.weights import LoadedModel

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

Progress = Callable[[int, int], None]
Floats32 = npt.NDArray[np.float32]

#: Places the transformer looks at: one for so many millilitres of lung, between these bounds.
ML_A_PLACE, FEWEST_PLACES, MOST_PLACES = 20.0, 24, 240
#: So many of the first places are looked at with the planes above and below.
THREE_PLANES = 60
#: Windows through the transformer at a time.
BATCH = 32


@dataclass(frozen=True, eq=False)
class TokenMap:
    """How suspicious each token of a CT is.

    Args:
        grid: the lattice of tokens, (plane, token row, token column) centres to LPS mm.
        logits: float32 (planes, rows, columns), nodule logit of a token; NaN where not scored.
        similarity: prompt -> logit of similarity to it, same shape.
        notices: doubts (``prompt.untrained``) and how much was looked at.
    """

    grid: Grid
    logits: Floats32
    similarity: Mapping[str, Floats32] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()


def score_volume(
    model: LoadedModel,
    volume: Volume,
    lungs: Lungs,
    *,
    prompts: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> TokenMap:
    """Score the lungs of a CT.

    Args:
        model: as loaded.
        volume: HU.
        lungs: of that volume; tokens in them or up to 4 mm outside are scored.
        prompts: free texts to compare each token with.
        on_progress: called as (planes and windows done, all); may raise to cancel.
    """
    scan = scan_planes(model.net.vision.config, volume, lungs)
    gate = gate_map(model.net, scan, on_progress)
    most = int(np.clip(round(lungs.volume_ml / ML_A_PLACE), FEWEST_PLACES, MOST_PLACES))
    places = _suspicious(gate, scan.near_lung, most)
    maps = _window_maps(model.net, scan, _planes_of(places, len(scan.planes)), tuple(prompts), on_progress)
    notices = [*_untrained(model.net, prompts)]
    return TokenMap(scan.token_grid, maps[0], dict(zip(prompts, maps[1:], strict=True)), tuple(notices))


@torch.inference_mode()
def gate_map(net: NoduleNet, scan: ScanPlanes, on_progress: Progress | None = None) -> Floats32:
    """The stem's first opinion of every token: float32, shape of `scan.near_lung`."""
    device = next(net.parameters()).device
    gate = np.full(scan.near_lung.shape, -np.inf, np.float32)
    half = scan.config.window_pixels // 2
    for plane, near in enumerate(scan.near_lung):
        if on_progress is not None:
            on_progress(plane, 2 * len(scan.planes))
        if not near.any():
            continue
        rows, columns = (np.flatnonzero(near.any(axis=a))[[0, -1]] for a in (1, 0))
        box = [_around(ends, half // TOKEN_PIXELS, n) for ends, n in zip((rows, columns), near.shape, strict=True)]
        pixels = [slice(b.start * TOKEN_PIXELS, b.stop * TOKEN_PIXELS) for b in box]
        x = scan.input_of(plane, *pixels)[None].to(device)
        gate[plane, box[0], box[1]] = net.vision.gate_logits(net.vision.stem(x))[0].float().cpu().numpy()
    return gate


def _around(ends: npt.NDArray[np.int64], margin: int, size: int) -> slice:
    return slice(max(int(ends[0]) - margin, 0), min(int(ends[1]) + margin + 1, size))


def _suspicious(gate: Floats32, near: npt.NDArray[np.bool_], most: int) -> list[tuple[int, int, int]]:
    """The tokens near the lungs that the gate finds most suspicious among their neighbours, at most `most`."""
    from scipy import ndimage

    inside = np.where(near, gate, -np.inf)
    highest = ndimage.maximum_filter(inside, size=(3, 3, 3), mode="constant", cval=-np.inf)
    index = np.argwhere((inside == highest) & np.isfinite(inside))
    order = np.argsort(-inside[tuple(index.T)], kind="stable")[:most]
    return [(int(p), int(r), int(c)) for p, r, c in index[order]]


def _planes_of(places: Sequence[tuple[int, int, int]], planes: int) -> list[tuple[int, int, int]]:
    """The windows of places: three planes for the first of them, one for the rest; in order of the planes."""
    windows = set(places)
    for plane, row, column in places[:THREE_PLANES]:
        windows |= {(p, row, column) for p in (plane - 1, plane + 1) if 0 <= p < planes}
    return sorted(windows)


@torch.inference_mode()
def _window_maps(
    net: NoduleNet,
    scan: ScanPlanes,
    windows: Sequence[tuple[int, int, int]],
    prompts: tuple[str, ...],
    on_progress: Progress | None,
) -> list[Floats32]:
    """Token logits of windows around tokens, laid over one another: for "nodule" and for each prompt."""
    device = next(net.parameters()).device
    side = scan.config.window_pixels // TOKEN_PIXELS
    directions = torch.cat(
        [net.nodule_direction(), net.prompt_directions(prompts)] if prompts else [net.nodule_direction()]
    )
    total = np.zeros((len(directions), *scan.near_lung.shape), np.float64)
    weight = np.zeros(scan.near_lung.shape, np.float64)
    profile = _profile(side)
    for done, part in enumerate(_batches(windows)):
        if on_progress is not None:
            on_progress(
                len(scan.planes) + done * BATCH * len(scan.planes) // max(len(windows), 1), 2 * len(scan.planes)
            )
        corners = [_corner(window, side, scan.near_lung.shape) for window in part]
        x = torch.stack([scan.input_of(p, _pixels(r, side), _pixels(c, side)) for p, r, c in corners]).to(device)
        logits = net.logits_of(net.tokens(x), directions).float().cpu().numpy()
        for (p, r, c), values in zip(corners, logits, strict=True):
            total[:, p, r : r + side, c : c + side] += values * profile
            weight[p, r : r + side, c : c + side] += profile
    if on_progress is not None:
        on_progress(2 * len(scan.planes), 2 * len(scan.planes))
    scored = (weight > 0.2) & scan.near_lung
    with np.errstate(invalid="ignore", divide="ignore"):
        return [np.where(scored, t / weight, np.nan).astype(np.float32) for t in total]


def _batches(windows: Sequence[tuple[int, int, int]]) -> Iterator[Sequence[tuple[int, int, int]]]:
    for start in range(0, len(windows), BATCH):
        yield windows[start : start + BATCH]


def _corner(window: tuple[int, int, int], side: int, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The first token of a window with the given token in its middle, kept inside the lattice."""
    plane, row, column = window
    return plane, _kept(row, side, shape[1]), _kept(column, side, shape[2])


def _kept(token: int, side: int, size: int) -> int:
    return min(max(token - side // 2, 0), size - side)


def _pixels(token: int, side: int) -> slice:
    return slice(token * TOKEN_PIXELS, (token + side) * TOKEN_PIXELS)


def _profile(side: int) -> npt.NDArray[np.float64]:
    """How much a token counts by its place in a window: 1 in the middle, little at the rim; (side, side)."""
    middle = (side - 1) / 2
    ramp = np.clip(1.15 - np.abs(np.arange(side) - middle) / (middle + 0.5), 0.1, 1.0)
    return np.minimum.outer(ramp, ramp)


def _untrained(net: NoduleNet, prompts: Sequence[str]) -> Iterator[Notice]:
    for prompt in prompts:
        unknown = net.text.vocabulary.unknown_words(prompt)
        if unknown:
            words = ", ".join(repr(word) for word in unknown)
            yield Notice("prompt.untrained", f"the text tower never met {words} of the prompt {prompt!r}")


def window_inputs(model: LoadedModel, volume: Volume, centres_mm: Sequence[Point]) -> torch.Tensor:
    """Normalised windows around LPS points, float32 (n, slices, h, w) on the CPU."""
    return normalize_hu(sample_windows(model.net.vision.config, volume, centres_mm))


@torch.inference_mode()
def score_attributes(model: LoadedModel, volume: Volume, centres_mm: Sequence[Point]) -> list[dict[str, float]]:
    """For each LPS point, attribute -> score in [0, 1]: how much its window is like the one prompt or its opposite."""
    net = model.net
    device = next(net.parameters()).device
    scores: list[dict[str, float]] = []
    for start in range(0, len(centres_mm), BATCH):
        x = window_inputs(model, volume, centres_mm[start : start + BATCH]).to(device)
        tokens = net.tokens(x)
        attention = attention_of(net.logits_of(tokens, net.nodule_direction())[:, 0])
        columns = {
            name: net.attribute_logit(tokens, attention, concept).sigmoid().cpu().numpy()
            for name, concept in concepts().items()
            if name != NODULE
        }
        scores += [{name: float(column[i]) for name, column in columns.items()} for i in range(len(x))]
    return scores
