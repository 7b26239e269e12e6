"""Where in the phantom's lungs each wished-for nodule goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from imaging.simulation.body import Body
from imaging.simulation.lattice import points_at
from imaging.simulation.lesions import NoduleWish
from imaging.simulation.shapes import Axes
from imaging.simulation.trees import Tree

Points = npt.NDArray[np.float64]

#: Free lung between two nodules, and between a free nodule and pleura or larger vessels, in mm.
APART_MM = 12.0
FREE_MM = 2.0
#: Closer to the middle than this the pleura lies on the mediastinum, not on the chest wall, in mm.
MEDIAL_MM = 45.0
#: Vessels a nodule may sit on, by radius in mm.
VESSEL_MM = (0.9, 2.2)


def find_places(
    wishes: Sequence[NoduleWish],
    body: Body,
    lattice: Axes,
    trees: Sequence[Tree],
    limit_mm: float,
    scale: float,
    rng: np.random.Generator,
) -> list[Points]:
    """A centre (x, y, z) in mm for each wish, in its order; wishes are placed from the largest to the smallest.

    Raises:
        ValueError: if a nodule does not fit, because the lungs are too small or too full.
    """
    places: dict[int, Points] = {}
    for number in sorted(range(len(wishes)), key=lambda n: -wishes[n].diameter_mm):
        wish = wishes[number]
        others = [(places[n], wishes[n].diameter_mm / 2) for n in places]
        for candidate in _candidates(wish, body, lattice, trees, scale, rng):
            far = all(np.linalg.norm(candidate - p) > r + wish.diameter_mm / 2 + APART_MM * scale for p, r in others)
            if far and abs(candidate[2]) < limit_mm - wish.diameter_mm:
                places[number] = candidate
                break
        else:
            raise ValueError(
                f"no room is left in the lungs for a nodule of {wish.diameter_mm:.1f} mm ({wish.attachment})"
            )
    return [places[n] for n in range(len(wishes))]


def _candidates(
    wish: NoduleWish, body: Body, lattice: Axes, trees: Sequence[Tree], scale: float, rng: np.random.Generator
) -> Points:
    """Possible centres in random order."""
    radius = wish.diameter_mm / 2.0
    depth = np.maximum(body.right, body.left) * np.float32(scale)
    if wish.attachment == "vessel":
        points = _on_vessels(trees, radius, rng)
        deep = _nearest(depth, lattice, points) > radius + FREE_MM
        return points[deep]
    if wish.attachment == "pleura":
        lateral = np.abs(lattice.x) > MEDIAL_MM * scale
        costal = (np.abs(body.wall * np.float32(scale) - depth) < 2.5) & lateral
        fits = costal & (np.abs(depth - 0.75 * radius) < max(1.2, 0.2 * radius))
    else:
        fits = depth > radius + FREE_MM
    chosen = np.argwhere(fits)
    rng.shuffle(chosen)
    points = points_at(lattice, tuple(chosen[:400].T)).astype(np.float64)
    return points if wish.attachment == "pleura" else _free_of_vessels(points, trees, radius)


def _on_vessels(trees: Sequence[Tree], radius: float, rng: np.random.Generator) -> Points:
    starts, ends, radii = (np.concatenate([getattr(t, name) for t in trees]) for name in ("starts", "ends", "radii_mm"))
    chosen = np.flatnonzero((radii > VESSEL_MM[0]) & (radii < VESSEL_MM[1]))
    rng.shuffle(chosen)
    aside = rng.normal(size=(len(chosen), 3))
    aside *= 0.6 * radius / np.linalg.norm(aside, axis=1, keepdims=True)
    points: Points = (starts[chosen] + ends[chosen]) / 2 + aside
    return points


def _free_of_vessels(points: Points, trees: Sequence[Tree], radius: float) -> Points:
    """Those points first that have no vessel of note within the nodule's reach."""
    thick = [(t.starts + t.ends)[t.radii_mm > 1.0] / 2 for t in trees]
    from scipy.spatial import cKDTree

    distance, _ = cKDTree(np.concatenate([*thick, np.full((1, 3), 1e6)])).query(points)
    ordered: Points = points[np.argsort(distance < radius + FREE_MM, kind="stable")]
    return ordered


def _nearest(field: npt.NDArray[np.float32], lattice: Axes, points: Points) -> npt.NDArray[np.float32]:
    """Values of a lattice field at the knots nearest to points."""
    index = [
        np.clip(np.rint((points[:, axis] - knots[0]) / (knots[1] - knots[0])).astype(int), 0, len(knots) - 1)
        for axis, knots in enumerate((lattice.x.ravel(), lattice.y.ravel(), lattice.z.ravel()))
    ]
    values: npt.NDArray[np.float32] = field[index[2], index[1], index[0]]
    return values
