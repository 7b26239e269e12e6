"""Phantoms with known truth: balls of HU in lung, with exact partial volume, and token maps that point at them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from imaging.geometry import Grid, Volume
from imaging.preprocessing.lungs import Lungs

LUNG_HU = -860.0
TISSUE_HU = 40.0


def grid_of(spacing_mm=(2.5, 0.7, 0.7), *, size_mm=50.0, shear_degrees=0.0, rotation_degrees=0.0, origin=(20, -30, 70)):
    """A grid about `origin`; sheared as by a tilted gantry, or rotated about the x axis."""
    shape = tuple(round(size_mm / s) | 1 for s in spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]) * np.array(spacing_mm)
    affine[1, 0] = np.tan(np.deg2rad(shear_degrees)) * spacing_mm[0]
    c, s = np.cos(np.deg2rad(rotation_degrees)), np.sin(np.deg2rad(rotation_degrees))
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ affine[:3, :3]
    affine[:3, 3] = np.array(origin) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


@dataclass
class Phantom:
    """Fractions of a voxel are found by 5 x 5 x 5 points in it, on any grid."""

    grid: Grid
    hu: np.ndarray = field(init=False)
    lung: np.ndarray = field(init=False)

    def __post_init__(self):
        self.hu = np.full(self.grid.shape, LUNG_HU)
        self.lung = np.ones(self.grid.shape)

    def _fill(self, outside_mm, hu, *, lung):
        """`outside_mm` gives the distance of points to the surface, negative inside."""
        index = np.stack(np.meshgrid(*(np.arange(n) for n in self.grid.shape), indexing="ij"), axis=-1)
        distance = outside_mm(self.grid.to_mm(index))
        part = (distance <= 0).astype(float)
        cut = np.abs(distance) <= np.linalg.norm(self.grid.affine[:3, :3], axis=0).sum() / 2
        offsets = (np.arange(5) + 0.5) / 5 - 0.5
        inner = np.stack(np.meshgrid(offsets, offsets, offsets), axis=-1).reshape(-1, 3)
        part[cut] = (outside_mm(self.grid.to_mm(index[cut][:, None] + inner)) <= 0).mean(axis=1)
        self.hu = self.hu * (1 - part) + hu * part
        self.lung = np.maximum(self.lung, part) if lung else np.minimum(self.lung, 1 - part)
        return self

    def ball(self, centre_mm, diameter_mm, hu=30.0):
        return self._fill(lambda p: np.linalg.norm(p - centre_mm, axis=-1) - diameter_mm / 2, hu, lung=True)

    def vessel(self, through_mm, radius_mm, along=(0.3, 0.8, 0.5)):
        unit = np.array(along) / np.linalg.norm(along)
        return self._fill(
            lambda p: np.linalg.norm(np.cross(p - through_mm, unit), axis=-1) - radius_mm, TISSUE_HU, lung=True
        )

    def wall(self, from_x_mm):
        return self._fill(lambda p: from_x_mm - p[..., 0], TISSUE_HU, lung=False)

    def scan(self, *, noise_hu=20.0, blur_mm=0.5, seed=0):
        """The CT (blurred in plane, noisy, whole HU) and its filled lungs; all of it is the left lung."""
        spacing = self.grid.spacing_mm
        hu = ndimage.gaussian_filter(self.hu, (0, blur_mm / spacing[1], blur_mm / spacing[2]))
        hu = np.rint(hu + np.random.default_rng(seed).normal(0, noise_hu, hu.shape))
        labels = np.where(self.lung >= 0.5, 2, 0).astype(np.uint8)
        return Volume(hu.astype(np.float32), self.grid), Lungs(labels, self.grid, 100.0)


def flipped(volume, lungs, axes):
    """The same CT stored in the other direction along some axes."""
    matrix = np.eye(4)
    for axis in axes:
        matrix[axis, axis] = -1
        matrix[axis, 3] = volume.grid.shape[axis] - 1
    grid = Grid(volume.grid.shape, volume.grid.affine @ matrix)
    return Volume(np.flip(volume.array, axes).copy(), grid), Lungs(np.flip(lungs.labels, axes).copy(), grid, 100.0)


def token_map_of(grid, lesions, *, rng, noise=0.3, offset_mm=(0.0, 0.0, 0.0), rim=False):
    """Tokens of 2.8 mm in planes 2 mm apart; `lesions` are (centre, diameter, logit), lit whole or at the rim only."""
    size = np.ptp(grid.to_mm(np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1).T), axis=0)
    spacing = np.array([2.0, 2.8, 2.8])
    shape = tuple(int(n) for n in np.ceil(size[::-1] / spacing))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]) * spacing
    affine[:3, 3] = np.asarray(grid.centre_mm) - affine[:3, :3] @ ((np.array(shape) - 1) / 2) + np.asarray(offset_mm)
    lattice = Grid(shape, affine)
    points = lattice.to_mm(np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1))
    logits = np.full(shape, -8.0)
    near = np.zeros(shape, dtype=bool)
    for centre, diameter, logit in lesions:
        distance = np.linalg.norm(points - centre, axis=-1)
        near |= distance < diameter / 2 + 9
        away = np.abs(distance - diameter / 2 + 1) if rim else np.maximum(distance - diameter / 4, 0)
        logits = np.maximum(logits, logit - away)
    logits = (logits + rng.normal(0, noise, shape)).astype(np.float32)
    logits[~near | ~grid.contains(points)] = np.nan
    return SimpleNamespace(grid=lattice, logits=logits, similarity={}, notices=())


@pytest.fixture
def tools():
    """The builders of this file."""
    return SimpleNamespace(grid_of=grid_of, Phantom=Phantom, flipped=flipped, token_map_of=token_map_of)


@pytest.fixture
def model():
    """A calibration and an operating point; no network."""
    return SimpleNamespace(
        operating_point=SimpleNamespace(threshold=0.5), calibrate=lambda logit: float(1 / (1 + np.exp(-logit)))
    )


@pytest.fixture
def describe():
    """Attributes without a text tower."""
    return lambda model, volume, centres: [{"solid": 0.5} for _ in centres]
