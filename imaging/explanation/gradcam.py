"""Grad-CAM of the image tower on the CT's own grid: windows around the findings, or all over the lungs.

In each window the map is scaled to the window's own score: higher is more suspicious across windows too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from imaging.explanation.windows import WindowStack, lung_stacks, paint, stack_around
from imaging.findings import Finding
from imaging.geometry import Volume
from imaging.models.cams import BATCH, METHODS, CamSettings, mirrored_cams

if TYPE_CHECKING:
    from imaging.models.weights import LoadedModel
    from imaging.preprocessing.lungs import Lungs

Progress = Callable[[int, int], None]
Extent = Literal["findings", "lungs"]
#: This quantile of a window's map is its zero.
COMMON_PART: Final = 0.25
#: Extent -> where windows lie, for readers.
EXTENTS: Final = {
    "findings": "in windows around the findings only; 0 elsewhere, which says nothing of what lies there",
    "lungs": "in windows all over the lungs; 0 outside them",
}


def describe_grad_cam(
    model: LoadedModel, *, settings: CamSettings | None = None, extent: Extent = "findings", findings: int | None = None
) -> str:
    """For reports: what was computed, from which block, where, and how to read it.

    Args:
        model, settings, extent: as for `grad_cam_map`.
        findings: how many there are; with none of them a map of the findings is empty, and this says so.
    """
    used = settings or CamSettings.of_model(model)
    blocks = len(model.net.vision.blocks)
    where = EXTENTS[extent]
    if extent == "findings" and findings == 0:
        where = "in windows around the findings only; there is no finding, so the map is empty"
    return (
        f"{METHODS[used.method]} of transformer block {used.block % blocks + 1} of {blocks}, mean of mirrored windows, "
        f"{where}; higher is more suspicious, the highest value in a window is the window's score"
    )


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
        on_progress: called as (windows done, windows); may raise to cancel.
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
    """A map for each window of a stack, (n, rows, columns), its largest value the window's score."""
    from imaging.models.scoring import window_inputs

    cams: list[npt.NDArray[np.float32]] = []
    for start in range(0, len(stack.centres_mm), BATCH):
        x = window_inputs(model, volume, stack.centres_mm[start : start + BATCH])
        x = x.to(next(model.net.parameters()).device)
        maps, logits = mirrored_cams(model.net, x, settings=settings)
        scores = np.array([model.calibrate(float(logit)) for logit in logits], dtype=np.float32)
        # What all of a window has in common marks no place in it, and would show as a square.
        maps = np.maximum(maps - np.quantile(maps, COMMON_PART, axis=(1, 2), keepdims=True), 0).astype(np.float32)
        largest = maps.max(axis=(1, 2), initial=0)
        cams.append(maps * (scores / np.maximum(largest, 1e-12))[:, None, None] * (largest > 0)[:, None, None])
    return np.concatenate(cams)
