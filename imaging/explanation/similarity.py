"""How similar each place is to a prompt, on the CT's own grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.errors import UsageError
from imaging.geometry import Volume
from imaging.geometry.boxes import Box, crop_grid
from imaging.geometry.resample import resample_array

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap

#: Slices interpolated at a time, to keep memory low.
SLAB = 16


def similarity_map(token_map: TokenMap, volume: Volume, prompt: str | None = None) -> npt.NDArray[np.float32]:
    """Similarity to a prompt in [0, 1], float32 on the CT's grid; 0 where nothing was scored.

    The logistic of the tokens' logits, linear between tokens.

    Args:
        token_map: of that volume, scored with that prompt.
        volume: gives the grid.
        prompt: one that the token map holds; by default the suspicion of a nodule.

    Raises:
        UsageError: ``usage.option`` if the token map was not scored with that prompt.
    """
    if prompt is not None and prompt not in token_map.similarity:
        raise UsageError("usage.option", f"the scan was not scored for the prompt {prompt!r}")
    logits = token_map.logits if prompt is None else token_map.similarity[prompt]
    values = _logistic(logits)
    result = np.empty(volume.grid.shape, dtype=np.float32)
    for start in range(0, volume.grid.shape[0], SLAB):
        stop = min(start + SLAB, volume.grid.shape[0])
        box = Box((start, 0, 0), (stop, *volume.grid.shape[1:]))
        result[start:stop] = resample_array(values, token_map.grid, crop_grid(volume.grid, box), order=1, fill=0.0)
    return result


def describe_similarity(prompt: str | None) -> str:
    """For reports: what was compared, and where."""
    text = f"the text “{prompt}”" if prompt else "the model’s own texts for a nodule"
    return (
        f"similarity in [0, 1] of each token to {text}, in windows around the most suspicious places of the lungs "
        "only; 0 elsewhere, which says nothing of what lies there; higher is more similar"
    )


def _logistic(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """In [0, 1]; 0 where a token was not scored."""
    scored = np.isfinite(logits)
    with np.errstate(over="ignore"):
        values = 1.0 / (1.0 + np.exp(-np.where(scored, logits, 0).astype(np.float64)))
    return np.where(scored, values, 0).astype(np.float32)
