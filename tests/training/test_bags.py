"""Whole scans as bags: windows that cover the lungs, and labels that speak of the bag alone."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.geometry import Grid, Volume
from imaging.models.intensity import HU_HIGH, HU_LOW
from imaging.preprocessing.lungs import Lungs
from imaging.training.bags import FEWEST, Bag, cut_bag, joined_cases, label_windows, still_taken

GRID = Grid.from_spacing((24, 60, 70), spacing_mm=(4.0, 2.0, 2.0), origin_mm=(-70.0, -60.0, -48.0))


def scan(hu: np.ndarray) -> tuple[Volume, Lungs]:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4:20, 15:45, 15:55] = 1
    return Volume(hu.astype(np.float32), GRID), Lungs(labels, GRID, 1000.0)


def test_every_place_in_the_lungs_is_in_some_window(vision):
    """Each lung voxel in turn is the only bright one: some window of the bag shows it."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        hu = np.full(GRID.shape, -850.0)
        place = tuple(rng.integers((4, 15, 15), (20, 45, 55)))
        hu[place] = 400.0
        windows = cut_bag(*scan(hu), vision)
        assert windows[:, vision.slices // 2].max() > 120  # 1,250 HU above the rest, half of it lost between pixels


def test_windows_hold_the_hu_of_the_scan_and_missing_slices(vision):
    hu = np.broadcast_to((-900 + 20 * np.arange(24))[:, None, None], GRID.shape)
    windows = cut_bag(*scan(hu), vision)
    assert windows.dtype == np.uint8
    assert windows.shape[1:] == (3, 24, 24)
    back = HU_LOW + (windows.astype(float) - 1) * (HU_HIGH - HU_LOW) / 254
    assert np.abs(np.ptp(back[:, 1], axis=(1, 2))).max() == 0, "a plane of the phantom has one HU"
    step = back[:, 2, 0, 0] - back[:, 1, 0, 0]
    there = windows[:, 2, 0, 0] > 0
    assert np.abs(step[there] - 25.0).max() <= 6.0  # 5 mm at 5 HU a mm, kept to a step of 5.9 HU
    everywhere = Lungs(np.ones(GRID.shape, np.uint8), GRID, 1000.0)
    ends = cut_bag(Volume(hu.astype(np.float32), GRID), everywhere, vision)
    assert (ends.max(axis=(2, 3)) == 0).any()
    assert not (ends[:, 1].max(axis=(1, 2)) == 0).any()


def bag_of(n: int, label: float) -> Bag:
    labels = np.full(10, np.nan, np.float32)
    labels[0], labels[1] = label, 1.0
    return Bag(np.zeros((n, 3, 24, 24), np.uint8), labels)


def test_a_bag_without_a_nodule_is_negative_throughout():
    labels = label_windows(bag_of(7, 0.0), None, 3)
    assert (labels[:, 0] == 0).all()
    assert np.isnan(labels[:, 1:]).all()


def test_of_a_bag_with_one_the_most_suspicious_are_taken():
    logits = np.random.default_rng(0).permutation(40).astype(np.float32)
    taken = [label_windows(bag_of(40, 1.0), logits, number) for number in range(6)]
    for labels in taken:
        chosen = labels[:, 0] == 1.0
        assert logits[chosen].min() > logits[~chosen].max(initial=-1)
        assert np.isnan(labels[~chosen]).all()
        assert (labels[chosen, 1] == 1.0).all()
    assert [int((labels[:, 0] == 1).sum()) for labels in taken] == [40, 20, 10, 5, FEWEST, FEWEST]
    assert still_taken(2, 0) == 2


def test_the_order_of_windows_says_nothing():
    """The place of a window in its bag carries no information: mixed bags get mixed labels."""
    rng = np.random.default_rng(1)
    logits, order = rng.permutation(30).astype(np.float32), rng.permutation(30)
    bag = bag_of(30, 1.0)
    mixed = label_windows(bag, logits[order], 1)
    assert np.array_equal(mixed, label_windows(bag, logits, 1)[order], equal_nan=True)


def test_windows_and_bags_become_one_set(some_cases):
    bags = [bag_of(5, 1.0), bag_of(3, 0.0)]
    joined = joined_cases([some_cases(4, seed=0)], bags)
    assert len(joined) == 12
    assert joined.collections == ("made", "scans")
    assert joined.labels[:4, 0].tolist() == [0, 1, 0, 1]
    assert np.isnan(joined.labels[4:9, 0]).all()
    assert (joined.labels[9:, 0] == 0).all()


@pytest.mark.parametrize("size", [1, 3])
def test_small_bags_are_taken_whole(size):
    labels = label_windows(bag_of(size, 1.0), np.zeros(size, np.float32), 9)
    assert (labels[:, 0] == 1.0).all()
