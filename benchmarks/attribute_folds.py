"""Cross-validation by patient: the text tower is tuned without the patients of a fold, then scores their nodules.

Windows for tuning are cut as ``nodulus prepare`` cuts them, from slices of the other folds' patients only. The image
tower stays as it was trained, on the patients of `train`; only for those of `val` and `test` is nothing of them in what
scores them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from benchmarks.lidc_data import SHARED

if TYPE_CHECKING:
    import torch

    from benchmarks.attributes import Key, Scored
    from imaging.models.network import NoduleNet
    from imaging.training.text_tuning import Seen

FOLDS: Final = 5
SEED: Final = 0
#: Windows tried for each nodule, and so many free of nodules for each split.
A_NODULE, FREE = 1, 80
STEPS: Final = 150
SPLITS: Final = ("train", "val", "test")

Ints = npt.NDArray[np.int64]
Strings = npt.NDArray[np.object_]


def fold_of(patients: Strings) -> Ints:
    """Which fold each patient is in, (n,): all nodules of a patient are in the same, folds hold as many patients."""
    names = np.unique(patients.astype(str))
    order = np.random.default_rng(SEED).permutation(len(names))
    place = dict(zip(names[order], np.arange(len(names)) % FOLDS, strict=True))
    return np.array([place[str(patient)] for patient in patients], np.int64)


def cross_validated(net: NoduleNet, patients: Strings, seen: torch.Tensor, which: str) -> dict[Key, Scored]:
    """Scores of the rated nodules, each by a text tower that never met its patient.

    Args:
        net: whose text tower is tuned anew for each fold.
        patients: (n,) of the nodules.
        seen: (n, d) what the image tower sees of each.
        which: list of held-out sentences.
    """
    from benchmarks.attributes import Scored, prompt_scores
    from imaging.training.text_tuning import Seen, TuningRecipe, tune_text

    fold = fold_of(patients)
    where = dict(zip(patients.astype(str), fold.tolist(), strict=True))
    material = dict(_windows_of_folds(net, where))
    collected: dict[Key, list[Scored]] = {}
    places = []
    for number in range(FOLDS):
        others = Seen.joined([part for other, part in material.items() if other != number])
        tuned, _ = tune_text(net, others, TuningRecipe(steps=STEPS, seed=number))
        mine = np.flatnonzero(fold == number)
        places.append(mine)
        for key, scored in prompt_scores(tuned, seen[mine], which).items():
            collected.setdefault(key, []).append(_standard(scored))
    order = np.argsort(np.concatenate(places))
    return {
        key: Scored(
            *(np.concatenate([getattr(s, side) for s in parts])[order] for side in ("pair", "alone", "negation"))
        )
        for key, parts in collected.items()
    }


def _standard(scored: Scored) -> Scored:
    """Scores as they are for a sentence against its negation; alone, folds have offsets of their own, taken off."""
    from benchmarks.attributes import Scored

    assert scored.alone is not None
    assert scored.negation is not None
    return Scored(scored.pair, scored.alone - scored.alone.mean(), scored.negation - scored.negation.mean())


def _windows_of_folds(net: NoduleNet, where: dict[str, int]) -> Iterator[tuple[int, Seen]]:
    """Each fold's windows as the image tower sees them. Patients without a rated nodule are in no fold."""
    from imaging.training.cases import CaseSet
    from imaging.training.text_tuning import see
    from pipelines.preparation.lidc_crops import read_crops
    from pipelines.preparation.windows import free_windows, holding_windows

    config, rng = net.vision.config, np.random.default_rng(SEED)
    cut: dict[int, list[CaseSet]] = {number: [] for number in range(FOLDS)}
    for split in SPLITS:
        crops = read_crops(SHARED / "lidc_crops", split=split)
        of_slice = np.array([where.get(str(patient), -1) for patient in crops.index.patient])
        for number, sets in cut.items():
            part = crops.part(np.flatnonzero(of_slice == number))
            sets.append(holding_windows(part, config, rng, a_nodule=A_NODULE))
            sets.append(free_windows(part, config, rng, number=FREE))
    for number, sets in cut.items():
        yield number, see(net, CaseSet.joined(sets))
