"""The refined point of a window: which lesion it speaks of, and where that lies in the window's slice."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import model_scorer
from benchmarks.model_scorer import NEAR_MM, ModelScorer, in_slice
from benchmarks.scorers import Window
from benchmarks.train_windows import random_window
from imaging.geometry import Grid
from imaging.localization.patch import Patch
from imaging.localization.places import Place
from imaging.localization.segmentation import Lesion

CENTRE = (-40.0, 25.0, -110.0)
LEAN = 0.5  # mm along x for each mm along z


def leaning(radius_mm: float = 6.0, half_mm: float = 8.0) -> Place:
    """A cylinder that leans: its section's middle at height z lies `LEAN` z beside the centre."""
    spacing = 0.5
    side = int(2 * 16 / spacing) + 1
    origin = tuple(np.subtract(CENTRE, 16.0))
    grid = Grid.from_spacing((side,) * 3, spacing_mm=(spacing,) * 3, origin_mm=origin)
    index = np.stack(np.meshgrid(*(np.arange(side),) * 3, indexing="ij"), axis=-1)
    x, y, z = np.moveaxis(grid.to_mm(index) - np.asarray(CENTRE), -1, 0)
    mask = (np.hypot(x - LEAN * z, y) <= radius_mm) & (np.abs(z) <= half_mm)
    patch = Patch(grid, np.zeros(mask.shape, np.float32), np.ones_like(mask), 1.0)
    middle = (side // 2,) * 3
    lesion = Lesion(patch, mask, np.zeros_like(mask), radius_mm, middle, 0.0, -850.0)
    return Place(2.0, CENTRE, CENTRE, lesion)


@pytest.mark.parametrize("above_mm", [-6.0, -2.0, 0.0, 4.0])
def test_a_large_lesion_lies_where_its_section_is(above_mm):
    place = leaning()
    assert not place.is_small
    z_mm = CENTRE[2] + above_mm
    section = (CENTRE[0] + LEAN * above_mm, CENTRE[1])
    place = replace(place, seed_mm=(*section, z_mm))
    assert in_slice(place, (0.0, 0.0, z_mm)) == pytest.approx((*section, z_mm), abs=0.05)
    beside = replace(place, seed_mm=(section[0] + 2.0, section[1] - 3.0, z_mm))
    midway = (section[0] + 1.0, section[1] - 1.5, z_mm)
    assert in_slice(beside, (0.0, 0.0, z_mm)) == pytest.approx(midway, abs=0.05)


def test_in_a_slice_beyond_the_outline_its_last_section_counts():
    point = in_slice(leaning(), (0.0, 0.0, CENTRE[2] + 30.0))
    assert point == pytest.approx((CENTRE[0] + LEAN * 8.0 / 2, CENTRE[1], CENTRE[2] + 30.0), abs=0.05)


@pytest.mark.parametrize("place", [Place(1.0, CENTRE, CENTRE), leaning(radius_mm=2.0)])
def test_a_small_lesion_lies_where_the_evidence_of_the_window_is_unless_that_is_another_lesion_s(place):
    z_mm = CENTRE[2] + 1.0
    near = (CENTRE[0] + 2.0, CENTRE[1] + 1.0, z_mm)
    assert in_slice(place, near) == near
    far = (CENTRE[0] + NEAR_MM + 0.1, CENTRE[1], z_mm)
    assert in_slice(place, far) == (*CENTRE[:2], z_mm)


@pytest.mark.parametrize(
    ("below", "logits", "chosen"),
    [
        (0.9, (0.0, 0.0), 0),
        (0.9, (0.0, 4.0), 0),
        (0.9, (0.0, 5.0), 1),
        (0.9, (-9.0, 0.0), 1),
        (1.1, (-9.0, 9.0), 0),
    ],
)
def test_evidence_and_the_second_look_choose_the_lesion_together(monkeypatch, below, logits, chosen):
    """Evidence less by a factor of e is worth five of a logit; a lesion with still less does not compete."""
    places = [Place(0.0, (float(n), 0.0, 0.0), (float(n), 0.0, 0.0)) for n in range(2)]
    evidence = {places[0].centre_mm: 0.0, places[1].centre_mm: -below}
    monkeypatch.setattr(model_scorer, "find_peaks", lambda *_, **__: [])
    monkeypatch.setattr(model_scorer, "outline_peaks", lambda *_, **__: places)
    monkeypatch.setattr(model_scorer, "evidence_inside", lambda place, _: evidence[place.centre_mm])
    looks = dict(zip((p.centre_mm for p in places), logits, strict=True))
    monkeypatch.setattr(
        model_scorer, "look_again", lambda some, *_: [replace(place, logit=looks[place.centre_mm]) for place in some]
    )
    scorer = ModelScorer(SimpleNamespace(name="none", sha256=""))
    found = scorer._lesion(SimpleNamespace(volume=None, lungs=None), None)
    assert found.centre_mm == places[chosen].centre_mm


def test_a_random_window_holds_what_two_readers_agree_on_and_differs_from_draw_to_draw():
    agreed = np.zeros((5, 128, 128), dtype=bool)
    agreed[1:4, 60:70, 50:66] = True
    grid = Grid.from_spacing(agreed.shape, spacing_mm=(2.0, 0.7, 0.7), origin_mm=(-30.0, 12.0, -200.0))
    stack = SimpleNamespace(agreed=agreed, volume=SimpleNamespace(grid=grid))
    windows = [random_window(stack, np.random.default_rng(seed)) for seed in range(40)]
    assert all(isinstance(window, Window) and window.slice_index in (1, 2, 3) for window in windows)
    for window in windows:
        at, row, column = grid.to_index(window.centre_mm)
        assert round(at) == window.slice_index
        points = np.argwhere(agreed[window.slice_index]) - (row, column)
        assert (np.abs(points) <= 24.0).all(axis=1).mean() >= 0.95
        assert 23.4 <= row <= 103.6
        assert 23.4 <= column <= 103.6
    places = np.array([window.centre_mm for window in windows])
    assert np.ptp(places[:, :2], axis=0).min() > 10.0
    assert random_window(SimpleNamespace(agreed=agreed & False, volume=stack.volume), np.random.default_rng(0)) is None
