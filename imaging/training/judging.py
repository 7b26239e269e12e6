"""What a net says of many stored windows, without augmentation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from imaging.models.intensity import normalize_bytes
from imaging.models.network import NoduleNet, pool_tokens
from imaging.training.cases import CaseSet


@torch.inference_mode()
def window_logits(net: NoduleNet, cases: CaseSet, *, device: str = "cpu", batch: int = 256) -> torch.Tensor:
    """Nodule logit of each case's window, without augmentation: (n,) on the CPU."""
    return image_logits(net, cases.images, device=device, batch=batch)


@torch.inference_mode()
def image_logits(
    net: NoduleNet, images: npt.NDArray[np.uint8], *, device: str = "cpu", batch: int = 256
) -> torch.Tensor:
    """Nodule logit of stored windows (n, slices, h, w): (n,) on the CPU."""
    logits = [torch.empty(0)]
    for start in range(0, len(images), batch):
        stored = torch.from_numpy(np.array(images[start : start + batch])).to(device)
        logits.append(net.window_logit(normalize_bytes(stored)).float().cpu())
    return torch.cat(logits)


@torch.inference_mode()
def suspicion(
    net: NoduleNet, images: npt.NDArray[np.uint8], *, device: str = "cpu", most: int = 256, batch: int = 256
) -> npt.NDArray[np.float32]:
    """How suspicious each of very many stored windows is, in an order: float32 (n,).

    The stem's gate, a seventh of the cost, looks at all; the whole net at the `most` that it finds most suspicious.
    Those have their logit; the rest keep the gate's order below all of them.
    """
    gate = [torch.empty(0)]
    for start in range(0, len(images), batch):
        stored = torch.from_numpy(np.array(images[start : start + batch])).to(device)
        values = net.vision.gate_logits(net.vision.stem(normalize_bytes(stored)))
        gate.append(pool_tokens(values).float().cpu())
    first = torch.cat(gate).numpy()
    chosen = np.sort(np.argsort(-first, kind="stable")[:most])
    logits = image_logits(net, images[chosen], device=device, batch=batch).numpy()
    order: npt.NDArray[np.float32] = first - first.max(initial=0.0) + logits.min(initial=0.0) - 1.0
    order[chosen] = logits
    return order
