"""Nodules whose place, size and kind are known: solid to ground-glass, round to spiculated, free or on the pleura."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from imaging.simulation.shapes import Axes, Field, segment_distance

Kind = Literal["solid", "part-solid", "ground-glass", "calcified"]
Outline = Literal["round", "lobulated", "spiculated"]
Attachment = Literal["isolated", "vessel", "pleura"]

KINDS: tuple[Kind, ...] = ("solid", "part-solid", "ground-glass", "calcified")
OUTLINES: tuple[Outline, ...] = ("round", "lobulated", "spiculated")
ATTACHMENTS: tuple[Attachment, ...] = ("isolated", "vessel", "pleura")

#: Mean attenuation of each kind's body; a part-solid nodule has a solid core in a ground-glass body.
BODY_HU = {"solid": 35.0, "part-solid": -580.0, "ground-glass": -600.0, "calcified": 420.0}
CORE_HU = 25.0


@dataclass(frozen=True)
class NoduleWish:
    """What kind of nodule to plant; where is left to the phantom.

    Args:
        diameter_mm: of the sphere of the same volume (spicules not counted), 3 to 40.
        kind, outline, attachment: see `KINDS`, `OUTLINES`, `ATTACHMENTS`.
    """

    diameter_mm: float
    kind: Kind = "solid"
    outline: Outline = "round"
    attachment: Attachment = "isolated"


@dataclass(frozen=True)
class PlantedNodule:
    """A nodule of a phantom, as planted: the truth to measure against.

    Args:
        centre_mm: its centre of mass in LPS mm.
        diameter_mm: of the sphere of the same volume.
        kind, outline, attachment: as wished for.
        side: the patient's right or left lung.
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    kind: Kind
    outline: Outline
    attachment: Attachment
    side: Literal["right", "left"]


def random_wishes(count: int, rng: np.random.Generator) -> list[NoduleWish]:
    """A mixed bag of nodules: mostly solid, 5 to 22 mm, the small ones more often."""
    wishes = []
    for _ in range(count):
        diameter = float(5.0 + 17.0 * rng.beta(1.0, 2.0))
        kind = KINDS[rng.choice(4, p=[0.6, 0.15, 0.15, 0.1])]
        outline = OUTLINES[rng.choice(3, p=[0.4, 0.35, 0.25])]
        attachment = ATTACHMENTS[rng.choice(3, p=[0.45, 0.3, 0.25])]
        wishes.append(NoduleWish(diameter, kind, outline, attachment))
    return wishes


@dataclass(frozen=True, eq=False)
class Lesion:
    """The outline of one nodule around its centre, ready to be painted.

    Args:
        radius_mm: before the bumps are added.
        middle_mm: the centre of mass (x, y, z), seen from the point around which the outline is drawn.
        bumps: (n, 5): unit direction, relative height, sharpness.
        spicules: (n, 4): unit direction, length beyond the centre in mm.
        core: offset (x, y, z) in mm and radius of the solid core, or None.
        kind: which attenuation it has.
    """

    radius_mm: float
    middle_mm: npt.NDArray[np.float64]
    bumps: npt.NDArray[np.float64]
    spicules: npt.NDArray[np.float64]
    core: tuple[float, float, float, float] | None
    kind: Kind

    @property
    def reach_mm(self) -> float:
        """No part of the nodule is further from its centre than this."""
        longest = float(self.spicules[:, 3].max()) if len(self.spicules) else 0.0
        return max(2.2 * self.radius_mm, longest) + 1.0 + float(np.abs(self.middle_mm).max())


def make_lesion(wish: NoduleWish, rng: np.random.Generator) -> Lesion:
    """A random outline of the wished kind, of exactly the wished volume and with its centre of mass at 0."""
    radius = wish.diameter_mm / 2.0
    many, height = {"round": (4, 0.12), "lobulated": (8, 0.55), "spiculated": (8, 0.4)}[wish.outline]
    bumps = np.column_stack([_directions(many, rng), height * rng.uniform(0.4, 1.0, many), rng.uniform(3.0, 9.0, many)])
    spicules = np.zeros((0, 4))
    if wish.outline == "spiculated":
        spikes = int(rng.integers(16, 28))
        spicules = np.column_stack([_directions(spikes, rng), radius * rng.uniform(1.3, 2.1, spikes) + 2.0])
    core = None
    if wish.kind == "part-solid":
        x, y, z = (float(v) for v in rng.uniform(-0.2, 0.2, 3) * radius)
        core = (x, y, z, float(radius * rng.uniform(0.4, 0.6)))
    mean, middle = _mean_radius_and_middle(bumps)
    return Lesion(radius / mean, middle * radius / mean, bumps, spicules, core, wish.kind)


def _directions(count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    vectors = rng.normal(size=(count, 3))
    unit: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _mean_radius_and_middle(bumps: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """For a nominal radius of 1: radius of the sphere of the same volume, and centre of mass; over even directions."""
    n = 4000
    height = 1 - (2 * np.arange(n) + 1) / n
    angle = np.pi * (1 + 5**0.5) * np.arange(n)
    flat = np.sqrt(1 - height**2)
    unit = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], axis=1)
    relative = 1.0 + (bumps[:, 3] * np.exp(bumps[:, 4] * (unit @ bumps[:, :3].T - 1.0))).sum(axis=1)
    middle: npt.NDArray[np.float64] = (0.25 * relative[:, None] ** 4 * unit).mean(axis=0) / (relative**3 / 3).mean()
    return float(np.cbrt((relative**3).mean())), middle


def lesion_depth(lesion: Lesion, at: Axes) -> Field:
    """Depth in mm inside the nodule's body and spicules; `at` is relative to its centre."""
    at = Axes(*(a + np.float32(m) for a, m in zip(at, lesion.middle_mm, strict=True)))
    distance = np.sqrt(at.x**2 + at.y**2 + at.z**2) + np.float32(1e-6)
    relative = np.ones(distance.shape, dtype=np.float32)
    for x, y, z, height, sharpness in lesion.bumps.astype(np.float32):
        cosine = (at.x * x + at.y * y + at.z * z) / distance
        relative += height * np.exp(sharpness * (cosine - 1))
    depth = np.float32(lesion.radius_mm) * relative - distance
    for x, y, z, length in lesion.spicules:
        away, along = segment_distance(at, np.zeros(3), np.array([x, y, z]) * length)
        np.maximum(depth, 0.65 * (1.0 - along) + 0.35 - away, out=depth)
    field: Field = depth.astype(np.float32)
    return field


def paint_lesion(lesion: Lesion, plane_hu: Field, at: Axes, pixel_mm: float) -> None:
    """Blend one nodule into a thin plane of the truth, in place; edges by the share of a pixel they fill.

    Args:
        plane_hu: (rows, columns), a window around the nodule.
        at: open coordinates of that window relative to the nodule's centre, z of shape (1, 1, 1).
        pixel_mm: pixel size.
    """
    share = np.clip(lesion_depth(lesion, at)[0] / pixel_mm + 0.5, 0.0, 1.0)
    target = np.full_like(plane_hu, BODY_HU[lesion.kind])
    if lesion.kind in ("part-solid", "ground-glass"):
        # Vessels and bronchial walls go on through ground glass.
        target = np.maximum(plane_hu, target)
    plane_hu += share * (target - plane_hu)
    if lesion.core is not None:
        x, y, z, radius = lesion.core
        away = np.sqrt((at.x - x) ** 2 + (at.y - y) ** 2 + (at.z - z) ** 2)[0]
        share = np.clip((radius - away) / pixel_mm + 0.5, 0.0, 1.0) * share
        plane_hu += share * (CORE_HU - plane_hu)
