"""Everything that decides a training run, besides its cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from imaging.training.losses import LossWeights


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides its cases.

    Args:
        steps: optimizer steps in all; 0 where the clock decides (`imaging.training.pace.TimedPace`).
        batch: windows a step, over all processes.
        rate: highest learning rate; a warm-up, then a cosine to a hundredth.
        weight_decay: of matrices, not of norms and biases.
        warmup: steps until the highest rate.
        ema: decay of the exponential mean of the weights, which is what a run ships.
        seed: of the weights, the batches and the augmentation.
        shares: collection -> share of a batch; collections not named share what is left by their size.
        positives: share of windows with a nodule among those of a collection that has both.
        weights: of the parts of the loss.
        precision: ``32``, ``bf16`` or ``fp16``: what the towers calculate in; weights stay float32.
    """

    steps: int
    batch: int = 64
    rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 200
    ema: float = 0.999
    seed: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    positives: float = 0.4
    weights: LossWeights = field(default_factory=LossWeights)
    precision: str = "32"

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return {**asdict(self), "shares": dict(self.shares)}
