"""Small towers and CTs whose HU is known everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from imaging.findings import OperatingPoint
from imaging.geometry import Grid, Volume
from imaging.models.network import NoduleNet
from imaging.models.text import TextConfig
from imaging.models.vision import VisionConfig
from imaging.models.weights import LoadedModel

VISION = VisionConfig(window_pixels=24, width=16, depth=2, heads=2, embedding=16, stem_channels=4)
TEXT = TextConfig(width=16, heads=2, layers=1)

#: The asymmetric phantom: HU is a plane in space, so linear interpolation has no error on any grid.
SLOPE_HU = np.array([1.3, -2.1, 3.7])
MIDDLE_HU = -300.0


def hu_at(points_mm: np.ndarray) -> np.ndarray:
    """HU of the phantom at LPS points (..., 3)."""
    return MIDDLE_HU + np.asarray(points_mm) @ SLOPE_HU


def sampled(grid: Grid) -> Volume:
    """The phantom as a CT on a grid."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    return Volume(hu_at(grid.to_mm(index)).astype(np.float32), grid)


def _centred(shape: tuple[int, int, int], axes: np.ndarray) -> Grid:
    """A grid around the origin with the given axes (columns: slice, row, column; mm)."""
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def _axes(slice_mm, row_mm, column_mm) -> np.ndarray:
    return np.array([slice_mm, row_mm, column_mm], dtype=float).T


GRIDS: dict[str, Grid] = {
    "axial": _centred((30, 60, 70), _axes((0, 0, 2.0), (0, 0.9, 0), (0.8, 0, 0))),
    "head first": _centred((30, 60, 70), _axes((0, 0, -2.0), (0, 0.9, 0), (0.8, 0, 0))),
    "mirrored": _centred((30, 60, 70), _axes((0, 0, 2.0), (0, -0.9, 0), (-0.8, 0, 0))),
    "coronal": _centred((60, 40, 70), _axes((0, 0.9, 0), (0, 0, -1.5), (0.8, 0, 0))),
    "sheared": _centred((30, 70, 70), _axes((0, 0.5, 2.0), (0, 0.9, 0), (0.8, 0, 0))),
}


@pytest.fixture(params=GRIDS, name="grid")
def _grid(request: pytest.FixtureRequest) -> Grid:
    return GRIDS[request.param]


@pytest.fixture(scope="session")
def net() -> NoduleNet:
    """A small net with chance weights."""
    torch.manual_seed(7)
    return NoduleNet.fresh(VISION, TEXT).eval()


@pytest.fixture(scope="session")
def model(net: NoduleNet) -> LoadedModel:
    """That net as if it had been loaded."""
    card = {"calibration": {"slope": 1.0, "offset": 0.0}}
    return LoadedModel(net, "chance", "0" * 64, card, OperatingPoint(0.5, None, "not measured"))


@pytest.fixture(scope="session")
def phantom() -> Callable[[Grid], Volume]:
    """`sampled`."""
    return sampled


@pytest.fixture(scope="session")
def truth() -> Callable[[np.ndarray], np.ndarray]:
    """`hu_at`."""
    return hu_at


@pytest.fixture(scope="session")
def grids() -> dict[str, Grid]:
    """Grids of many kinds around the origin."""
    return GRIDS
