"""Arteries, veins and bronchi of both lungs, grown into a body."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from imaging.simulation.body import Body
from imaging.simulation.lattice import LATTICE_MM, Scale, points_at
from imaging.simulation.shapes import Axes, Field
from imaging.simulation.trees import Tree, grow_tree


def grow_branches(
    body: Body, lattice: Axes, scale: Scale, pixel_mm: float, rng: np.random.Generator
) -> tuple[list[Tree], list[Tree]]:
    """Arteries and veins, and bronchi, of both lungs in scanned mm."""
    stretch = np.array([scale.across, scale.across, scale.along])
    detail = min(1.0, 0.75 / pixel_mm)
    vessels, bronchi = [], []
    for depth, root, side in ((body.right, body.roots[0], -1.0), (body.left, body.roots[1], 1.0)):
        for shift, share in ((np.array([0.0, 0.0, 0.0]), 1.0), (np.array([0.0, -12.0, -12.0]), 0.8)):
            ends = _points_inside(depth, lattice, max(20, int(1100 * share * detail)), rng)
            vessels.append(
                grow_tree((root + shift) * stretch, np.array([side, 0.1, 0.0]), ends, 0.43 * scale.across, rng)
            )
        ends = _points_inside(depth, lattice, 22, rng, least_mm=18.0 * scale.across)
        bronchi.append(
            grow_tree(
                (root + np.array([0, 3, 2])) * stretch, np.array([side, 0.1, -0.3]), ends, 1.15 * scale.across, rng
            )
        )
    main = (line * stretch for line in body.trachea)
    for line, radius in zip(main, (9.5, 7.0, 6.5), strict=True):
        bronchi.append(Tree(line[:-1], line[1:], np.full(len(line) - 1, radius * scale.across + 1.2)))
    return vessels, bronchi


def _points_inside(
    depth: Field, lattice: Axes, count: int, rng: np.random.Generator, *, least_mm: float = 2.0
) -> npt.NDArray[np.float64]:
    """Random points in a lung, at least so deep, in scanned mm."""
    inside = np.flatnonzero(depth > least_mm)
    if inside.size == 0:
        inside = np.flatnonzero(depth >= depth.max() - 1.0)
    chosen = np.unravel_index(rng.choice(inside, size=count), depth.shape)
    jitter = rng.uniform(-0.5, 0.5, size=(count, 3)) * LATTICE_MM
    spread: npt.NDArray[np.float64] = points_at(lattice, chosen) + jitter
    return spread


def lumen_of(tree: Tree, scale: float) -> Tree:
    """The air inside bronchi: a wall of a sixth of the radius, at least 0.8 mm; too thin ones have none."""
    inner = np.minimum(tree.radii_mm * 0.83, tree.radii_mm - 0.8 * scale)
    keep = inner > 0.7 * scale
    return Tree(tree.starts[keep], tree.ends[keep], inner[keep])
