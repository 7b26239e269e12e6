"""Which cases a batch is made of, and where every step's chance comes from.

All chance of a step follows from the seed and the step's number alone. A resumed run therefore draws what an unbroken
one draws, and so does a run over several processes.
"""

from __future__ import annotations

import numpy as np
import torch

from imaging.training.cases import CaseSet
from imaging.training.recipe import Recipe

#: What chance is drawn for, so that no two purposes share a stream.
DRAW, CHANGE, DROP = range(3)


def seed_of(seed: int, step: int, purpose: int, part: int = 0) -> int:
    """The seed of one purpose in one step, and of one part of its batch."""
    state = np.random.SeedSequence((seed, step, purpose, part)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


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
