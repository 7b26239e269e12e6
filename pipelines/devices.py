"""Where the network runs: a device that is there, and the model on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from imaging.errors import UsageError

if TYPE_CHECKING:
    from imaging.models.weights import LoadedModel


def load_on(device: str, weights: str | Path | None) -> LoadedModel:
    """The model on a device that is there.

    Raises:
        UsageError: see `check_device`.
        ModelError: the weights are missing, changed or unsuitable.
    """
    from imaging.models.weights import load_model

    check_device(device)
    return load_model(weights, device=device)


def check_device(device: str) -> None:
    """Refuse a device that torch does not know or this machine lacks.

    Raises:
        UsageError: ``usage.option``.
    """
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError("usage.option", f"the device {device!r} cannot be used here: {reason}") from error
