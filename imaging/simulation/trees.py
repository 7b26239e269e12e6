"""Branching trees that fill a lung: arteries, veins and bronchi, thick at the root and thin at the pleura.

A tree grows towards a cloud of end points: each branch runs half way to the middle of its cloud, then the cloud is cut
in two. Radii follow from the number of end points behind a branch (Murray's law, with an exponent as in the lung).

Source: Kitaoka et al., J Appl Physiol 1999, doi:10.1152/jappl.1999.87.6.2207 (dividing the space to be supplied).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from imaging.simulation.shapes import Axes, box_around, segment_distance

Points = npt.NDArray[np.float64]

#: r ~ n ** (1 / MURRAY) for n end points behind a branch.
MURRAY = 2.7


@dataclass(frozen=True, eq=False)
class Tree:
    """Short straight pieces of branches.

    Args:
        starts, ends: (n, 3) in (x, y, z) mm.
        radii_mm: (n,), of the vessel's outside.
    """

    starts: Points
    ends: Points
    radii_mm: npt.NDArray[np.float64]


def grow_tree(
    root: Points, direction: Points, targets: Points, leaf_radius_mm: float, rng: np.random.Generator
) -> Tree:
    """A tree from `root`, leaving in `direction`, to every one of the (n, 3) `targets`."""
    pieces: list[tuple[Points, Points, float]] = []
    waiting = [(np.asarray(root, float), np.asarray(direction, float), targets)]
    while waiting:
        start, heading, cloud = waiting.pop()
        last = len(cloud) == 1
        share = 1.0 if last else rng.uniform(0.35, 0.5)
        end = start + share * (cloud.mean(axis=0) - start)
        length = float(np.linalg.norm(end - start))
        if not last:
            end = end + rng.normal(scale=0.04 * length, size=3)
        radius = leaf_radius_mm * len(cloud) ** (1.0 / MURRAY)
        curve = _bent(start, heading, end, pieces=1 if length < 4.0 else 3)
        pieces += [(a, b, radius) for a, b in pairwise(curve)]
        if not last:
            onward = curve[-1] - curve[-2]
            waiting += [(end, onward, half) for half in _halves(cloud, end)]
    starts, ends, radii = zip(*pieces, strict=True)
    return Tree(np.array(starts), np.array(ends), np.array(radii))


def _bent(start: Points, heading: Points, end: Points, *, pieces: int) -> Points:
    """A curve from start to end that leaves nearly the way its parent came."""
    length = np.linalg.norm(end - start)
    control = start + heading / max(float(np.linalg.norm(heading)), 1e-6) * length * 0.25
    t = np.linspace(0.0, 1.0, pieces + 1)[:, None]
    curve: Points = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    return curve


def _halves(cloud: Points, end: Points) -> list[Points]:
    """The cloud cut in two across its longest direction, through its middle."""
    centred = cloud - cloud.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    side = centred @ axes[0]
    order = np.argsort(side, kind="stable")
    middle = len(order) // 2
    return [cloud[order[:middle]], cloud[order[middle:]]]


def draw_tree(tree: Tree, canvas: npt.NDArray[np.uint8], axes: Axes, pixel_mm: float, *, least_mm: float = 0.0) -> None:
    """Add the share of each voxel (0 to 255) that the tree fills; what is already there stays where it is more.

    Args:
        tree: in the same mm as `axes`.
        canvas: uint8 (slice, row, column), changed in place.
        axes: open coordinates of the canvas.
        pixel_mm: width of the soft edge.
        least_mm: thinner branches are left out.
    """
    for start, end, radius in zip(tree.starts, tree.ends, tree.radii_mm, strict=True):
        if radius < least_mm or (found := box_around(axes, start, end, radius + pixel_mm)) is None:
            continue
        part, box = found[0], canvas[found[1]]
        distance, _ = segment_distance(part, start, end)
        share = np.clip((radius - distance) / pixel_mm + 0.5, 0.0, 1.0) * min(1.0, 2.0 * radius / pixel_mm)
        np.maximum(box, (share * 255.0).astype(np.uint8), out=box)
