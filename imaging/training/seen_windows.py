"""What the image tower saw of windows, kept so that it looks at each only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from imaging.models.intensity import normalize_bytes
from imaging.models.network import NoduleNet, attention_of, attribute_pool
from imaging.training.cases import CaseSet

Progress = Callable[[int, int], None]

#: Windows through the image tower at a time.
BATCH = 64


@dataclass(frozen=True, eq=False)
class Seen:
    """What a frozen image tower saw of windows.

    Args:
        tokens: float16 (n, th, tw, d), unit embeddings.
        pooled: (n, d), their mean where the nodule is, see `attribute_pool`.
        labels: (n, concepts), NaN unknown; the first column is ``nodule``.
    """

    tokens: torch.Tensor
    pooled: torch.Tensor
    labels: torch.Tensor

    def part(self, keep: torch.Tensor) -> Seen:
        """The windows at `keep`, a mask or indices."""
        return Seen(self.tokens[keep], self.pooled[keep], self.labels[keep])

    @classmethod
    def joined(cls, parts: Sequence[Seen]) -> Seen:
        """Several as one."""
        return cls(
            torch.cat([p.tokens for p in parts]),
            torch.cat([p.pooled for p in parts]),
            torch.cat([p.labels for p in parts]),
        )


@torch.inference_mode()
def see(net: NoduleNet, cases: CaseSet, *, on_progress: Progress | None = None) -> Seen:
    """Look at each window once, in order.

    Args:
        net: in evaluation mode.
        cases: windows and their labels.
        on_progress: called as (windows done, all); may raise to cancel.
    """
    device = next(net.parameters()).device
    tokens, pooled = [], []
    for start in range(0, len(cases), BATCH):
        if on_progress is not None:
            on_progress(start, len(cases))
        stored = torch.from_numpy(np.ascontiguousarray(cases.images[start : start + BATCH]))
        seen = net.tokens(normalize_bytes(stored.to(device)))
        attention = attention_of(net.logits_of(seen, net.nodule_direction())[:, 0])
        pooled.append(attribute_pool(seen, attention).float().cpu())
        tokens.append(seen.half().cpu())
    return Seen(torch.cat(tokens), torch.cat(pooled), torch.from_numpy(cases.labels))
