"""The image tower: a convolutional stem to tokens of 2.8 mm, then vision-transformer blocks of timm.

There is no class token and no absolute position: position comes from a depthwise convolution, so that a token means the
same wherever it lies in a window. The stem also carries a gate, a cheap first opinion a token, trained from the same
image-level label; it decides which windows of a whole scan the transformer looks at.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from timm.models.vision_transformer import Block
from torch import nn

#: Pixels along one side of a token.
TOKEN_PIXELS = 4
#: From the middle of a token's pixels to the place it speaks of, in tokens, along rows and along columns. The padding
#: of two strided convolutions centres token i on pixel 4 i; measured on validation windows, plain and mirrored, the
#: softmax over tokens is 1.6 mm off the nodule without this.
TOKEN_SHIFT = -0.58


@dataclass(frozen=True)
class VisionConfig:
    """Size of the image tower and the window it sees.

    Args:
        slices: axial slices of a window, an odd number; the middle one is the window's own.
        slice_step_mm: distance between neighbouring slices of a window.
        pixel_mm: in-plane pixel of a window; a token is four pixels wide.
        window_pixels: side of a window.
        width, depth, heads: of the transformer blocks.
        embedding: length of the vectors that tokens and prompts are compared in.
        stem_channels: of the stem at half resolution.
        drop_path: stochastic depth while training.
    """

    slices: int = 5
    slice_step_mm: float = 2.0
    pixel_mm: float = 0.7
    window_pixels: int = 48
    width: int = 192
    depth: int = 6
    heads: int = 6
    embedding: int = 192
    stem_channels: int = 32
    drop_path: float = 0.1

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return asdict(self)

    @property
    def token_mm(self) -> float:
        """Side of a token in mm."""
        return TOKEN_PIXELS * self.pixel_mm

    @property
    def token_shift_mm(self) -> float:
        """From the middle of a token's pixels to the place it speaks of, along rows and along columns; mm."""
        return TOKEN_SHIFT * self.token_mm


class ConvUnit(nn.Module):
    """Convolution, batch norm, GELU; residual where the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.GELU()
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        y: torch.Tensor = self.act(self.norm(self.conv(x)))
        return x + y if self.residual else y


class VisionTower(nn.Module):
    """Windows to token embeddings."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        half, width = config.stem_channels, config.width
        self.stem = nn.Sequential(
            ConvUnit(config.slices, half, stride=2),
            ConvUnit(half, half),
            ConvUnit(half, 3 * half, stride=2),
            ConvUnit(3 * half, 3 * half),
            ConvUnit(3 * half, 3 * half),
            nn.Conv2d(3 * half, width, 1),
        )
        self.gate = nn.Sequential(ConvUnit(width, 64, kernel=1), nn.Conv2d(64, 1, 1))
        self.position = nn.Conv2d(width, width, 5, padding=2, groups=width)
        rates = [config.drop_path * i / max(config.depth - 1, 1) for i in range(config.depth)]
        self.blocks = nn.ModuleList(
            [Block(width, config.heads, mlp_ratio=4.0, qkv_bias=True, init_values=0.1, drop_path=r) for r in rates]
        )
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, config.embedding)

    def gate_logits(self, features: torch.Tensor) -> torch.Tensor:
        """The stem's first opinion: (n, width, th, tw) features to (n, th, tw) logits."""
        logits: torch.Tensor = self.gate(features)
        return logits[:, 0]

    def encode(self, features: torch.Tensor) -> torch.Tensor:
        """Stem features (n, width, th, tw) to L2-normalised token embeddings (n, th, tw, embedding)."""
        n, _, rows, columns = features.shape
        x = (features + self.position(features)).flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        tokens = nn.functional.normalize(self.project(self.norm(x)).float(), dim=-1)
        return tokens.reshape(n, rows, columns, -1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Windows (n, slices, h, w), h and w multiples of 4, to token embeddings (n, h/4, w/4, embedding)."""
        return self.encode(self.stem(x))
