"""A small isotropic cube of HU around a place, with axes that do not depend on how the CT was stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imaging.findings import Point
from imaging.geometry import Grid, Volume

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

#: HU outside this range carry nothing about a nodule: padding, metal.
HU_RANGE = (-1024.0, 600.0)


@dataclass(frozen=True, eq=False)
class Patch:
    """HU and lung mask on an isotropic cube.

    Args:
        grid: axis 0 runs along the slice normal, axes 1 and 2 lie in the plane of the slices; all point the way of the
            LPS axis they are closest to, whatever the order in which the CT was stored.
        hu: float32, same shape as the grid.
        lung: whether a voxel lies inside the (filled) lungs.
        slice_spacing_mm: distance between the slices it was cut from, along their normal.
    """

    grid: Grid
    hu: Floats32
    lung: Mask
    slice_spacing_mm: float

    @property
    def spacing_mm(self) -> float:
        """Edge of one voxel in mm."""
        return self.grid.spacing_mm[0]

    def to_index(self, point_mm: Point) -> tuple[int, int, int]:
        """The voxel whose centre is nearest to an LPS point, kept inside the cube."""
        index = np.clip(np.rint(self.grid.to_index(point_mm)), 0, np.asarray(self.grid.shape) - 1).astype(int)
        return int(index[0]), int(index[1]), int(index[2])

    def to_point(self, index: npt.ArrayLike) -> Point:
        """LPS mm of a (fractional) index."""
        x, y, z = self.grid.to_mm(index)
        return float(x), float(y), float(z)

    def distance_mm(self, point_mm: Point) -> Floats32:
        """Distance of every voxel centre to an LPS point; shape of the cube."""
        centre = self.grid.to_index(point_mm)
        a, b, c = (
            (np.arange(n, dtype=np.float32) - np.float32(o)) ** 2 for n, o in zip(self.grid.shape, centre, strict=True)
        )
        distance: Floats32 = np.sqrt(a[:, None, None] + b[:, None] + c) * np.float32(self.spacing_mm)
        return distance

    def cropped(self, box: tuple[slice, ...]) -> Patch:
        """A part of the cube, each voxel at its place."""
        affine = np.array(self.grid.affine)
        affine[:3, 3] = self.grid.to_mm([s.start for s in box])
        hu = self.hu[box].copy()
        grid = Grid((hu.shape[0], hu.shape[1], hu.shape[2]), affine, self.grid.frame_of_reference_uid)
        return Patch(grid, hu, self.lung[box].copy(), self.slice_spacing_mm)


def canonical_axes(grid: Grid) -> Floats:
    """3 x 3: unit vectors in LPS, as columns, of the slice normal and of two in-plane axes at right angles.

    The in-plane axes come in the order of the LPS axes they are closest to, the later one first (y before x for axial
    slices), and every vector points towards growing LPS, so that a grid stored backwards gives the same axes.
    """
    across = grid.direction[:, 2]
    down = grid.direction[:, 1] - (grid.direction[:, 1] @ across) * across
    down = down / np.linalg.norm(down)
    in_plane = sorted((across, down), key=lambda axis: -int(np.argmax(np.abs(axis))))
    axes = np.stack([np.cross(across, down), *in_plane], axis=1)
    signs = np.sign(axes[np.argmax(np.abs(axes), axis=0), np.arange(3)])
    canonical: Floats = axes * signs
    return canonical


def slice_spacing_mm(grid: Grid) -> float:
    """Distance between neighbouring slices along their normal (shorter than along the shear of a tilted gantry)."""
    return float(abs(grid.affine[:3, 0] @ canonical_axes(grid)[:, 0]))


def cut_patch(volume: Volume, lungs: Lungs, centre_mm: Point, *, half_mm: float, spacing_mm: float = 0.7) -> Patch:
    """The cube of `2 * half_mm` around a place, by linear interpolation; beyond the CT its border is continued."""
    half = round(half_mm / spacing_mm)
    n = 2 * half + 1
    axes = canonical_axes(volume.grid)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    affine[:3, 3] = np.asarray(centre_mm) - axes.sum(axis=1) * half * spacing_mm
    grid = Grid((n, n, n), affine, volume.grid.frame_of_reference_uid)
    low, high = _source_box(volume.grid, grid)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu = _sample(np.clip(volume.array[box], *HU_RANGE), volume.grid, grid, low, mode="nearest")
    lung = _sample((lungs.labels[box] > 0).astype(np.float32), volume.grid, grid, low, mode="constant") >= 0.5
    return Patch(grid, hu, lung, slice_spacing_mm(volume.grid))


def _source_box(source: Grid, target: Grid) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Index range of the source voxels that interpolation on the target needs; at least one voxel."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in target.shape])).reshape(3, -1).T
    index = source.to_index(target.to_mm(corners))
    shape = np.asarray(source.shape)
    low = np.clip(np.floor(index.min(axis=0)).astype(int) - 1, 0, shape - 1)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 2, low + 1, shape)
    return low, high


def _sample(
    values: Floats32, source: Grid, target: Grid, low: npt.NDArray[np.int_], *, mode: str, cval: float = 0.0
) -> Floats32:
    from scipy import ndimage

    to_source = source.inverse @ target.affine
    sampled: Floats32 = ndimage.affine_transform(
        values,
        to_source[:3, :3],
        offset=to_source[:3, 3] - low,
        output_shape=target.shape,
        output=np.float32,
        order=1,
        mode=mode,
        cval=cval,
        prefilter=False,
    )
    return sampled
