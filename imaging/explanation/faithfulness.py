"""Tests whether a map follows the model and its evidence, or only looks like it.

`randomization_test`: a map of a model whose weights are noise must look different. `deletion_test`: what the map marks
must carry the score. Both return plain numbers and whether they meet the bar.

Source: J. Adebayo et al., NeurIPS 2018, arXiv:1810.03292; V. Petsiuk et al., BMVC 2018, arXiv:1806.07421.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from imaging.explanation.perturbation import delete_tokens, lung_like, window_logits
from imaging.models.cams import CamSettings, all_cams, token_means

Progress = Callable[[int, int], None]
Floats32 = npt.NDArray[np.float32]

#: Rank correlation with the maps of a random model that is still allowed.
LARGEST_CORRELATION: Final = 0.3
#: Error probability below which a fall counts as larger than by chance.
LARGEST_P: Final = 0.01
#: Fewer windows than this prove nothing.
FEWEST_WINDOWS: Final = 20


@dataclass(frozen=True)
class RandomizationResult:
    """How much maps of a model with random weights still look like those of the model.

    Args:
        windows: how many were compared.
        stages: what was randomised, from the top of the network down; each stage keeps the earlier ones.
        correlations: mean of Spearman's rank correlation with the model's own maps, a stage each: over the first
            `stage_windows` windows, at the last stage over all.
        absolute: mean of its absolute value, likewise.
        stage_windows: how many windows show what the stages before the last do.
        empty: share of windows whose map is constant at the last stage; their correlation counts as 0.
        draws: mean correlation over windows with all weights random, for each of several draws of all weights; the
            first is the last stage. One draw has one sign by chance: a random filter likes bright or dark.
        settings: block and method.
    """

    windows: int
    stages: tuple[str, ...]
    correlations: tuple[float, ...]
    absolute: tuple[float, ...]
    stage_windows: int
    empty: float
    draws: tuple[float, ...]
    settings: CamSettings

    @property
    def correlation(self) -> float:
        """Size of the rank correlation with all weights random, whatever its sign: mean over the draws."""
        return float(np.mean(np.abs(self.draws)))

    @property
    def passed(self) -> bool:
        """Whether that is at most 0.3; empty maps prove nothing."""
        return self.windows >= FEWEST_WINDOWS and self.empty <= 0.5 and self.correlation <= LARGEST_CORRELATION

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self) | {"correlation": self.correlation, "bar": LARGEST_CORRELATION, "passed": self.passed}


@dataclass(frozen=True)
class DeletionResult:
    """How far the score falls when the map's own tokens become lung, against as many random ones.

    Args:
        windows: how many were tested.
        fraction: share of a window's tokens that were deleted.
        fall_map, fall_random: mean fall of the logit.
        larger: share of windows in which the map's fall was the larger one.
        p_value: one-sided Wilcoxon signed-rank test over windows.
        settings: block and method.
    """

    windows: int
    fraction: float
    fall_map: float
    fall_random: float
    larger: float
    p_value: float
    settings: CamSettings

    @property
    def passed(self) -> bool:
        """Whether the map's tokens carry more of the score than random ones (p < 0.01, at least 20 windows)."""
        return self.windows >= FEWEST_WINDOWS and self.p_value < LARGEST_P and self.fall_map > self.fall_random

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self) | {"bar": LARGEST_P, "passed": self.passed}


def randomization_test(
    net: nn.Module,
    x: torch.Tensor,
    *,
    rng: np.random.Generator,
    settings: CamSettings | None = None,
    maps: Floats32 | None = None,
    draws: int = 5,
    on_progress: Progress | None = None,
) -> RandomizationResult:
    """Randomise the weights stage by stage from the top down and compare the maps with the model's own.

    All weights are then drawn anew some times more. The verdict rests on these draws, over all windows; the stages on
    the way there are shown on fewer.

    Args:
        net: with ``vision.blocks`` and ``window_logit``, in evaluation mode; not changed.
        x: (n, slices, h, w), normalised windows.
        rng: draws the weights.
        settings: block and method of the maps.
        maps: (n, th, tw), the net's own, where they are known already (`window_maps`).
        draws: of all weights.
        on_progress: called as (windows of random networks done, all).
    """
    used = settings or CamSettings()
    own = window_maps(net, x, used) if maps is None else maps
    few = min(len(x), FEWEST_WINDOWS)
    names = [name for name, _ in _stages(net)]
    counted = _Counted(on_progress, (len(names) - 1) * few + draws * len(x))
    ranks = []
    for done, other in enumerate(_from_the_top(net, rng), start=1):
        count = len(x) if done == len(names) else few
        ranks.append(rank_correlations(own[:count], window_maps(other, x[:count], used)))
        counted.add(count)
    drawn = ranks[-1:]
    for _ in range(draws - 1):
        drawn.append(rank_correlations(own, window_maps(randomized(net, rng), x, used)))
        counted.add(len(x))
    return RandomizationResult(
        windows=len(x),
        stages=tuple(names),
        correlations=tuple(float(np.nan_to_num(r).mean()) for r in ranks),
        absolute=tuple(float(np.abs(np.nan_to_num(r)).mean()) for r in ranks),
        stage_windows=few,
        empty=float(np.isnan(ranks[-1]).mean()),
        draws=tuple(float(np.nan_to_num(r).mean()) for r in drawn),
        settings=used,
    )


def deletion_test(
    net: nn.Module,
    x: torch.Tensor,
    *,
    rng: np.random.Generator,
    settings: CamSettings | None = None,
    maps: Floats32 | None = None,
    fraction: float = 0.1,
    repeats: int = 5,
    on_progress: Progress | None = None,
) -> DeletionResult:
    """Replace the map's top tokens of each window by lung, and as many random tokens of the same window.

    Args:
        net: with ``window_logit``; not changed.
        x: (n, slices, h, w), normalised windows with a nodule.
        rng: draws the lung and the random tokens.
        settings: block and method of the maps.
        maps: (n, th, tw), other maps to test instead.
        fraction: share of the tokens to delete.
        repeats: random choices that are averaged a window; windows, not choices, make the test strong.
        on_progress: called as (deletions done, deletions).
    """
    from scipy import stats

    used = settings or CamSettings()
    scores = window_maps(net, x, used) if maps is None else maps
    count = max(1, round(fraction * scores[0].size))
    before = window_logits(net, x)
    fill = lung_like(x, rng)
    by_map = before - window_logits(net, delete_tokens(x, _top(scores, count, rng), fill))
    by_chance = np.zeros(len(x))
    for done in range(repeats):
        chosen = _top(rng.random(scores.shape).astype(np.float32), count, rng)
        by_chance += (before - window_logits(net, delete_tokens(x, chosen, fill))) / repeats
        if on_progress is not None:
            on_progress(done + 1, repeats)
    p = (
        1.0
        if np.allclose(by_map, by_chance)
        else float(stats.wilcoxon(by_map, by_chance, alternative="greater").pvalue)
    )
    return DeletionResult(
        windows=len(x),
        fraction=fraction,
        fall_map=float(by_map.mean()),
        fall_random=float(by_chance.mean()),
        larger=float((by_map > by_chance).mean()),
        p_value=p,
        settings=used,
    )


def rank_correlations(first: Floats32, second: Floats32) -> npt.NDArray[np.float64]:
    """Spearman's rank correlation of each pair of maps (n, th, tw); NaN where one of them is constant."""
    from scipy import stats

    pairs = zip(first.reshape(len(first), -1), second.reshape(len(second), -1), strict=True)
    return np.array([float(stats.spearmanr(a, b).statistic) if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])


def window_maps(net: nn.Module, x: torch.Tensor, settings: CamSettings) -> Floats32:
    """The maps that explain a CT, a value a token: (n, th, tw)."""
    return token_means(all_cams(net, x, [settings])[0][0])


class _Counted:
    """Adds up what is done and tells it on."""

    def __init__(self, on_progress: Progress | None, total: int) -> None:
        self._on_progress, self._total, self._done = on_progress, total, 0

    def add(self, count: int) -> None:
        self._done += count
        if self._on_progress is not None:
            self._on_progress(self._done, self._total)


def _top(scores: Floats32, count: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The highest `count` tokens of each window; equal ones, such as zeros, in random order."""
    flat = scores.reshape(len(scores), -1)
    order = np.lexsort((rng.random(flat.shape), -flat), axis=1)[:, :count]
    chosen = np.zeros(flat.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen.reshape(scores.shape)


def _stages(net: nn.Module) -> Iterator[tuple[str, Sequence[nn.Module]]]:
    """Parts of the network from output to input: other towers, what follows the blocks, each block, the rest."""
    vision: Any = net.vision
    others = [module for name, module in net.named_children() if name != "vision"]
    if others:
        yield "text", others
    children = list(vision.named_children())
    place = [name for name, _ in children].index("blocks")
    after = [module for _, module in children[place + 1 :]]
    if after:
        yield "projection", after
    for index in range(len(vision.blocks) - 1, -1, -1):
        yield f"block {index + 1}", [vision.blocks[index]]
    yield "stem", [module for _, module in children[:place]]


def _from_the_top(net: nn.Module, rng: np.random.Generator) -> Iterator[nn.Module]:
    """One copy of a network, with the weights of one stage more at random each time."""
    other = copy.deepcopy(net)
    for _, modules in _stages(other):
        for module in modules:
            _randomize(module, rng)
        yield other.eval()


def randomized(net: nn.Module, rng: np.random.Generator) -> nn.Module:
    """A copy of a network with all its weights random, in evaluation mode."""
    *_, last = _from_the_top(net, rng)
    return last


def _randomize(module: nn.Module, rng: np.random.Generator) -> None:
    """Every weight anew, normal about zero with the spread it had; vectors (norms, biases) are shuffled."""
    with torch.no_grad():
        for parameter in module.parameters():
            values = parameter.detach().cpu().numpy()
            if values.ndim > 1:
                drawn = rng.normal(0.0, float(values.std()) or 1e-3, values.shape)
            else:
                drawn = rng.permutation(values.reshape(-1)).reshape(values.shape)
            parameter.copy_(torch.from_numpy(np.asarray(drawn, dtype=np.float32)).to(parameter))
