"""A phantom thorax that looks like a CT: body, heart, vessels branching to the pleura, bronchi, nodules, noise.

Shapes come from `body`, vessels from `trees`, nodules from `lesions`, blur and noise from `scanner`. Every number of
the result follows from the arguments and the generator, so the same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume
from imaging.simulation.body import Body, Build, make_body
from imaging.simulation.lesions import Lesion, NoduleWish, PlantedNodule, make_lesion, paint_lesion, random_wishes
from imaging.simulation.planting import find_places
from imaging.simulation.scanner import Scanner, scan_slice
from imaging.simulation.shapes import Axes, Field
from imaging.simulation.trees import Tree, draw_tree, grow_tree

#: Size of a patient in mm (head to feet as scanned, side to side); smaller fields of view hold a smaller patient.
FULL_SIZE_MM = (296.0, 345.0)
#: Spacing of the lattice on which organs are worked out, and the most that one drawn plane may be thick, in mm.
LATTICE_MM = 3.2
PLANE_MM = 1.4
AIR_HU = -1000.0
LUNG_HU = -868.0


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


def make_thorax(
    *,
    rng: np.random.Generator,
    shape: tuple[int, int, int] = (120, 512, 512),
    spacing_mm: tuple[float, float, float] = (2.5, 0.7, 0.7),
    nodules: int | Sequence[NoduleWish] = 5,
    scanner: Scanner | None = None,
    blood_hu: float | None = None,
    centre_mm: tuple[float, float, float] = (4.0, -18.0, -160.0),
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Volume, list[PlantedNodule]]:
    """A phantom CT of the chest and its planted nodules; see `simulate_thorax` for the arguments.

    >>> rng = np.random.default_rng(1)
    >>> volume, planted = make_thorax(rng=rng, shape=(24, 48, 48), spacing_mm=(12, 7, 7), nodules=1)
    >>> volume.array.shape, len(planted)
    ((24, 48, 48), 1)
    """
    thorax = simulate_thorax(
        rng=rng,
        shape=shape,
        spacing_mm=spacing_mm,
        nodules=nodules,
        scanner=scanner,
        blood_hu=blood_hu,
        centre_mm=centre_mm,
        on_progress=on_progress,
    )
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
    scanner = scanner or Scanner()
    extent = np.asarray(shape) * np.asarray(spacing_mm)
    scale = (
        min(1.0, extent[0] / FULL_SIZE_MM[0]),
        min(1.0, extent[2] / FULL_SIZE_MM[1], extent[1] / (FULL_SIZE_MM[1] * 0.8)),
    )
    lattice = _lattice(extent)
    anatomy_axes = Axes(lattice.x / scale[1], lattice.y / scale[1], lattice.z / scale[0])
    body = make_body(anatomy_axes, Build.random(rng, blood_hu), rng)
    trees, bronchi = _trees(body, lattice, scale, min(spacing_mm[1:]), rng)
    wishes = random_wishes(nodules, rng) if isinstance(nodules, int) else list(nodules)
    lesions = [make_lesion(wish, rng) for wish in wishes]
    limit = float(extent[0] / 2)
    places = find_places(wishes, body, lattice, trees, limit, scale[1], rng)
    offset = np.asarray(centre_mm) - 0.0
    start = offset - (np.asarray([shape[2], shape[1], shape[0]]) - 1) / 2 * np.asarray(spacing_mm[::-1])
    grid = Grid.from_spacing(
        shape, spacing_mm=spacing_mm, origin_mm=(float(start[0]), float(start[1]), float(start[2]))
    )
    drawing = _Drawing(shape, spacing_mm, lattice, scale, body, trees, bronchi, list(zip(lesions, places, strict=True)))
    array, lungs = drawing.scan(scanner, rng, on_progress)
    planted = [_truth(wish, place, offset) for wish, place in zip(wishes, places, strict=True)]
    return Thorax(Volume(array, grid), planted, lungs)


def _truth(wish: NoduleWish, place: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]) -> PlantedNodule:
    x, y, z = (float(v) for v in place + offset)
    side: Literal["right", "left"] = "right" if place[0] < 2.0 else "left"
    return PlantedNodule((x, y, z), wish.diameter_mm, wish.kind, wish.outline, wish.attachment, side)


def _lattice(extent_mm: npt.NDArray[np.float64]) -> Axes:
    """Open coordinates of the coarse lattice, a step beyond the CT on all sides; the centre is 0."""
    z, y, x = (
        np.linspace(-e / 2 - LATTICE_MM, e / 2 + LATTICE_MM, int(np.ceil(e / LATTICE_MM)) + 3, dtype=np.float32)
        for e in extent_mm
    )
    return Axes(x[None, None, :], y[None, :, None], z[:, None, None])


# --- vessels and bronchi ---------------------------------------------------------------------------------------------
def _trees(
    body: Body, lattice: Axes, scale: tuple[float, float], pixel_mm: float, rng: np.random.Generator
) -> tuple[list[Tree], list[Tree]]:
    """Arteries and veins, and bronchi, of both lungs in scanned mm."""
    stretch = np.array([scale[1], scale[1], scale[0]])
    detail = min(1.0, 0.75 / pixel_mm)
    vessels, bronchi = [], []
    for depth, root, side in ((body.right, body.roots[0], -1.0), (body.left, body.roots[1], 1.0)):
        for shift, share in ((np.array([0.0, 0.0, 0.0]), 1.0), (np.array([0.0, -12.0, -12.0]), 0.8)):
            ends = _points_inside(depth, lattice, max(20, int(1100 * share * detail)), rng)
            vessels.append(grow_tree((root + shift) * stretch, np.array([side, 0.1, 0.0]), ends, 0.43 * scale[1], rng))
        ends = _points_inside(depth, lattice, 22, rng, least_mm=18.0 * scale[1])
        bronchi.append(
            grow_tree((root + np.array([0, 3, 2])) * stretch, np.array([side, 0.1, -0.3]), ends, 1.15 * scale[1], rng)
        )
    main = [line * stretch for line in body.trachea]
    for line, radius in zip(main, (9.5, 7.0, 6.5), strict=True):
        bronchi.append(Tree(line[:-1], line[1:], np.full(len(line) - 1, radius * scale[1] + 1.2)))
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
    points = np.stack([lattice.x[0, 0, chosen[2]], lattice.y[0, chosen[1], 0], lattice.z[chosen[0], 0, 0]], axis=1)
    spread: npt.NDArray[np.float64] = points + jitter
    return spread


# --- drawing ---------------------------------------------------------------------------------------------------------
class _Drawing:
    """Draws thin planes of the truth and scans their averages into slices."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        spacing_mm: tuple[float, float, float],
        lattice: Axes,
        scale: tuple[float, float],
        body: Body,
        trees: list[Tree],
        bronchi: list[Tree],
        lesions: list[tuple[Lesion, npt.NDArray[np.float64]]],
    ) -> None:
        self.shape, self.spacing_mm, self.scale, self.body, self.lesions = shape, spacing_mm, scale, body, lesions
        self.planes_per_slice = max(1, int(np.ceil(spacing_mm[0] / PLANE_MM)))
        self.pixel_mm = float(np.sqrt(spacing_mm[1] * spacing_mm[2]))
        z = self._centres(shape[0] * self.planes_per_slice, spacing_mm[0] / self.planes_per_slice)
        y, x = self._centres(shape[1], spacing_mm[1]), self._centres(shape[2], spacing_mm[2])
        self.axes = Axes(x[None, None, :], y[None, :, None], z[:, None, None])
        self.up = _weights(z, lattice.z.ravel())
        self.down, self.across = _weights(y, lattice.y.ravel()), _weights(x, lattice.x.ravel())
        canvas = (len(z), shape[1], shape[2])
        self.blood, self.walls, self.lumen = (np.zeros(canvas, dtype=np.uint8) for _ in range(3))
        for tree in trees:
            draw_tree(tree, self.blood, self.axes, self.pixel_mm)
        for tree in bronchi:
            draw_tree(tree, self.walls, self.axes, self.pixel_mm, least_mm=0.9 * scale[1])
            inner = _lumen(tree, scale[1])
            draw_tree(inner, self.lumen, self.axes, self.pixel_mm)

    @staticmethod
    def _centres(count: int, step: float) -> Field:
        return ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)

    def scan(
        self, scanner: Scanner, rng: np.random.Generator, on_progress: Callable[[int, int], None] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """All slices, and the lungs' labels."""
        array = np.empty(self.shape, dtype=np.float32)
        labels = np.zeros(self.shape, dtype=np.uint8)
        texture = _Texture(rng)
        for index in range(self.shape[0]):
            total = np.zeros(self.shape[1:], dtype=np.float32)
            inside = np.zeros((2, *self.shape[1:]), dtype=np.float32)
            for part in range(self.planes_per_slice):
                plane, lungs = self._plane(index * self.planes_per_slice + part, texture)
                total += plane
                inside += lungs
            total /= self.planes_per_slice
            total += (
                texture.grain(self.shape[1:], self.spacing_mm[1:], rng) * inside.sum(axis=0) / self.planes_per_slice
            )
            array[index] = scan_slice(total, (self.spacing_mm[1], self.spacing_mm[2]), scanner, rng)
            labels[index] = np.where(inside.max(axis=0) >= 0.5 * self.planes_per_slice, inside.argmax(axis=0) + 1, 0)
            if on_progress is not None:
                on_progress(index + 1, self.shape[0])
        return array, labels

    def _field(self, field: Field, number: int) -> tuple[Field, tuple[slice, slice]] | None:
        """A field on one plane, in the window where it is near or above 0; None where it is nowhere."""
        low, weight = self.up[0][number], self.up[1][number]
        depth = field.shape[0]
        coarse = field[min(low, depth - 1)] * (1 - weight) + field[min(low + 1, depth - 1)] * weight
        near = coarse > -LATTICE_MM * 1.5
        if not near.any():
            return None
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        window = (_window(self.down, rows), _window(self.across, columns))
        if window[0].start >= window[0].stop or window[1].start >= window[1].stop:
            return None
        part = _interpolated(coarse, self.down, self.across, window)
        return part * np.float32(self.scale[1]), window

    def _plane(self, number: int, texture: _Texture) -> tuple[Field, Field]:
        plane = np.full(self.shape[1:], AIR_HU, dtype=np.float32)
        for field, hu, rim_mm, rim_hu in self.body.layers:
            self._paint(plane, field, hu, rim_mm, rim_hu, number)
        shares = np.zeros((2, *self.shape[1:]), dtype=np.float32)
        for side, field in enumerate((self.body.right, self.body.left)):
            self._paint_lung(plane, shares[side], field, side, number, texture)
        lung = shares.sum(axis=0)
        self._paint_tubes(plane, lung, number)
        self._paint_lesions(plane, number)
        return plane, shares

    def _paint(self, plane: Field, field: Field, hu: float, rim_mm: float, rim_hu: float, number: int) -> None:
        found = self._field(np.broadcast_to(field, self._lattice_shape(field)), number)
        if found is None:
            return
        depth, window = found
        share = np.clip(depth / self.pixel_mm + 0.5, 0.0, 1.0)
        target = hu if rim_mm == 0.0 else hu + (rim_hu - hu) * np.clip((rim_mm - depth) / self.pixel_mm + 0.5, 0.0, 1.0)
        plane[window] += share * (target - plane[window])

    def _lattice_shape(self, field: Field) -> tuple[int, int, int]:
        return (max(field.shape[0], self.body.right.shape[0]), *self.body.right.shape[1:])

    def _paint_lung(self, plane: Field, share: Field, field: Field, side: int, number: int, texture: _Texture) -> None:
        found = self._field(field, number)
        if found is None:
            return
        depth, window = found
        inside = np.clip(depth / self.pixel_mm + 0.5, 0.0, 1.0)
        share[window] = inside
        at = Axes(self.axes.x[0, :, window[1]], self.axes.y[0, window[0], :], self.axes.z[number])
        target = LUNG_HU + 0.32 * at.y + texture.of(at)
        fissures = self.body.fissures[:2] if side == 0 else self.body.fissures[2:]
        oblique = None
        for fissure in fissures:
            sheet = self._field_window(fissure, number, window)
            strength = np.clip(1.0 - np.abs(sheet) / max(1.0, self.pixel_mm), 0.0, 1.0)
            target = target + 115.0 * (strength if oblique is None else strength * (oblique > 0))
            oblique = sheet
        plane[window] += inside * (target - plane[window])

    def _field_window(self, field: Field, number: int, window: tuple[slice, slice]) -> Field:
        low, weight = self.up[0][number], self.up[1][number]
        coarse = field[low] * (1 - weight) + field[low + 1] * weight
        return _interpolated(coarse, self.down, self.across, window) * np.float32(self.scale[1])

    def _paint_tubes(self, plane: Field, lung: Field, number: int) -> None:
        """Vessels and bronchial walls inside the lungs; lumina everywhere."""
        for canvas, hu in ((self.blood, 42.0), (self.walls, -150.0)):
            share = canvas[number].astype(np.float32) * lung / 255.0
            plane += share * (np.maximum(plane, hu) - plane)
        share = self.lumen[number].astype(np.float32) / 255.0
        plane += share * (-985.0 - plane)

    def _paint_lesions(self, plane: Field, number: int) -> None:
        z = float(self.axes.z[number, 0, 0])
        for lesion, (x0, y0, z0) in self.lesions:
            if abs(z - z0) > lesion.reach_mm:
                continue
            rows = slice(*np.searchsorted(self.axes.y.ravel(), (y0 - lesion.reach_mm, y0 + lesion.reach_mm)))
            columns = slice(*np.searchsorted(self.axes.x.ravel(), (x0 - lesion.reach_mm, x0 + lesion.reach_mm)))
            at = Axes(
                self.axes.x[:, :, columns] - np.float32(x0),
                self.axes.y[:, rows] - np.float32(y0),
                np.full((1, 1, 1), z - z0, np.float32),
            )
            paint_lesion(lesion, plane[rows, columns], at, self.pixel_mm)


def _lumen(tree: Tree, scale: float) -> Tree:
    """The air inside bronchi: a wall of a sixth of the radius, at least 0.8 mm; too thin ones have none."""
    inner = np.minimum(tree.radii_mm * 0.83, tree.radii_mm - 0.8 * scale)
    keep = inner > 0.7 * scale
    return Tree(tree.starts[keep], tree.ends[keep], inner[keep])


Weights = tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]


def _weights(places: Field, knots: Field) -> Weights:
    """For each place the knot below it and how far it is to the next one (0 to 1)."""
    position = (places - knots[0]) / (knots[1] - knots[0])
    low = np.clip(np.floor(position).astype(np.intp), 0, len(knots) - 2)
    return low, np.clip(position - low, 0.0, 1.0).astype(np.float32)


def _window(weights: Weights, knots: npt.NDArray[np.intp]) -> slice:
    """The places next to a run of knots."""
    low = weights[0]
    return slice(int(np.searchsorted(low, knots[0] - 1)), int(np.searchsorted(low, knots[-1], side="right")))


def _interpolated(coarse: Field, down: Weights, across: Weights, window: tuple[slice, slice]) -> Field:
    """Bilinear values of a coarse plane in a window of the fine one."""
    low, weight = down[0][window[0]], down[1][window[0]][:, None]
    rows = coarse[low] * (1 - weight) + coarse[low + 1] * weight
    low, weight = across[0][window[1]], across[1][window[1]][None, :]
    fine = rows[:, low] * (1 - weight) + rows[:, low + 1] * weight
    return fine.astype(np.float32, copy=False)


class _Texture:
    """What is too small to draw: vessels and lobules below a voxel, as waves of many lengths in space."""

    def __init__(self, rng: np.random.Generator) -> None:
        lengths = np.exp(rng.uniform(np.log(5.0), np.log(60.0), 14))
        directions = rng.normal(size=(14, 3))
        self.waves = (
            2 * np.pi / lengths[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
        ).astype(np.float32)
        self.phases = rng.uniform(0, 2 * np.pi, 14).astype(np.float32)

    @staticmethod
    def grain(shape: tuple[int, ...], pixel_mm: tuple[float, ...], rng: np.random.Generator) -> Field:
        """HU to add to one slice of lung: grain of 2 to 3 mm, standard deviation about 26."""
        from scipy.ndimage import gaussian_filter

        noise: Field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), [1.0 / p for p in pixel_mm])
        return noise * np.float32(26.0 / max(float(noise.std()), 1e-6))

    def of(self, at: Axes) -> Field:
        """HU to add; standard deviation about 14."""
        total: Field = np.zeros(np.broadcast_shapes(at.x.shape, at.y.shape), dtype=np.float32)
        for (kx, ky, kz), phase in zip(self.waves, self.phases, strict=True):
            across, down = kx * at.x, ky * at.y + (kz * at.z + phase)
            total += (np.sin(across) * np.cos(down) + np.cos(across) * np.sin(down)).astype(np.float32)
        return total * np.float32(5.3)
