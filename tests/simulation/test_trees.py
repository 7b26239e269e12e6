"""Trees reach all their end points, thicken towards the root and are drawn as thick as they are."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.simulation.shapes import Axes
from imaging.simulation.trees import Tree, draw_tree, grow_tree


def test_a_tree_ends_at_every_target_and_follows_murray():
    rng = np.random.default_rng(0)
    targets = np.add(rng.uniform(-40, 40, size=(60, 3)), (80, 0, 0))
    tree = grow_tree(np.zeros(3), np.array([1.0, 0, 0]), targets, 0.5, rng)
    gaps = np.linalg.norm(tree.ends[:, None] - targets[None], axis=2).min(axis=0)
    assert gaps.max() < 1e-9
    assert tree.radii_mm.min() == pytest.approx(0.5)
    assert tree.radii_mm.max() == pytest.approx(0.5 * 60 ** (1 / 2.7))
    np.testing.assert_allclose(tree.starts[0], 0)
    joined = np.linalg.norm(tree.starts[:, None] - np.concatenate([tree.ends, np.zeros((1, 3))])[None], axis=2).min(
        axis=1
    )
    assert joined.max() < 1e-9


def test_a_straight_vessel_is_drawn_with_its_cross_section():
    line = np.arange(-6, 6.01, 0.25, dtype=np.float32)
    at = Axes(line[None, None, :], line[None, :, None], np.arange(-2, 2.1, 0.5, dtype=np.float32)[:, None, None])
    canvas = np.zeros((9, 49, 49), np.uint8)
    draw_tree(Tree(np.array([[0.0, 0, -9]]), np.array([[0.0, 0, 9]]), np.array([3.0])), canvas, at, 0.25)
    areas = canvas.sum(axis=(1, 2)) / 255 * 0.25**2
    np.testing.assert_allclose(areas, np.pi * 9, rtol=0.02)
