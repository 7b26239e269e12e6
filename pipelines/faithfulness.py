"""Do the heat maps follow the model? Both tests of `imaging.explanation.faithfulness` on windows that hold a nodule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.errors import InputError
from pipelines.allowed import COUNT, SEED

if TYPE_CHECKING:
    import torch

    from imaging.explanation.faithfulness import DeletionResult, RandomizationResult
    from imaging.models.cams import CamSettings
    from imaging.models.weights import LoadedModel

OnProgress = Callable[[int, int], None]
#: A training case counts as holding a nodule from this label on: three of four readers.
LEAST_LABEL = 0.75
#: How far from the middle of its window a simulated nodule lies, mm.
OFF_CENTRE_MM = 9.0
#: Nodules planted in one simulated chest; more would crowd it.
NODULES_A_CHEST = 24
#: All of the job in steps, those of them that drawing chests takes, and that deleting takes of both tests (measured).
STEPS, DRAWN, DELETED = 100, 15, 15


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
        UsageError: ``usage.option`` for a block or a method that does not exist, and for impossible numbers.
    """
    from imaging.models.cams import CamSettings
    from imaging.models.weights import load_model

    COUNT.check("windows", windows)
    SEED.check("seed", seed)
    model = load_model(weights, device=device)
    default = CamSettings.of_model(model)
    settings = CamSettings(default.block if layer is None else layer, method or default.method)
    settings.check(model.net)
    rng = np.random.default_rng(seed)
    if cases is None:
        x = simulated_windows(model, windows, rng, on_progress=_share(on_progress, 0, DRAWN))
    else:
        x = prepared_windows(Path(cases), windows, rng)
    name = "simulated thorax" if cases is None else Path(cases).name
    return both_tests(model, x, cases=name, settings=settings, rng=rng, on_progress=_share(on_progress, DRAWN, STEPS))


def both_tests(
    model: LoadedModel,
    x: torch.Tensor,
    *,
    cases: str,
    settings: CamSettings,
    rng: np.random.Generator,
    on_progress: OnProgress | None = None,
) -> Faithfulness:
    """Both tests on windows that are at hand; the model's own maps are made once.

    Args:
        model: as loaded.
        x: (n, slices, h, w), normalised windows with a nodule.
        cases: where they came from.
        settings: block and method of the maps.
        rng: draws the random weights and the random deletions.
        on_progress: called as (steps done, steps).
    """
    from imaging.explanation.faithfulness import deletion_test, randomization_test, window_maps

    x = x.to(next(model.net.parameters()).device)
    maps = window_maps(model.net, x, settings)
    deletion = deletion_test(
        model.net, x, rng=rng, settings=settings, maps=maps, on_progress=_share(on_progress, 0, DELETED)
    )
    randomization = randomization_test(
        model.net, x, rng=rng, settings=settings, maps=maps, on_progress=_share(on_progress, DELETED, STEPS)
    )
    return Faithfulness(model.name, model.sha256, cases, randomization, deletion)


def _share(on_progress: OnProgress | None, start: int, stop: int) -> OnProgress | None:
    """A part's own count of steps, told on as the steps from `start` to `stop` of `STEPS`."""
    if on_progress is None:
        return None
    return lambda done, total: on_progress(start + (stop - start) * done // max(total, 1), STEPS)


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


def simulated_windows(
    model: LoadedModel, count: int, rng: np.random.Generator, *, on_progress: OnProgress | None = None
) -> torch.Tensor:
    """Inputs of windows off the middle of nodules in simulated chests: (n, slices, h, w)."""
    import torch

    from imaging.models.scoring import window_inputs
    from imaging.simulation.thorax import make_thorax

    parts: list[torch.Tensor] = []
    left = count
    while left > 0:
        volume, planted = make_thorax(
            rng=rng, shape=(100, 384, 384), spacing_mm=(2.5, 0.8, 0.8), nodules=min(left, NODULES_A_CHEST)
        )
        shifts = rng.uniform(-OFF_CENTRE_MM, OFF_CENTRE_MM, (len(planted), 2))
        centres = [
            (n.centre_mm[0] + float(dx), n.centre_mm[1] + float(dy), n.centre_mm[2])
            for n, (dx, dy) in zip(planted, shifts, strict=True)
        ]
        parts.append(window_inputs(model, volume, centres))
        left -= len(planted)
        if on_progress is not None:
            on_progress(count - max(left, 0), count)
    return torch.cat(parts)[:count]
