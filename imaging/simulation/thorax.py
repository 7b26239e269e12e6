"""A phantom thorax that looks like a CT: body, heart, vessels branching to the pleura, bronchi, nodules, noise.

Shapes come from `body`, vessels from `vessels`, nodules from `lesions`; `drawing` puts them on planes, `scanner` adds
blur and noise. Every number of the result follows from the arguments and the generator, so the same seed gives the same
bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.simulation.body import Build, make_body
from imaging.simulation.drawing import Anatomy, Drawing
from imaging.simulation.lattice import Scale, lattice_over
from imaging.simulation.lesions import NoduleWish, PlantedNodule, make_lesion, random_wishes
from imaging.simulation.planting import find_places
from imaging.simulation.scanner import Scanner
from imaging.simulation.shapes import Axes
from imaging.simulation.vessels import grow_branches

#: Size of a patient in mm (head to feet as scanned, side to side); smaller fields of view hold a smaller patient.
FULL_SIZE_MM = (296.0, 345.0)


@dataclass(frozen=True, eq=False)
class Thorax:
    """A phantom CT and everything that is true about it.

    Args:
        volume: the CT in HU.
        nodules: what was planted, and where.
        lungs: uint8 on the CT's grid: 0 outside, 1 the right lung, 2 the left, with the vessels and nodules inside.
    """

    volume: Volume
    nodules: list[PlantedNodule]
    lungs: npt.NDArray[np.uint8]


class ThoraxOptions(TypedDict, total=False):
    """The arguments of `simulate_thorax` that have a default."""

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    nodules: int | Sequence[NoduleWish]
    scanner: Scanner | None
    blood_hu: float | None
    centre_mm: tuple[float, float, float]
    on_progress: Callable[[int, int], None] | None


def make_thorax(*, rng: np.random.Generator, **options: Unpack[ThoraxOptions]) -> tuple[Volume, list[PlantedNodule]]:
    """A phantom CT of the chest and its planted nodules; see `simulate_thorax` for the arguments.

    >>> rng = np.random.default_rng(1)
    >>> volume, planted = make_thorax(rng=rng, shape=(24, 48, 48), spacing_mm=(12, 7, 7), nodules=1)
    >>> volume.array.shape, len(planted)
    ((24, 48, 48), 1)
    """
    thorax = simulate_thorax(rng=rng, **options)
    return thorax.volume, thorax.nodules


def simulate_thorax(
    *,
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (120, 512, 512),
    spacing_mm: tuple[float, float, float] = (2.5, 0.7, 0.7),
    nodules: int | Sequence[NoduleWish] = 5,
    scanner: Scanner | None = None,
    blood_hu: float | None = None,
    centre_mm: tuple[float, float, float] = (4.0, -18.0, -160.0),
    on_progress: Callable[[int, int], None] | None = None,
) -> Thorax:
    """A phantom CT of the chest with its lungs and nodules known.

    Args:
        rng: decides everything that is not given.
        shape, spacing_mm: of the axial grid (slice, row, column); the patient shrinks to fit a small one.
        nodules: how many of a random mix, or what to plant.
        scanner: blur and noise.
        blood_hu: attenuation of blood, higher with contrast; random by default.
        centre_mm: LPS mm of the grid's centre.
        on_progress: called as (slices done, slices).
    """
    extent_mm = np.asarray(shape) * np.asarray(spacing_mm)
    wishes, anatomy = _make_anatomy(extent_mm, min(spacing_mm[1:]), nodules, blood_hu, rng)
    array, lungs = Drawing(anatomy, shape, spacing_mm).scan(scanner or Scanner(), rng, on_progress)
    centre = np.asarray(centre_mm, dtype=float)
    start = centre - (np.asarray(shape[::-1]) - 1) / 2 * np.asarray(spacing_mm[::-1])
    grid = Grid.from_spacing(
        shape, spacing_mm=spacing_mm, origin_mm=(float(start[0]), float(start[1]), float(start[2]))
    )
    planted = [_truth(wish, place, centre) for wish, (_, place) in zip(wishes, anatomy.lesions, strict=True)]
    return Thorax(Volume(array, grid), planted, lungs)


def _make_anatomy(
    extent_mm: npt.NDArray[np.float64],
    pixel_mm: float,
    nodules: int | Sequence[NoduleWish],
    blood_hu: float | None,
    rng: np.random.Generator,
) -> tuple[list[NoduleWish], Anatomy]:
    """A patient as large as the CT has room for, and what was planted."""
    scale = Scale(
        min(1.0, extent_mm[0] / FULL_SIZE_MM[0]),
        min(1.0, extent_mm[2] / FULL_SIZE_MM[1], extent_mm[1] / (FULL_SIZE_MM[1] * 0.8)),
    )
    lattice = lattice_over(extent_mm)
    own = Axes(lattice.x / scale.across, lattice.y / scale.across, lattice.z / scale.along)
    body = make_body(own, Build.random(rng, blood_hu), rng)
    vessels, bronchi = grow_branches(body, lattice, scale, pixel_mm, rng)
    wishes = random_wishes(nodules, rng) if isinstance(nodules, int) else list(nodules)
    lesions = [make_lesion(wish, rng) for wish in wishes]
    places = find_places(wishes, body, lattice, vessels, float(extent_mm[0] / 2), scale.across, rng)
    return wishes, Anatomy(lattice, scale, body, vessels, bronchi, list(zip(lesions, places, strict=True)))


def _truth(wish: NoduleWish, place: npt.NDArray[np.float64], centre: npt.NDArray[np.float64]) -> PlantedNodule:
    x, y, z = (float(v) for v in place + centre)
    side: Literal["right", "left"] = "right" if place[0] < 2.0 else "left"
    return PlantedNodule((x, y, z), wish.diameter_mm, wish.kind, wish.outline, wish.attachment, side)
