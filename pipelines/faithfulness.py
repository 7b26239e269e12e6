"""Do the heat maps follow the model? Both tests of `imaging.explanation.faithfulness` on windows that hold a nodule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.errors import InputError

if TYPE_CHECKING:
    import torch

    from imaging.explanation.faithfulness import DeletionResult, RandomizationResult
    from imaging.models.weights import LoadedModel

OnProgress = Callable[[int, int], None]
#: A training case counts as holding a nodule from this label on: three of four readers.
LEAST_LABEL = 0.75
#: How far from the middle of its window a simulated nodule lies, mm.
OFF_CENTRE_MM = 9.0


@dataclass(frozen=True)
class Faithfulness:
    """Both tests of one model.

    Args:
        weights_name, weights_sha256: of the model.
        cases: where the windows came from.
        randomization, deletion: the results.
    """

    weights_name: str
    weights_sha256: str
    cases: str
    randomization: RandomizationResult
    deletion: DeletionResult

    @property
    def passed(self) -> bool:
        """Whether both tests meet their bar."""
        return self.randomization.passed and self.deletion.passed

    def to_json(self) -> dict[str, Any]:
        """Both results as plain values."""
        return {
            "schema_version": 1,
            "weights": {"name": self.weights_name, "sha256": self.weights_sha256},
            "cases": self.cases,
            "passed": self.passed,
            "randomization": self.randomization.to_json(),
            "deletion": self.deletion.to_json(),
        }


def faithfulness(
    cases: str | Path | None = None,
    *,
    windows: int = 40,
    weights: str | Path | None = None,
    layer: int | None = None,
    method: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    on_progress: OnProgress | None = None,
) -> Faithfulness:
    """Test the heat maps of a model.

    Args:
        cases: a folder of prepared cases (of validation patients); by default nodules in a simulated thorax.
        windows: how many windows that hold a nodule; at least 20 for a verdict.
        weights: as for `pipelines.predict.predict`.
        layer, method: of Grad-CAM; by default the model card's.
        seed: draws the windows, the random weights and the random deletions.
        device: where the network runs.
        on_progress: called as (steps done, steps).

    Raises:
        InputError: ``cases.layout`` if the folder holds no cases, or none with a nodule.
        ModelError: the weights are missing, changed or unsuitable.
        UsageError: ``usage.option`` for a block or a method that does not exist.
    """
    from imaging.explanation.cams import CamSettings
    from imaging.explanation.faithfulness import deletion_test, randomization_test
    from imaging.models.weights import load_model

    model = load_model(weights, device=device)
    default = CamSettings.of_model(model)
    settings = CamSettings(default.block if layer is None else layer, method or default.method)
    settings.check(model.net)
    rng = np.random.default_rng(seed)
    x = simulated_windows(model, windows, rng) if cases is None else prepared_windows(Path(cases), windows, rng)
    x = x.to(device)
    return Faithfulness(
        weights_name=model.name,
        weights_sha256=model.sha256,
        cases="simulated thorax" if cases is None else Path(cases).name,
        randomization=randomization_test(model.net, x, rng=rng, settings=settings, on_progress=on_progress),
        deletion=deletion_test(model.net, x, rng=rng, settings=settings),
    )


def prepared_windows(folder: Path, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Inputs of random cases with a nodule: (n, slices, h, w)."""
    import torch

    from imaging.models.intensity import normalize_bytes
    from imaging.training.cases import CaseSet

    cases = CaseSet.load(folder)
    held = np.flatnonzero(cases.labels[:, 0] >= LEAST_LABEL)
    if not len(held):
        raise InputError("cases.layout", "no case holds a nodule", where=folder)
    chosen = np.sort(rng.permutation(held)[:count])
    return normalize_bytes(torch.from_numpy(np.array(cases.images[chosen])))


def simulated_windows(model: LoadedModel, count: int, rng: np.random.Generator) -> torch.Tensor:
    """Inputs of windows off the middle of nodules in simulated chests: (n, slices, h, w)."""
    import torch

    from imaging.models.scoring import window_inputs
    from imaging.simulation.thorax import make_thorax

    parts: list[torch.Tensor] = []
    while sum(len(part) for part in parts) < count:
        volume, planted = make_thorax(
            rng=rng, shape=(100, 384, 384), spacing_mm=(2.5, 0.8, 0.8), nodules=min(count, 24)
        )
        shifts = rng.uniform(-OFF_CENTRE_MM, OFF_CENTRE_MM, (len(planted), 2))
        centres = [
            (n.centre_mm[0] + float(dx), n.centre_mm[1] + float(dy), n.centre_mm[2])
            for n, (dx, dy) in zip(planted, shifts, strict=True)
        ]
        parts.append(window_inputs(model, volume, centres))
    return torch.cat(parts)[:count]
