"""HU to the values the image tower sees, and to the bytes that training cases are stored in.

One byte a pixel: 0 says "this slice does not exist" (a window at the end of a stack), 1 to 255 are HU_LOW to HU_HIGH.
"""

from __future__ import annotations

import torch

HU_LOW = -1050.0
HU_HIGH = 450.0
#: Value of a missing slice after `normalize`; present slices lie in [-1, 1].
MISSING = -1.5


def to_bytes(hu: torch.Tensor) -> torch.Tensor:
    """HU to uint8 1..255 (steps of 5.9 HU, clipped to [HU_LOW, HU_HIGH]); NaN, a missing slice, becomes 0."""
    scaled = 1.0 + (hu.clamp(HU_LOW, HU_HIGH) - HU_LOW) * (254.0 / (HU_HIGH - HU_LOW))
    return scaled.round().nan_to_num(nan=0.0).to(torch.uint8)


def from_bytes(stored: torch.Tensor) -> torch.Tensor:
    """uint8 pixels to HU, float32; a missing slice has no HU, what comes of its zeros means nothing."""
    return (stored.float() - 1) * ((HU_HIGH - HU_LOW) / 254.0) + HU_LOW


def normalize_bytes(stored: torch.Tensor) -> torch.Tensor:
    """uint8 pixels to the tower's input values, float32 in [-1, 1]; 0 becomes `MISSING`."""
    values = stored.float()
    return ((values - 1.0) * (2.0 / 254.0) - 1.0).masked_fill(stored == 0, MISSING)


def normalize_hu(hu: torch.Tensor) -> torch.Tensor:
    """HU to the tower's input values, float32 in [-1, 1]; NaN becomes `MISSING`."""
    values = (hu.clamp(HU_LOW, HU_HIGH) - HU_LOW) * (2.0 / (HU_HIGH - HU_LOW)) - 1.0
    return values.nan_to_num(nan=MISSING)
