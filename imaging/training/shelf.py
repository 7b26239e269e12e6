"""Where the windows of a run lie while it draws from them: in the GPU's memory if they fit, else on the disk."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

#: Windows are brought to the GPU in pieces of so many.
PIECE = 32_768
#: Windows may take this share of the GPU memory that is free before training begins.
ROOM = 0.6


class Shelf:
    """Stored windows, uint8 (n, slices, height, width), that batches are taken from on a device.

    Args:
        images: an array, memory-mapped or not, or something that indexes like one.
        device: where batches are wanted.
    """

    def __init__(self, images: Any, device: torch.device) -> None:
        self._images = images
        self._device = device
        self._held = _held(images, device) if device.type == "cuda" else None

    def take(self, index: torch.Tensor) -> torch.Tensor:
        """The windows at CPU indices, in that order, on the device."""
        if self._held is not None:
            return self._held[index.to(self._device)]
        order, back = np.unique(index.numpy(), return_inverse=True)  # the disk is read in one direction
        found: npt.NDArray[np.uint8] = np.asarray(self._images[order])[back]
        return torch.from_numpy(found).to(self._device)


def _held(images: Any, device: torch.device) -> torch.Tensor | None:
    """All windows in the device's memory, or None if there is no room for them."""
    free, _ = torch.cuda.mem_get_info(device)
    if int(np.prod(images.shape, dtype=np.int64)) > ROOM * free:
        return None
    held = torch.empty(tuple(images.shape), dtype=torch.uint8, device=device)
    for start in range(0, len(images), PIECE):
        piece = torch.from_numpy(np.array(images[start : start + PIECE]))
        held[start : start + PIECE] = piece.to(device)
    return held
