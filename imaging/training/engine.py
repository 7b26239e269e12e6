"""The training loop: seeded batches, AdamW, a running mean of the weights, checkpoints that resume bit for bit.

accelerate spreads a step over processes and runs it in the precision wanted; torch keeps the mean of the weights.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch.optim.swa_utils import AveragedModel

from imaging.errors import UsageError
from imaging.io.atomic import write_bytes
from imaging.models.intensity import normalize_bytes
from imaging.models.network import NoduleNet
from imaging.training.augment import augment
from imaging.training.cases import CaseSet
from imaging.training.losses import Sentences, WeakLoss
from imaging.training.pace import Pace, StepPace
from imaging.training.processes import Processes
from imaging.training.recipe import Recipe
from imaging.training.sampler import CHANGE, DRAW, DROP, Sampler, seed_of
from imaging.training.shelf import Shelf

#: Losses are told every so many steps.
TOLD_EVERY = 20
#: A batch is augmented in so many parts, each with chance of its own, so that 1, 2, 4 or 8 processes do the same to it.
PARTS = 8


@dataclass(frozen=True)
class Told:
    """What a run says of itself every `TOLD_EVERY` steps.

    Args:
        step: steps done.
        rate: learning rate of the last one.
        losses: of the last step's batch, by name.
        windows_per_s: windows trained on a second since the last time, over all processes.
    """

    step: int
    rate: float
    losses: Mapping[str, float]
    windows_per_s: float


class Trainer:
    """A net in training: the net, its running mean, the optimizer and the cases.

    Args:
        net: to train; it is moved to the device.
        cases: to train on.
        recipe: see `Recipe`.
        device: as torch names it, where `processes` is not given.
        processes: that share the run.
        pace: by default the recipe's steps, in one round.

    Raises:
        UsageError: ``usage.option`` if a batch cannot be shared evenly by the processes.
    """

    def __init__(
        self,
        net: NoduleNet,
        cases: CaseSet,
        recipe: Recipe,
        *,
        device: str = "cpu",
        processes: Processes | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.recipe = recipe
        self.processes = processes or Processes(device=device, precision=recipe.precision)
        if recipe.batch % self.processes.count:
            raise UsageError(
                "usage.option", f"a batch of {recipe.batch} cannot be shared by {self.processes.count} processes"
            )
        self.device = self.processes.device
        self.pace: Pace = pace or StepPace(recipe.steps, warmup=recipe.warmup)
        self.net = net.to(self.device)
        self._averaged = AveragedModel(self.net, multi_avg_fn=self._follow, use_buffers=True)
        self._averaged.module.eval()
        kept = self.mean.state_dict()
        # Constants such as the text tower's mask, which is infinite: a mean of it would not be a number.
        self._fixed = {b.data_ptr() for name, b in self.mean.named_buffers() if name not in kept}
        self.processes.shared_norms(self.net)
        self.step = 0
        self._cases = cases
        self._sampler = Sampler(cases, recipe)
        self._shelf = Shelf(cases.images, self.device)
        self._labels = torch.from_numpy(cases.labels).to(self.device)
        self._change = torch.Generator(self.device)
        optimizer = torch.optim.AdamW(
            parameter_groups(self.net, recipe.weight_decay),
            lr=recipe.rate,
            betas=(0.9, 0.98),
            fused=self.device.type == "cuda",
        )
        self._loss, self._optimizer = self.processes.engine.prepare(WeakLoss(self.net, recipe.weights), optimizer)

    @property
    def mean(self) -> NoduleNet:
        """The exponential mean of the net's weights, in evaluation mode: what a run ships."""
        return cast(NoduleNet, self._averaged.module)

    def run(
        self,
        steps: int | None = None,
        *,
        on_step: Callable[[int], None] | None = None,
        on_told: Callable[[Told], None] | None = None,
    ) -> dict[str, float]:
        """Train for `steps` more steps, or to the end of the pace's round, but one at least; the last step's losses.

        Args:
            steps: how many more.
            on_step: hears the number of steps done after each; may raise to cancel.
            on_told: hears of losses now and then.

        Raises:
            UsageError: ``train.diverged`` when a loss is no longer a number.
        """
        self.net.train()
        losses: dict[str, float] = {}
        began_s, began = time.monotonic(), self.step
        last = None if steps is None else self.step + steps
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            self._look()
            while not self._at_the_end(last, began):
                parts = self._one_step()
                self.step += 1
                self._look()
                if self.step % TOLD_EVERY == 0 or self._at_the_end(last, began):
                    losses = self._whole(parts)
                    now_s = time.monotonic()
                    speed = (self.step - began) * self.recipe.batch / max(now_s - began_s, 1e-9)
                    if on_told is not None and self.step % TOLD_EVERY == 0:
                        on_told(Told(self.step, self.rate_at(self.step - 1), losses, speed))
                if on_step is not None:
                    on_step(self.step)
        self.mean.eval()  # forgets the prompt embeddings of older weights
        return losses

    def _look(self) -> None:
        self.pace.look(self.step)

    def _at_the_end(self, last: int | None, began: int) -> bool:
        if last is not None:
            return self.step >= last
        return self.step > began and (self.pace.over(self.step) or self.pace.round_over(self.step))

    def relabel(self, labels: npt.NDArray[np.float32]) -> None:
        """Give the cases other labels, (n, concepts); those whose ``nodule`` is NaN are not drawn."""
        self._cases = replace(self._cases, labels=labels)
        self._sampler = Sampler(self._cases, self.recipe)
        self._labels = torch.from_numpy(labels).to(self.device)

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        return self.recipe.rate * self.pace.rate_share(step)

    def _one_step(self) -> dict[str, torch.Tensor]:
        seed, engine = self.recipe.seed, self.processes.engine
        draw = torch.Generator().manual_seed(seed_of(seed, self.step, DRAW))
        index = self._sampler.draw(self.recipe.batch, draw)
        sentences = Sentences.draw(draw)
        torch.manual_seed(seed_of(seed, self.step, DROP, self.processes.number))
        mine = self.processes.part_of(len(index))
        x = self._changed(normalize_bytes(self._shelf.take(index[mine])), mine)
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate_at(self.step)
        loss, parts = self._loss(x, self._labels[index[mine].to(self.device)], sentences)
        self._optimizer.zero_grad(set_to_none=True)
        engine.backward(loss)
        engine.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimizer.step()
        self._averaged.update_parameters(self.net)
        return dict(parts)

    def _changed(self, x: torch.Tensor, mine: slice) -> torch.Tensor:
        """This process' part of a batch, augmented part by part with the chance of each part's place in the batch."""
        batch = self.recipe.batch
        even = batch % PARTS == 0 and PARTS % self.processes.count == 0
        length = batch // (PARTS if even else self.processes.count)
        changed = []
        for number, part in enumerate(x.split(length), start=mine.start // length):
            self._change.manual_seed(seed_of(self.recipe.seed, self.step, CHANGE, number))
            changed.append(augment(part, self._change))
        return torch.cat(changed)

    def _whole(self, parts: Mapping[str, torch.Tensor]) -> dict[str, float]:
        """Losses over all processes; a run whose losses are not numbers ends here."""
        mean = self.processes.engine.reduce(torch.stack([v.float() for v in parts.values()]), reduction="mean")
        losses = dict(zip(parts, (float(v) for v in mean), strict=True))
        if not all(math.isfinite(value) for value in losses.values()):
            raise UsageError("train.diverged", f"step {self.step}: {losses}")
        return losses

    def _follow(self, mean: Any, now: Any, count: Any) -> None:
        """Move the running mean towards the net; early on it follows faster."""
        if not mean[0].is_floating_point():
            torch._foreach_copy_(mean, now)
            return
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        moving = [pair for pair in zip(mean, now, strict=True) if pair[0].data_ptr() not in self._fixed]
        torch._foreach_lerp_([m for m, _ in moving], [n for _, n in moving], 1 - decay)

    def save(self, path: Path, *, notes: Mapping[str, str] | None = None) -> None:
        """Write everything that the next step depends on, and `notes`, to one safetensors file, which appears whole.

        Raises:
            OutputError: what `imaging.io.atomic.write_bytes` raises.
        """
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        tensors["mean_count"] = self._averaged.n_averaged
        for i, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        scaler = self.processes.engine.scaler
        head = {
            **(notes or {}),
            "step": str(self.step),
            "net": json.dumps(self.net.to_json()),
            "recipe": json.dumps(self.recipe.to_json()),
            "scaler": json.dumps(scaler.state_dict() if scaler is not None else None),
        }
        write_bytes(path, save({k: v.contiguous().cpu() for k, v in tensors.items()}, metadata=head))

    def load(self, path: Path) -> None:
        """Go on from a file that `save` wrote; the recipe must be the same."""
        tensors = load_file(path)
        with safe_open(path, "pt") as stored_file:
            head = stored_file.metadata()
        self.net.load_state_dict(_part(tensors, "net."))
        self.mean.load_state_dict(_part(tensors, "mean."))
        self._averaged.n_averaged.copy_(tensors["mean_count"])
        self.mean.eval()
        state = self._optimizer.state_dict()
        stored = _part(tensors, "optimizer.")
        numbers = {int(key.split(".")[0]) for key in stored}
        state["state"] = {i: _part(stored, f"{i}.") for i in sorted(numbers)}
        self._optimizer.load_state_dict(state)
        if self.processes.engine.scaler is not None:
            self.processes.engine.scaler.load_state_dict(json.loads(head["scaler"]))
        self.step = int(head["step"])


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}


def parameter_groups(net: NoduleNet, decay: float) -> list[dict[str, Any]]:
    """What an optimizer takes: matrices with weight decay; norms, biases and embeddings of words without."""
    plain = [p for n, p in net.named_parameters() if p.ndim < 2 or "embedding" in n]
    kept = {id(p) for p in plain}
    return [
        {"params": [p for p in net.parameters() if id(p) not in kept], "weight_decay": decay},
        {"params": plain, "weight_decay": 0.0},
    ]
