"""Drawing an anatomy on the planes of a CT: thin planes of the truth, whose averages are scanned into slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.simulation.body import Body
from imaging.simulation.lattice import LATTICE_MM, Scale, interpolated, weights_between, window_of
from imaging.simulation.lesions import Lesion, paint_lesion
from imaging.simulation.scanner import Scanner, scan_slice
from imaging.simulation.shapes import Axes, Field
from imaging.simulation.texture import Texture
from imaging.simulation.trees import Tree, draw_tree
from imaging.simulation.vessels import lumen_of

#: The most that one drawn plane may be thick, in mm.
PLANE_MM = 1.4
AIR_HU = -1000.0
LUNG_HU = -868.0


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What there is to draw.

    Args:
        lattice: where the fields of `body` are known, in scanned mm.
        scale: of the body's own mm to scanned ones.
        body: organs, as fields of depth on the lattice in the body's own mm.
        vessels, bronchi: in scanned mm.
        lesions: each with its centre (x, y, z) in scanned mm.
    """

    lattice: Axes
    scale: Scale
    body: Body
    vessels: list[Tree]
    bronchi: list[Tree]
    lesions: list[tuple[Lesion, npt.NDArray[np.float64]]]


class Drawing:
    """Draws thin planes of an anatomy and scans their averages into slices.

    Args:
        anatomy: what to draw.
        shape, spacing_mm: of the CT (slice, row, column), whose centre is at 0.
    """

    def __init__(self, anatomy: Anatomy, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> None:
        self.shape, self.spacing_mm = shape, spacing_mm
        self.scale, self.body, self.lesions = anatomy.scale.across, anatomy.body, anatomy.lesions
        self.planes_per_slice = max(1, int(np.ceil(spacing_mm[0] / PLANE_MM)))
        self.pixel_mm = float(np.sqrt(spacing_mm[1] * spacing_mm[2]))
        z = self._centres(shape[0] * self.planes_per_slice, spacing_mm[0] / self.planes_per_slice)
        y, x = self._centres(shape[1], spacing_mm[1]), self._centres(shape[2], spacing_mm[2])
        self.axes = Axes(x[None, None, :], y[None, :, None], z[:, None, None])
        self.across, self.down, self.up = (
            weights_between(places, knots.ravel()) for places, knots in zip((x, y, z), anatomy.lattice, strict=True)
        )
        canvas = (len(z), shape[1], shape[2])
        self.blood, self.walls, self.lumen = (np.zeros(canvas, dtype=np.uint8) for _ in range(3))
        for tree in anatomy.vessels:
            draw_tree(tree, self.blood, self.axes, self.pixel_mm)
        for tree in anatomy.bronchi:
            draw_tree(tree, self.walls, self.axes, self.pixel_mm, least_mm=0.9 * self.scale)
            draw_tree(lumen_of(tree, self.scale), self.lumen, self.axes, self.pixel_mm)

    @staticmethod
    def _centres(count: int, step: float) -> Field:
        return ((np.arange(count) - (count - 1) / 2) * step).astype(np.float32)

    def scan(
        self, scanner: Scanner, rng: np.random.Generator, on_progress: Callable[[int, int], None] | None
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        """All slices, and the lungs' labels."""
        array = np.empty(self.shape, dtype=np.float32)
        labels = np.zeros(self.shape, dtype=np.uint8)
        texture = Texture(rng)
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
        window = (window_of(self.down, rows), window_of(self.across, columns))
        if window[0].start >= window[0].stop or window[1].start >= window[1].stop:
            return None
        part = interpolated(coarse, self.down, self.across, window)
        return part * np.float32(self.scale), window

    def _plane(self, number: int, texture: Texture) -> tuple[Field, Field]:
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

    def _paint_lung(self, plane: Field, share: Field, field: Field, side: int, number: int, texture: Texture) -> None:
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
            sheet = self._fieldwindow_of(fissure, number, window)
            strength = np.clip(1.0 - np.abs(sheet) / max(1.0, self.pixel_mm), 0.0, 1.0)
            target = target + 115.0 * (strength if oblique is None else strength * (oblique > 0))
            oblique = sheet
        plane[window] += inside * (target - plane[window])

    def _fieldwindow_of(self, field: Field, number: int, window: tuple[slice, slice]) -> Field:
        low, weight = self.up[0][number], self.up[1][number]
        coarse = field[low] * (1 - weight) + field[low + 1] * weight
        return interpolated(coarse, self.down, self.across, window) * np.float32(self.scale)

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
