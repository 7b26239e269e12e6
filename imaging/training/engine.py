"""The training loop: seeded batches, AdamW, an exponential mean of the weights, checkpoints that resume bit for bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from imaging.models.intensity import normalize_bytes
from imaging.models.network import NoduleNet, pool_tokens
from imaging.training.augment import augment
from imaging.training.cases import CaseSet
from imaging.training.losses import LossWeights, Sentences, weak_loss


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run, besides its cases.

    Args:
        steps: optimizer steps in all.
        batch: windows a step.
        rate: highest learning rate; a warm-up, then a cosine to a hundredth.
        weight_decay: of matrices, not of norms and biases.
        ema: decay of the exponential mean of the weights, which is what a run ships.
        seed: of the weights, the batches and the augmentation.
        shares: collection -> share of a batch; collections not named share what is left by their size.
        positives: share of windows with a nodule among those of a collection that has both.
        weights: of the parts of the loss.
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

    def to_json(self) -> dict[str, Any]:
        """The recipe as plain values."""
        return {**asdict(self), "shares": dict(self.shares)}


class Sampler:
    """Draws the cases of each batch: collections by their shares, windows with and without a nodule in proportion."""

    def __init__(self, cases: CaseSet, recipe: Recipe) -> None:
        self._pools: list[torch.Tensor] = []
        chances = []
        positive, negative = cases.labels[:, 0] >= 0.1, cases.labels[:, 0] < 0.1  # neither where it is NaN
        left = max(0.0, 1.0 - sum(recipe.shares.values()))
        unnamed = sum(
            int((cases.collection == i).sum()) for i, n in enumerate(cases.collections) if n not in recipe.shares
        )
        for i, name in enumerate(cases.collections):
            mine = cases.collection == i
            share = recipe.shares.get(name, left * float(mine.sum()) / max(unnamed, 1))
            for pool, part in ((mine & positive, recipe.positives), (mine & negative, 1 - recipe.positives)):
                if pool.any():
                    whole = not (mine & positive).any() or not (mine & negative).any()
                    self._pools.append(torch.from_numpy(np.flatnonzero(pool)))
                    chances.append(share if whole else share * part)
        self._chances = torch.tensor(chances, dtype=torch.float64)

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        """Indices of `n` cases, with a CPU generator."""
        pool = torch.multinomial(self._chances, n, replacement=True, generator=generator)
        place = torch.rand(n, dtype=torch.float64, generator=generator)
        index = torch.empty(n, dtype=torch.int64)
        for i, members in enumerate(self._pools):
            mine = pool == i
            index[mine] = members[(place[mine] * len(members)).long()]
        return index


class Trainer:
    """A net in training: the net, its running mean, the optimizer, and the state of every source of chance."""

    def __init__(self, net: NoduleNet, cases: CaseSet, recipe: Recipe, *, device: str = "cpu") -> None:
        self.recipe = recipe
        self.device = torch.device(device)
        self.net = net.to(self.device)
        self.mean = deepcopy(self.net).eval()
        self.step = 0
        self._cases = cases
        self._sampler = Sampler(cases, recipe)
        self._on_device = self.device.type == "cuda"
        self._images = torch.from_numpy(np.ascontiguousarray(cases.images)).to(self.device) if self._on_device else None
        self._labels = torch.from_numpy(cases.labels).to(self.device)
        self._draw = torch.Generator().manual_seed(recipe.seed)
        self._change = torch.Generator(self.device).manual_seed(recipe.seed + 1)
        torch.manual_seed(recipe.seed + 2)
        groups = _groups(self.net, recipe.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=recipe.rate, betas=(0.9, 0.98), fused=self._on_device)

    def run(
        self, steps: int, *, on_step: Callable[[int, int, dict[str, float]], None] | None = None
    ) -> dict[str, float]:
        """Train for `steps` more steps; `on_step` hears (done, all, losses) every twentieth. The last step's losses."""
        self.net.train()
        parts: dict[str, float | torch.Tensor] = {}
        for _ in range(steps):
            parts = self._one_step()
            self.step += 1
            if on_step is not None and self.step % 20 == 0:
                self.mean.eval()  # forgets the prompt embeddings of older weights
                on_step(self.step, self.recipe.steps, {k: float(v) for k, v in parts.items()})
        self.mean.eval()
        return {k: float(v) for k, v in parts.items()}

    def relabel(self, labels: npt.NDArray[np.float32]) -> None:
        """Give the cases other labels, (n, concepts); those whose ``nodule`` is NaN are not drawn."""
        self._cases = replace(self._cases, labels=labels)
        self._sampler = Sampler(self._cases, self.recipe)
        self._labels = torch.from_numpy(labels).to(self.device)

    def _one_step(self) -> dict[str, float | torch.Tensor]:
        index = self._sampler.draw(self.recipe.batch, self._draw)
        x = augment(normalize_bytes(self._pixels(index)), self._change)
        sentences = Sentences.draw(self._draw)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate_at(self.step)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._on_device):
            loss, parts = weak_loss(self.net, x, self._labels[index.to(self.device)], sentences, self.recipe.weights)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimizer.step()
        self._average()
        return parts

    def rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine to a hundredth of the highest."""
        if step < self.recipe.warmup:
            return self.recipe.rate * (step + 1) / self.recipe.warmup
        done = (step - self.recipe.warmup) / max(1, self.recipe.steps - self.recipe.warmup)
        return self.recipe.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))

    def _pixels(self, index: torch.Tensor) -> torch.Tensor:
        if self._images is not None:
            return self._images[index.to(self.device)]
        order = np.sort(index.numpy())
        back = np.argsort(np.argsort(index.numpy(), kind="stable"), kind="stable")
        return torch.from_numpy(np.asarray(self._cases.images[order])[back])

    @torch.no_grad()
    def _average(self) -> None:
        """Move the running mean towards the net; early on it follows faster."""
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        mean, now = self.mean.state_dict(), self.net.state_dict()
        floats = [k for k, v in mean.items() if v.is_floating_point()]
        torch._foreach_lerp_([mean[k] for k in floats], [now[k] for k in floats], 1 - decay)
        for key in mean.keys() - set(floats):
            mean[key].copy_(now[key])

    def save(self, path: Path, *, notes: Mapping[str, str] | None = None) -> None:
        """Write everything that the next step depends on, and `notes`, to one safetensors file, which appears whole."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        for i, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        tensors["chance.draw"] = self._draw.get_state()
        tensors["chance.change"] = self._change.get_state()
        tensors["chance.global"] = torch.get_rng_state()
        if self._on_device:
            tensors["chance.cuda"] = torch.cuda.get_rng_state(self.device)
        head = {
            **(notes or {}),
            "step": str(self.step),
            "net": json.dumps(self.net.to_json()),
            "recipe": json.dumps(self.recipe.to_json()),
        }
        part = path.with_name(path.name + ".part")
        save_file({k: v.contiguous().cpu() for k, v in tensors.items()}, part, metadata=head)
        part.replace(path)

    def load(self, path: Path, *, step: int) -> None:
        """Go on from a file that `save` wrote at `step`; the recipe must be the same."""
        tensors = load_file(path)
        self.net.load_state_dict(_part(tensors, "net."))
        self.mean.load_state_dict(_part(tensors, "mean."))
        self.mean.eval()
        state = self._optimizer.state_dict()
        stored = _part(tensors, "optimizer.")
        numbers = {int(key.split(".")[0]) for key in stored}
        state["state"] = {i: _part(stored, f"{i}.") for i in sorted(numbers)}
        self._optimizer.load_state_dict(state)
        self._draw.set_state(tensors["chance.draw"])
        self._change.set_state(tensors["chance.change"])
        torch.set_rng_state(tensors["chance.global"])
        if "chance.cuda" in tensors and self._on_device:
            torch.cuda.set_rng_state(tensors["chance.cuda"], self.device)
        self.step = step


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def _groups(net: NoduleNet, decay: float) -> list[dict[str, Any]]:
    """Matrices with weight decay; norms, biases and embeddings of words without."""
    plain = [p for n, p in net.named_parameters() if p.ndim < 2 or "embedding" in n]
    kept = {id(p) for p in plain}
    return [
        {"params": [p for p in net.parameters() if id(p) not in kept], "weight_decay": decay},
        {"params": plain, "weight_decay": 0.0},
    ]


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
