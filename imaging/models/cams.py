"""Class activation maps of a window: which tokens of a transformer block carry the window's nodule logit.

The windows' logit is a log-sum-exp over all tokens, there is no class token, so every token of every block, the last
one included, has a gradient. The methods differ in how gradients weigh features; all keep what speaks for a nodule.

The strided stem shifts tokens: each speaks of a place beside its own middle. `mirrored_cams` therefore looks at a
window and at its mirror images, in which tokens are shifted the other way: each map is laid where its tokens speak of,
and what is left of the shift cancels in the mean, whatever its size. The four lattices interleave, so the mean also has
places between tokens.

They serve two rooms: as the heat maps of an explanation, and to find the lesion that a logit speaks of. Tokens of the
last block cannot do that: attention has mixed the window there, and a large nodule lights up the lung beside it.

Source: R. R. Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74 (Grad-CAM); A. Chattopadhay et al., WACV 2018,
doi:10.1109/WACV.2018.00097 (Grad-CAM++); P.-T. Jiang et al., IEEE TIP 2021, doi:10.1109/TIP.2021.3089943 (LayerCAM);
R. L. Draelos and L. Carin, arXiv:2011.08891 (HiResCAM).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from imaging.errors import UsageError
from imaging.models.network import pool_tokens
from imaging.models.vision import TOKEN_PIXELS

if TYPE_CHECKING:
    from imaging.models.weights import LoadedModel

Floats32 = npt.NDArray[np.float32]
Tensor = torch.Tensor

#: Token logits (n, th, tw) to window logits (n,).
Pool = Callable[[Tensor], Tensor]

#: The axes of a batch of windows (n, slices, rows, columns) that each mirror turns round.
MIRRORS: Final[tuple[tuple[int, ...], ...]] = ((), (2,), (3,), (2, 3))
#: Windows through the network at a time; bounds memory.
BATCH: Final = 32
#: A token is divided into so many parts along each side: mirrored windows see places between tokens. One is a pixel.
FINE: Final = TOKEN_PIXELS
#: Sigma of the blur of a mirrored map, in tokens: single tokens are noisier than the places between them.
BLUR_TOKENS: Final = 0.65


def _grad_cam(output: Tensor, gradient: Tensor) -> Tensor:
    """Each feature weighs as its mean gradient."""
    return (output * gradient.mean(dim=1, keepdim=True)).sum(dim=-1).clamp_min(0)


def _grad_cam_plus(output: Tensor, gradient: Tensor) -> Tensor:
    """Each feature weighs as its positive gradients, the more the fewer tokens share it."""
    power = 2 * gradient**2 + (output * gradient**3).sum(dim=1, keepdim=True)
    share = gradient**2 / torch.where(power == 0, torch.ones_like(power), power)
    return (output * (share * gradient.clamp_min(0)).sum(dim=1, keepdim=True)).sum(dim=-1).clamp_min(0)


def _hires_cam(output: Tensor, gradient: Tensor) -> Tensor:
    """Each feature of each token weighs as its own gradient."""
    return (output * gradient).sum(dim=-1).clamp_min(0)


def _layer_cam(output: Tensor, gradient: Tensor) -> Tensor:
    """Each feature of each token weighs as its own gradient where that is positive."""
    return (output * gradient.clamp_min(0)).sum(dim=-1).clamp_min(0)


def _elementwise(output: Tensor, gradient: Tensor) -> Tensor:
    """HiResCAM without what speaks against: features that lower the logit do not take away from those that raise it."""
    return (output * gradient).clamp_min(0).sum(dim=-1)


#: Method -> name for readers, and the map (n, tokens) of outputs and gradients (n, tokens, features).
_TABLE: Final[dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor]]]] = {
    "grad-cam": ("Grad-CAM", _grad_cam),
    "grad-cam++": ("Grad-CAM++", _grad_cam_plus),
    "hires-cam": ("HiResCAM", _hires_cam),
    "layer-cam": ("LayerCAM", _layer_cam),
    "grad-cam-elementwise": ("element-wise Grad-CAM", _elementwise),
}
#: Method -> name for readers.
METHODS: Final = MappingProxyType({key: name for key, (name, _) in _TABLE.items()})


@dataclass(frozen=True)
class CamSettings:
    """How a map is made.

    Args:
        block: which transformer block's output is weighted; negative ones count from the last.
        method: a key of `METHODS`.
    """

    block: int = -1
    method: str = "grad-cam"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError("usage.option", f"the method is one of {', '.join(METHODS)}, not {self.method!r}")

    def check(self, net: Any) -> None:
        """Refuse a block that a net does not have.

        Raises:
            UsageError: ``usage.option``.
        """
        blocks = len(net.vision.blocks)
        if not -blocks <= self.block < blocks:
            raise UsageError("usage.option", f"the model has {blocks} blocks, there is no block {self.block}")

    @classmethod
    def of_model(cls, model: LoadedModel) -> CamSettings:
        """What the model card recommends after measuring (its key ``explanation``), or `MEASURED`."""
        card: dict[str, Any] = dict(model.card.get("explanation") or {})
        return cls(block=int(card.get("layer", MEASURED.block)), method=card.get("method", MEASURED.method))


#: What was best for the shipped weights (docs/results.md); a card that says nothing of it gets the same.
MEASURED: Final = CamSettings(block=0, method="grad-cam-elementwise")


def mirrored_cams(
    net: Any, x: Tensor, *, settings: CamSettings | None = None, pool: Pool = pool_tokens
) -> tuple[Floats32, Floats32]:
    """Unscaled maps (n, FINE * th, FINE * tw), >= 0, and mean logits (n,), over a batch of windows and their mirrors.

    A value stands for a `FINE`-th of a token's side and for the place where it lies: there is no shift left.

    Args:
        net, x, Raises: as for `plain_cams`, whose maps are laid over one another.
        settings: block and method.
        pool: makes the logit that is explained; the same for a window and its mirror images.
    """
    maps, logits = _mirrored(net, x, (settings or CamSettings(),), pool)
    return maps[0], logits


def all_cams(net: Any, x: Tensor, many: Sequence[CamSettings]) -> tuple[Floats32, Floats32]:
    """`mirrored_cams` of any number of windows for several settings at the price of one: (settings, n, ...), (n,)."""
    parts = [_mirrored(net, x[start : start + BATCH], many) for start in range(0, len(x), BATCH)]
    return np.concatenate([maps for maps, _ in parts], axis=1), np.concatenate([logits for _, logits in parts])


def plain_cams(
    net: Any, x: Tensor, many: Sequence[CamSettings], *, pool: Pool = pool_tokens
) -> tuple[Floats32, Floats32]:
    """Unscaled maps (settings, n, th, tw), >= 0, and logits (n,) of a batch of windows, a value a token.

    One forward and one backward pass for all settings.

    Args:
        net: with ``vision.blocks`` and ``token_logits``, in evaluation mode.
        x: (n, slices, height, width), normalised.
        many: blocks and methods.
        pool: makes the logit that is explained.

    Raises:
        UsageError: ``usage.option`` if there is no such block.
    """
    for settings in many:
        settings.check(net)
    numbers = sorted({settings.block % len(net.vision.blocks) for settings in many})
    # The blocks before the first of them need no gradient; from its output on, the hook turns gradients on.
    with torch.inference_mode(False), torch.no_grad(), _captured([net.vision.blocks[n] for n in numbers]) as caught:
        logits = pool(net.token_logits(x.clone()))
        gradients = dict(zip(numbers, torch.autograd.grad(logits.sum(), caught), strict=True))
        outputs = dict(zip(numbers, (output.detach() for output in caught), strict=True))
    rows = round((caught[0].shape[1] * x.shape[-2] / x.shape[-1]) ** 0.5)
    maps = []
    for settings in many:
        block = settings.block % len(net.vision.blocks)
        cam = _TABLE[settings.method][1](outputs[block], gradients[block])
        maps.append(cam.reshape(len(x), rows, -1).float().cpu().numpy())
    return np.stack(maps), logits.detach().float().cpu().numpy()


def token_shift(net: Any) -> float:
    """From a token's middle to the place it speaks of, in tokens, along rows and along columns."""
    config: Any = net.vision.config
    return float(config.token_shift_mm / config.token_mm)


def _mirrored(net: Any, x: Tensor, many: Sequence[CamSettings], pool: Pool = pool_tokens) -> tuple[Floats32, Floats32]:
    """Maps (settings, n, FINE * th, FINE * tw), the mean over the mirrors, and mean logits (n,)."""
    shift = token_shift(net)
    maps: list[Floats32] = []
    logits: list[Floats32] = []
    for axes in MIRRORS:
        here, logit = plain_cams(net, x.flip(axes), many, pool=pool)
        maps.append(np.flip(_laid_fine(here, shift), axis=axes))
        logits.append(logit)
    return np.mean(maps, axis=0, dtype=np.float32), np.mean(logits, axis=0, dtype=np.float32)


def _laid_fine(tokens: Floats32, shift: float) -> Floats32:
    """Token values (..., th, tw) at the places they speak of, linear between them and blurred: FINE times as many."""
    from scipy import ndimage

    rows, columns = (_between(n, shift) for n in tokens.shape[-2:])
    fine = rows @ tokens @ columns.T
    sigma = (0.0,) * (tokens.ndim - 2) + (BLUR_TOKENS * FINE,) * 2
    blurred: Floats32 = ndimage.gaussian_filter(fine, sigma, mode="nearest")
    return blurred


def _between(tokens: int, shift: float) -> Floats32:
    """(parts, tokens): how much each token counts at each part along a side; beyond the outermost its value goes on.

    Fading out there would draw the same frame into every map, and the maps of a random network would look alike.
    """
    parts = np.clip((np.arange(FINE * tokens) + 0.5) / FINE - 0.5 - shift, 0, tokens - 1)
    distance = np.abs(parts[:, None] - np.arange(tokens))
    return np.maximum(1.0 - distance, 0.0).astype(np.float32)


def token_means(maps: Floats32) -> Floats32:
    """Mean of a fine map over each token: (n, FINE * th, FINE * tw) to (n, th, tw)."""
    n, rows, columns = maps.shape
    return maps.reshape(n, rows // FINE, FINE, columns // FINE, FINE).mean(axis=(2, 4), dtype=np.float32)


def peak_offsets_mm(maps: Floats32, *, part_mm: float) -> npt.NDArray[np.float64]:
    """Where each map (n, rows, columns) is highest: (n, 2) along x and y from the window's centre, mm."""
    n, rows, columns = maps.shape
    row, column = np.unravel_index(maps.reshape(n, -1).argmax(axis=1), (rows, columns))
    return np.stack([column - (columns - 1) / 2, row - (rows - 1) / 2], axis=1) * part_mm


@contextmanager
def _captured(blocks: Sequence[torch.nn.Module]) -> Iterator[list[Tensor]]:
    """The outputs of some blocks in one forward pass; that of the first is made the leaf where gradients end."""
    caught: list[Tensor] = []

    def catch(_module: torch.nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)
        caught.append(output if caught else output.detach().requires_grad_(True))
        return caught[-1]

    handles = [block.register_forward_hook(catch) for block in blocks]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()
