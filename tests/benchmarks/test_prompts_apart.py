"""Prompts between two lesions: held out, and a value is read off the right lesion."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.prompts_apart import PAIRS, make_scan, near, value_at
from imaging.geometry import Grid
from imaging.models.prompts import all_sentences
from imaging.preprocessing.lungs import Lungs
from imaging.simulation.lesions import PlantedNodule


def nodule(x: float) -> PlantedNodule:
    return PlantedNodule((x, 0.0, 0.0), 8.0, "solid", "round", "isolated", "left")


def test_no_prompt_was_trained():
    assert not {prompt for pair in PAIRS for prompt in pair.prompts} & set(all_sentences())


def test_a_value_is_that_of_the_lesion_and_not_of_its_neighbour():
    grid = Grid.from_spacing((3, 21, 41), spacing_mm=(2.0, 2.8, 2.8), origin_mm=(-56.0, -28.0, -2.0))
    logits = np.full(grid.shape, np.nan, np.float32)
    logits[1, 10, 20] = -3.0
    logits[1, 10, 34] = 2.0
    token_map = SimpleNamespace(grid=grid, similarity={"a": logits})
    assert value_at(token_map, "a", nodule(0.0)) == pytest.approx(-3.0)
    assert value_at(token_map, "a", nodule(39.2)) == pytest.approx(2.0)
    assert value_at(token_map, "a", nodule(-40.0)) == -np.inf


def test_only_lungs_near_the_lesions_are_left():
    grid = Grid.from_spacing((30, 60, 60), spacing_mm=(5.0, 5.0, 5.0), origin_mm=(-150.0, -150.0, -75.0))
    kept = near(Lungs(np.ones(grid.shape, np.uint8), grid, 1000.0), [nodule(0.0), nodule(100.0)])
    places = grid.to_mm(np.argwhere(kept.labels))
    from_first = np.abs(places - (0, 0, 0)).max(axis=1)
    from_second = np.abs(places - (100, 0, 0)).max(axis=1)
    assert np.minimum(from_first, from_second).max() <= 37.5
    assert kept.volume_ml == pytest.approx(len(places) * 0.125)


@pytest.mark.slow
def test_the_first_lesion_is_the_one_the_first_prompt_names():
    for pair in (PAIRS[0], PAIRS[3]):
        _, (first, second) = make_scan(pair, 0)
        assert (first.kind, second.kind) == (pair.first.kind, pair.second.kind)
        assert first.diameter_mm == pytest.approx(pair.first.diameter_mm, abs=1.0)
