"""Cross-validation by patient: the text tower is tuned without the patients of a fold, then scores their nodules.

It is tuned as ``nodulus tune`` does, on one window of each nodule of the other folds, with the labels that training
gives them. The image tower stays as it was trained, on the patients of `train`; only for those of `val` and `test` is
nothing of them in what scores them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from benchmarks.attributes import Key, Scored
    from imaging.models.network import NoduleNet

FOLDS: Final = 5
SEED: Final = 0
STEPS: Final = 120

Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.object_]


def fold_of(patients: Strings) -> Ints:
    """Which fold each patient is in, (n,): all nodules of a patient are in the same, folds hold as many patients."""
    names = np.unique(patients.astype(str))
    order = np.random.default_rng(SEED).permutation(len(names))
    place = dict(zip(names[order], np.arange(len(names)) % FOLDS, strict=True))
    return np.array([place[str(patient)] for patient in patients], np.int64)


def cross_validated(net: NoduleNet, nodules: pd.DataFrame, seen: torch.Tensor, which: str) -> dict[Key, Scored]:
    """Scores of the rated nodules, each by a text tower that never met its patient.

    Args:
        net: whose text tower is tuned anew for each fold.
        nodules: the readers' ratings of each and its ``patient``, (n,) lines.
        seen: (n, d) what the image tower sees of each.
        which: list of held-out sentences.
    """
    import torch

    from benchmarks.attributes import Scored, prompt_scores
    from imaging.training.seen_windows import Seen
    from imaging.training.text_tuning import TuningRecipe, tune_text
    from pipelines.preparation.lidc_crops import concept_labels

    fold = fold_of(nodules.patient.to_numpy())
    pooled = seen.float()
    # One token a window: what was seen of the nodule stands for all of it.
    tokens = torch.nn.functional.normalize(pooled, dim=-1)[:, None, None].half()
    everything = Seen(tokens, pooled, torch.from_numpy(concept_labels(nodules)))
    collected: dict[Key, list[Scored]] = {}
    for number in range(FOLDS):
        # Maps over tokens are not measured here, and without windows free of nodules they cannot be learned.
        recipe = replace(TuningRecipe(), steps=STEPS, seed=number, prompts=0.0, nodule=0.0)
        tuned, _ = tune_text(net, everything.part(torch.from_numpy(fold != number)), recipe)
        for key, scored in prompt_scores(tuned, seen[torch.from_numpy(fold == number)], which).items():
            collected.setdefault(key, []).append(_centred(scored))
    order = np.argsort(np.concatenate([np.flatnonzero(fold == number) for number in range(FOLDS)]))
    sides = ("pair", "alone", "negation")
    return {
        key: Scored(*(np.concatenate([getattr(part, side) for part in parts])[order] for side in sides))
        for key, parts in collected.items()
    }


def _centred(scored: Scored) -> Scored:
    """Of a sentence alone, each fold's tower has an offset of its own, which is taken off."""
    assert scored.alone is not None
    assert scored.negation is not None
    return replace(scored, alone=scored.alone - scored.alone.mean(), negation=scored.negation - scored.negation.mean())
