"""Change a batch of windows in ways that leave its labels true: turns, grey scale, noise, blur, missing slices.

Everything runs on the batch's own device. A window is never shifted or cut, because training does not know where in it
a nodule lies.
"""

from __future__ import annotations

import torch

from imaging.models.intensity import HU_HIGH, HU_LOW, MISSING

#: Half the input range in HU: the size of one unit of the tower's input.
UNIT_HU = (HU_HIGH - HU_LOW) / 2


def augment(x: torch.Tensor, generator: torch.Generator, *, grey: torch.Tensor | None = None) -> torch.Tensor:
    """A new version of each window; (n, slices, h, w) normalised values in and out.

    Args:
        x: values as `imaging.models.intensity` normalises them.
        generator: of the batch's device.
        grey: (n,) how far the grey scale may be off, 1 for the usual +-60 HU and +-15 %; 1 for all by default.
    """
    return restyled(turned(x, generator), generator, grey=grey)


def restyled(x: torch.Tensor, generator: torch.Generator, *, grey: torch.Tensor | None = None) -> torch.Tensor:
    """As `augment` without turning: order of slices, grey scale, noise, blur, and which slices there are."""
    x = torch.where(_coin(len(x), 0.5, x, generator)[:, None, None, None], x, x.flip(1))
    missing = (x <= MISSING + 1e-3).flatten(2).all(dim=2)
    missing = missing | _dropped(missing, generator)
    x = _blurred(x, missing, generator)
    x = _grey(x, generator, grey)
    x = x + _noise(x, generator)
    return x.clamp(-1, 1).masked_fill(missing[:, :, None, None], MISSING)


def _uniform(n: int, low: float, high: float, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, device=like.device, generator=generator) * (high - low) + low


def _coin(n: int, share: float, like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(n, device=like.device, generator=generator) < share


def turned(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """One of the eight turns and mirrors of a square, drawn for each window; no wait for the device."""
    for change in (lambda v: v.flip(2), lambda v: v.flip(3), lambda v: v.transpose(2, 3)):
        x = torch.where(_coin(len(x), 0.5, x, generator)[:, None, None, None], change(x), x)
    return x


def _dropped(missing: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Slices to leave out: never the middle one, always from the outside inwards."""
    n, slices = missing.shape
    middle = slices // 2
    keep_below = torch.randint(0, middle + 1, (n,), device=missing.device, generator=generator)
    keep_above = torch.randint(0, middle + 1, (n,), device=missing.device, generator=generator)
    k = torch.arange(slices, device=missing.device)[None]
    outside = (k < middle - keep_below[:, None]) | (k > middle + keep_above[:, None])
    chosen = torch.rand(n, device=missing.device, generator=generator) < 0.3
    return outside & chosen[:, None]


def _blurred(x: torch.Tensor, missing: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A third of the windows softened, a sixth sharpened: other kernels."""
    filled = x.masked_fill(missing[:, :, None, None], -1.0)
    soft = torch.nn.functional.avg_pool2d(filled, 3, 1, 1, count_include_pad=False)
    share = _uniform(len(x), 0.0, 1.0, x, generator)
    weight = torch.where(share < 0.33, share * 2.4, torch.where(share > 0.83, -(share - 0.83) * 4.0, 0.0))
    return filled + (soft - filled) * weight[:, None, None, None]


def _grey(x: torch.Tensor, generator: torch.Generator, grey: torch.Tensor | None) -> torch.Tensor:
    off = torch.ones(len(x), device=x.device) if grey is None else grey
    gain = 1 + _uniform(len(x), -0.15, 0.15, x, generator) * off
    offset = _uniform(len(x), -60.0, 60.0, x, generator) * off / UNIT_HU
    pivot = (-850.0 - HU_LOW) / UNIT_HU - 1.0
    return (x - pivot) * gain[:, None, None, None] + pivot + offset[:, None, None, None]


def _noise(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Noise of up to 45 HU in a half of the windows, half white and half of a coarser grain."""
    level = (_uniform(len(x), -45.0, 45.0, x, generator).clamp(min=0) / UNIT_HU)[:, None, None, None]
    white = torch.randn(x.shape, device=x.device, generator=generator)
    coarse = torch.nn.functional.avg_pool2d(white, 3, 1, 1) * 2.2
    pick = _coin(len(x), 0.5, x, generator)[:, None, None, None]
    return torch.where(pick, white, coarse) * level
