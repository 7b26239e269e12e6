"""One phantom chest for all tests of this room."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.simulation.lesions import NoduleWish
from imaging.simulation.thorax import Thorax, simulate_thorax

WISHES = [
    NoduleWish(24, "solid", "lobulated", "pleura"),
    NoduleWish(12, "solid", "round", "pleura"),
    NoduleWish(7, "solid", "round", "pleura"),
    NoduleWish(18, "solid", "spiculated", "isolated"),
    NoduleWish(9, "ground-glass", "round", "vessel"),
]


@pytest.fixture(scope="session")
def chest() -> Thorax:
    """A whole chest in voxels of 3 mm."""
    return simulate_thorax(
        rng=np.random.default_rng(4), shape=(98, 118, 118), spacing_mm=(3.0, 3.0, 3.0), nodules=WISHES
    )
