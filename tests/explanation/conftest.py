"""A small net of the same build as the model's, trained here to find a bright ball, and a CT with two of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

PIXELS, SLICES = 24, 3


def windows(n, rng, *, positive=True):
    """Lung at -860 HU with a slanted vessel, and a nodule at a random place; inputs, and its place in pixels."""
    import torch

    from imaging.models.intensity import normalize_hu

    rows, columns = np.mgrid[:PIXELS, :PIXELS]
    hu = rng.normal(-860, 35, (n, SLICES, PIXELS, PIXELS))
    places = rng.uniform(5, PIXELS - 6, (n, 2))
    for window, (row, column) in zip(hu, places, strict=True):
        offset = rng.uniform(0, PIXELS)
        window[:, np.abs(rows - columns * rng.uniform(-1, 1) - offset) < 1.2] = -200
        if positive:
            window[:, (rows - row) ** 2 + (columns - column) ** 2 < 3.2**2] = 30
    return normalize_hu(torch.from_numpy(hu.astype(np.float32))), places


def small_net():
    """Convolutional stem to tokens of four pixels, two timm blocks, a text stand-in, log-sum-exp."""
    import torch
    from timm.models.vision_transformer import Block
    from torch import nn

    class Vision(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = SimpleNamespace(
                slices=SLICES,
                token_mm=2.8,
                token_shift_mm=0.0,
                pixel_mm=0.7,
                window_pixels=PIXELS,
                slice_step_mm=2.0,
            )
            self.stem = nn.Sequential(
                nn.Conv2d(SLICES, 16, 3, 2, 1), nn.GELU(), nn.Conv2d(16, 32, 3, 2, 1), nn.GELU(), nn.Conv2d(32, 32, 1)
            )
            self.blocks = nn.ModuleList([Block(32, 4, qkv_bias=True, init_values=0.1) for _ in range(2)])
            self.norm = nn.LayerNorm(32)

        def forward(self, x):
            x = self.stem(x).flatten(2).transpose(1, 2)
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.vision = Vision()
            self.text = nn.Linear(32, 1)

        def token_logits(self, x):
            side = x.shape[-1] // 4
            return self.text(self.vision(x)).reshape(len(x), -1, side)

        def window_logit(self, x):
            return torch.logsumexp(self.token_logits(x).flatten(1), dim=1)

    torch.manual_seed(0)
    return Net()


@pytest.fixture(scope="session")
def net():
    """Trained from window labels for some seconds; finds the ball."""
    import torch

    rng = np.random.default_rng(0)
    made = small_net()
    optimizer = torch.optim.AdamW(made.parameters(), lr=4e-3)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(70):
        x = torch.cat([windows(24, rng)[0], windows(24, rng, positive=False)[0]])
        y = torch.cat([torch.ones(24), torch.zeros(24)])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(made.window_logit(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    for parameter in made.parameters():
        parameter.requires_grad_(False)
        parameter.grad = None
    assert float(loss) < 0.1
    return made.eval()


@pytest.fixture
def make_windows():
    """The function `windows`."""
    return windows


@pytest.fixture
def model(net):
    """What a loaded model offers."""
    return SimpleNamespace(net=net, card={}, calibrate=lambda logit: float(1 / (1 + np.exp(-logit))))
