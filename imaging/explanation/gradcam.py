"""Grad-CAM of the image tower: which tokens of a block carry a window's nodule logit, on the CT's own grid.

The windows' logit is a log-sum-exp over all tokens, there is no class token, so every token of every block, the last
one included, has a gradient. A token's weight is the mean gradient of each feature (Grad-CAM) or its own gradient
(HiResCAM). In each window the map is scaled to the window's own score: higher is more suspicious across windows too.

Source: R. R. Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74; R. L. Draelos and L. Carin, arXiv:2011.08891.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from imaging.errors import UsageError
from imaging.explanation.windows import WindowStack, lung_stacks, paint, stack_around
from imaging.findings import Finding
from imaging.geometry import Volume

if TYPE_CHECKING:
    from imaging.models.weights import LoadedModel
    from imaging.preprocessing.lungs import Lungs

Progress = Callable[[int, int], None]
Method = Literal["grad-cam", "hires-cam"]
Extent = Literal["findings", "lungs"]
METHODS: Final[tuple[Method, ...]] = ("grad-cam", "hires-cam")
#: Windows through the network at a time; bounds memory.
BATCH: Final = 32


@dataclass(frozen=True)
class CamSettings:
    """How a map is made.

    Args:
        block: which transformer block's output is weighted; negative ones count from the last.
        method: mean gradient a feature (``grad-cam``) or gradient a token (``hires-cam``).
    """

    block: int = -1
    method: Method = "grad-cam"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError("usage.option", f"the method is one of {', '.join(METHODS)}, not {self.method!r}")

    def check(self, net: Any) -> None:
        """Refuse a block that a net does not have.

        Raises:
            UsageError: ``usage.option``.
        """
        blocks = len(net.vision.blocks)
        if not -blocks <= self.block < blocks:
            raise UsageError("usage.option", f"the model has {blocks} blocks, there is no block {self.block}")

    @classmethod
    def of_model(cls, model: LoadedModel) -> CamSettings:
        """What the model card recommends after measuring (its key ``explanation``), or the last block."""
        card: dict[str, Any] = dict(model.card.get("explanation") or {})
        return cls(block=int(card.get("layer", -1)), method=card.get("method", "grad-cam"))


def describe_grad_cam(model: LoadedModel, *, settings: CamSettings | None = None, extent: Extent = "findings") -> str:
    """One sentence for reports: what was computed, from which block, and where."""
    used = settings or CamSettings.of_model(model)
    name = {"grad-cam": "Grad-CAM", "hires-cam": "HiResCAM"}[used.method]
    blocks = len(model.net.vision.blocks)
    where = "windows around the findings only" if extent == "findings" else "the whole lungs"
    return f"{name} of transformer block {used.block % blocks + 1} of {blocks}, in {where}; 0 elsewhere"


def grad_cam_map(
    model: LoadedModel,
    volume: Volume,
    lungs: Lungs,
    findings: Sequence[Finding],
    *,
    settings: CamSettings | None = None,
    extent: Extent = "findings",
    on_progress: Progress | None = None,
) -> npt.NDArray[np.float32]:
    """Grad-CAM on the CT's own grid, in [0, 1], 0 outside the lungs and their margin.

    Args:
        model: its net and its calibration.
        volume: HU.
        lungs: of that volume.
        findings: windows are put around them, in as many planes as each is high.
        settings: block and method; by default what the model card recommends.
        extent: ``findings``, or ``lungs`` for windows all over them (slow: minutes).
        on_progress: called as (windows done, windows).
    """
    used = settings or CamSettings.of_model(model)
    if extent == "findings":
        stacks = [stack_around(model, volume, finding) for finding in findings]
    else:
        stacks = lung_stacks(model, volume, lungs)
    total = sum(len(stack.centres_mm) for stack in stacks)
    result = np.zeros(volume.grid.shape, dtype=np.float32)
    done = 0
    for stack in stacks:
        cams = _scored_cams(model, volume, stack, used)
        paint(result, volume, lungs, stack, cams)
        done += len(cams)
        if on_progress is not None:
            on_progress(done, total)
    return result


def _scored_cams(
    model: LoadedModel, volume: Volume, stack: WindowStack, settings: CamSettings
) -> npt.NDArray[np.float32]:
    """A map for each window of a stack, (n, th, tw), its largest value the window's score."""
    from imaging.models.scoring import window_inputs

    cams: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(stack.centres_mm), BATCH):
        x = window_inputs(model, volume, stack.centres_mm[start : start + BATCH])
        maps, logits = window_cams(model.net, x, settings=settings)
        scores = np.array([model.calibrate(float(logit)) for logit in logits], dtype=np.float32)
        largest = maps.max(axis=(1, 2), initial=0)
        cams.append(maps * (scores / np.maximum(largest, 1e-12))[:, None, None] * (largest > 0)[:, None, None])
    return np.concatenate(cams)


def window_cams(
    net: Any, x: torch.Tensor, *, settings: CamSettings | None = None
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Unscaled maps (n, th, tw), >= 0, and logits (n,) of a batch of windows.

    Gradients flow back to the chosen block only. Nothing is left behind: no hook, no gradient, no changed mode.

    Args:
        net: with ``vision.blocks`` and ``window_logit``, in evaluation mode.
        x: (n, slices, height, width), normalised.
        settings: block and method.

    Raises:
        UsageError: ``usage.option`` if there is no such block.
    """
    used = settings or CamSettings()
    used.check(net)
    block = net.vision.blocks[used.block]
    # The blocks before the chosen one need no gradient; from its output on, the hook turns gradients on.
    with torch.inference_mode(False), torch.no_grad(), _captured(block) as caught:
        logits = net.window_logit(x.clone())
        output = caught[0]
        (gradient,) = torch.autograd.grad(logits.sum(), output)
    if used.method == "grad-cam":
        gradient = gradient.mean(dim=1, keepdim=True)
    cam = (output.detach() * gradient).sum(dim=-1).clamp_min(0)
    rows = round((cam.shape[1] * x.shape[-2] / x.shape[-1]) ** 0.5)
    maps = cam.reshape(len(x), rows, -1).float().cpu().numpy()
    return maps, logits.detach().float().cpu().numpy()


@contextmanager
def _captured(block: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """The output of a block, made the leaf that gradients are taken at, for one forward pass."""
    caught: list[torch.Tensor] = []

    def catch(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        torch.set_grad_enabled(True)
        caught.append(output.detach().requires_grad_(True))
        return caught[-1]

    handle = block.register_forward_hook(catch)
    try:
        yield caught
    finally:
        handle.remove()
