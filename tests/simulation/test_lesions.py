"""Lesions: volume and centre by counting points, and how each kind is painted."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.simulation.lesions import (
    KINDS,
    OUTLINES,
    NoduleWish,
    lesion_depth,
    make_lesion,
    paint_lesion,
    random_wishes,
)
from imaging.simulation.shapes import Axes


def axes(reach: float, step: float) -> Axes:
    line = np.arange(-reach, reach + step / 2, step, dtype=np.float32)
    return Axes(line[None, None, :], line[None, :, None], line[:, None, None])


@pytest.mark.parametrize("outline", ["round", "lobulated"])
@pytest.mark.parametrize("seed", range(3))
def test_volume_and_centre_are_those_of_the_sphere(outline, seed):
    lesion = make_lesion(NoduleWish(10.0, "solid", outline), np.random.default_rng(seed))
    at = axes(lesion.reach_mm, 0.3)
    inside = lesion_depth(lesion, at) > 0
    assert (6 * inside.sum() * 0.3**3 / np.pi) ** (1 / 3) == pytest.approx(10.0, rel=0.01)
    centre = [float((np.broadcast_to(a, inside.shape)[inside]).mean()) for a in at]
    np.testing.assert_allclose(centre, 0, atol=0.25)
    assert not inside[[0, -1]].any()


def test_spicules_reach_beyond_the_body_but_add_little():
    lesion = make_lesion(NoduleWish(14.0, "solid", "spiculated"), np.random.default_rng(0))
    at = axes(lesion.reach_mm, 0.4)
    inside = lesion_depth(lesion, at) > 0
    away = np.sqrt(at.x**2 + at.y**2 + at.z**2)
    assert away[inside].max() > 9.0
    assert (6 * inside.sum() * 0.4**3 / np.pi) ** (1 / 3) == pytest.approx(14.0, rel=0.06)


@pytest.mark.parametrize("kind", KINDS)
def test_painting_follows_the_kind_and_keeps_vessels_in_ground_glass(kind):
    rng = np.random.default_rng(1)
    lesion = make_lesion(NoduleWish(16.0, kind), rng)
    line = np.arange(-12, 12.1, 0.5, dtype=np.float32)
    plane = np.full((len(line), len(line)), -870.0, np.float32)
    plane[:, 30] = 40.0
    paint_lesion(lesion, plane, Axes(line[None, None, :], line[None, :, None], np.zeros((1, 1, 1), np.float32)), 0.5)
    middle, edge, vessel = plane[24, 24], plane[24, 36], plane[24, 30]
    expected = {"solid": 35, "part-solid": 25, "ground-glass": -600, "calcified": 420}[kind]
    assert middle == pytest.approx(expected, abs=1)
    assert edge == pytest.approx(-580 if kind == "part-solid" else expected, abs=1)
    assert vessel >= 20
    assert plane[0, 0] == -870


def test_a_random_mix_holds_every_kind_and_outline():
    wishes = random_wishes(200, np.random.default_rng(0))
    assert {w.kind for w in wishes} == set(KINDS)
    assert {w.outline for w in wishes} == set(OUTLINES)
    assert min(w.diameter_mm for w in wishes) >= 5
