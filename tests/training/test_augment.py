"""Changes that leave a window's label true."""

from __future__ import annotations

import pytest
import torch

from imaging.models.intensity import MISSING
from imaging.training.augment import augment


@pytest.fixture
def windows() -> torch.Tensor:
    x = torch.rand(64, 5, 24, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x[::3, 0] = MISSING
    x[::6, 1] = MISSING
    return x


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def is_missing(x: torch.Tensor) -> torch.Tensor:
    return (x <= MISSING + 1e-3).flatten(2).all(dim=2)


def test_shape_range_and_input_stay(windows):
    before = windows.clone()
    y = augment(windows, seeded(1))
    assert y.shape == windows.shape
    assert torch.equal(windows, before)
    there = ~is_missing(y)
    assert y[there].abs().max() <= 1.0
    assert torch.isfinite(y).all()


def test_the_generator_decides(windows):
    assert torch.equal(augment(windows, seeded(1)), augment(windows, seeded(1)))
    assert not torch.equal(augment(windows, seeded(1)), augment(windows, seeded(2)))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    augment(windows, seeded(1))
    assert torch.equal(torch.get_rng_state(), state), "global chance is not touched"


def test_missing_slices_stay_missing_and_the_middle_stays(windows):
    y = augment(windows, seeded(4))
    before, after = is_missing(windows), is_missing(y)
    either = (before <= after).all(dim=1) | (before.flip(1) <= after).all(dim=1)
    assert either.all()
    assert not after[:, 2].any()
    assert (after.sum(dim=1) > before.sum(dim=1)).any(), "some slices are left out"
    for row in after.tolist():
        first, last = row.index(False), 4 - row[::-1].index(False)
        assert not any(row[first : last + 1]), "from the outside inwards"


def test_nothing_is_shifted_or_cut():
    """One bright spot lands at one of the eight turns and mirrors of its place."""
    x = torch.full((200, 3, 24, 24), -0.8)
    x[:, :, 3:6, 8:11] = 0.6
    y = augment(x, seeded(5))[:, 1]
    rows, columns = (
        y.flatten(1).unflatten(1, (24, 24)).amax(2).topk(3).indices.float().mean(1),
        y.amax(1).topk(3).indices.float().mean(1),
    )
    places = {(round(float(r)), round(float(c))) for r, c in zip(rows, columns, strict=True)}
    turns = {(a, b) for p, q in ((4, 9), (9, 4)) for a in (p, 23 - p) for b in (q, 23 - q)}
    assert turns <= places
    assert sum(p in turns for p in places) == 8


def test_grey_scale_can_be_left_alone(windows):
    """Without a change of grey scale the mean of a window moves only by noise."""
    calm = augment(windows, seeded(6), grey=torch.zeros(64))
    wild = augment(windows, seeded(6), grey=torch.ones(64))
    both = ~(is_missing(calm) | is_missing(wild))[:, 2]
    mean = windows[both, 2].mean(dim=(1, 2))
    shift = [(y[both, 2].mean(dim=(1, 2)) - mean).abs().mean() for y in (calm, wild)]
    assert shift[0] < 0.5 * shift[1]
