"""What happens to a window's score when a part of it becomes lung: an oracle that needs no gradient.

What takes the place of tissue is lung-like: HU drawn from the aerated lung of the same window. Zeros or air would be a
hole, and the test would measure the hole.

Source: M. D. Zeiler and R. Fergus, ECCV 2014, doi:10.1007/978-3-319-10590-1_53.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from imaging.models.intensity import MISSING, normalize_hu

Floats32 = npt.NDArray[np.float32]

#: HU of aerated lung.
LUNG_HU = (-950.0, -720.0)
#: Mean and spread of HU where a window shows too little lung to draw from.
USUAL_LUNG_HU = (-860.0, 40.0)
#: Pixels of lung that are enough to draw from.
ENOUGH = 60
#: Sigma of the grain that a kernel gives to lung, pixels.
GRAIN = 0.8
#: Windows through the network at a time.
BATCH = 64


def lung_like(x: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Lung in place of everything, for each window: its own lung's mean and spread, with the grain of a CT.

    Args:
        x: (n, slices, h, w), normalised.
        rng: draws the grain.

    Returns:
        the same shape; slices that are missing stay missing.
    """
    from scipy import ndimage

    low, high = (float(v) for v in normalize_hu(torch.tensor(LUNG_HU)))
    step = float(normalize_hu(torch.tensor(1.0)) - normalize_hu(torch.tensor(0.0)))
    usual = (float(normalize_hu(torch.tensor(USUAL_LUNG_HU[0]))), USUAL_LUNG_HU[1] * step)
    values = x.detach().cpu().numpy()
    filled = np.empty_like(values)
    for window, fill in zip(values, filled, strict=True):
        lung = window[(window > low) & (window < high)]
        mean, spread = (float(lung.mean()), float(lung.std())) if lung.size >= ENOUGH else usual
        grain = ndimage.gaussian_filter(rng.standard_normal(window.shape), (0, GRAIN, GRAIN))
        fill[...] = mean + spread * grain / grain.std()
    filled[values <= (MISSING - 1.0) / 2] = MISSING
    return torch.from_numpy(filled).to(x)


def delete_tokens(x: torch.Tensor, tokens: npt.NDArray[np.bool_], fill: torch.Tensor) -> torch.Tensor:
    """Windows with some tokens (n, th, tw), in all their slices, taken from `fill` instead."""
    mask = torch.from_numpy(tokens).to(x.device)
    for axis, pixels in ((1, x.shape[-2]), (2, x.shape[-1])):
        mask = mask.repeat_interleave(pixels // mask.shape[axis], dim=axis)
    return torch.where(mask[:, None], fill, x)


def window_logits(net: Any, x: torch.Tensor) -> npt.NDArray[np.float64]:
    """Logits (n,) of windows, a batch at a time, without gradients."""
    with torch.no_grad():
        logits = [net.window_logit(x[start : start + BATCH]).float().cpu() for start in range(0, len(x), BATCH)]
    return torch.cat(logits).numpy().astype(np.float64)


def occlusion_map(
    net: Any, x: torch.Tensor, *, tokens: tuple[int, int], side: int = 2, rng: np.random.Generator
) -> Floats32:
    """By how much the logit falls when a square around each token becomes lung: (n, th, tw), mean over the squares.

    Args:
        net: with ``window_logit``.
        x: (n, slices, h, w), normalised.
        tokens: rows and columns of tokens in a window.
        side: of the square, in tokens.
        rng: draws the lung.
    """
    fill = lung_like(x, rng)
    before = window_logits(net, x)
    falls = np.zeros((len(x), *tokens))
    counts = np.zeros(tokens)
    for row in range(tokens[0] - side + 1):
        for column in range(tokens[1] - side + 1):
            square = np.zeros((len(x), *tokens), dtype=bool)
            square[:, row : row + side, column : column + side] = True
            fall = before - window_logits(net, delete_tokens(x, square, fill))
            falls[:, row : row + side, column : column + side] += fall[:, None, None]
            counts[row : row + side, column : column + side] += 1
    return (falls / counts).astype(np.float32)
