"""The discriminator of simulated lesions: it finds what is there to find, and nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.discriminator import (
    SIDE,
    Squares,
    _around,
    between,
    half_with_artefact,
    planting,
    told_apart,
    with_artefact,
)


def noise(seed: int, count: int) -> Squares:
    chance = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, SIDE, SIDE, generator=chance) * 0.02 - 1.5
    return Squares(images, np.array([f"{seed} {n // 2}" for n in range(count)], dtype=object))


def test_noise_is_not_told_from_noise_and_an_artefact_is():
    same = told_apart(between(noise(1, 60), noise(2, 60)), (noise(3, 60), noise(4, 60)), steps=12, seed=0)
    assert same.low < 0.5 < same.high
    rng = np.random.default_rng(0)
    found = told_apart(planting(noise(1, 100), rng), half_with_artefact(noise(3, 80), rng), steps=50, seed=0)
    assert found.value > 0.95


def test_the_artefact_is_in_one_half_of_the_units_and_in_no_other():
    squares = noise(5, 40)
    marked, plain = half_with_artefact(squares, np.random.default_rng(1))
    assert set(marked.units).isdisjoint(plain.units)
    assert len(marked.images) == len(plain.images) == 20
    changed = with_artefact(squares.images, np.random.default_rng(1)) - squares.images
    assert changed.abs().gt(0).sum().item() == 40 * 3 * 9
    assert changed.max().item() == pytest.approx(400 / 500, abs=1e-5)


def test_a_square_lies_around_the_lesion_and_needs_its_three_slices():
    hu = torch.full((3, 5, 48, 48), -850.0)
    inside = torch.zeros(3, 48, 48, dtype=torch.bool)
    inside[:2, 20:23, 25:28], inside[2, 0:3, 0:3] = True, True
    hu[:, 2][inside] = 40.0
    present = torch.ones(3, 5, dtype=torch.bool)
    present[1, 3] = False
    squares, kept = _around(hu, present, inside, np.random.default_rng(0))
    assert kept.tolist() == [0]
    assert squares.shape == (1, 3, SIDE, SIDE)
    at = torch.nonzero(squares[0, 1] > 0).float().mean(dim=0)
    assert (at - SIDE / 2).abs().max() <= 2.5
