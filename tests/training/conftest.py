"""Small towers, made windows and a made chest to train on in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imaging.models.prompts import NODULE, attribute_names
from imaging.models.text import TextConfig
from imaging.models.vision import VisionConfig
from imaging.training.cases import CaseSet

CONCEPTS = (NODULE, *attribute_names())


@pytest.fixture(scope="session")
def vision() -> VisionConfig:
    """A tower for windows of 24 pixels of 1.4 mm."""
    return VisionConfig(
        slices=3,
        slice_step_mm=5.0,
        pixel_mm=1.4,
        window_pixels=24,
        width=16,
        depth=1,
        heads=2,
        embedding=16,
        stem_channels=4,
    )


@pytest.fixture(scope="session")
def text() -> TextConfig:
    """A small text tower."""
    return TextConfig(width=16, heads=2, layers=1)


def make_cases(n: int, *, seed: int, name: str = "made") -> CaseSet:
    """Windows of noise; every other one holds a bright square, and is "solid" or not by its brightness."""
    rng = np.random.default_rng(seed)
    images = rng.integers(20, 60, (n, 3, 24, 24)).astype(np.uint8)
    labels = np.full((n, len(CONCEPTS)), np.nan, np.float32)
    labels[:, 0] = np.arange(n) % 2
    for i in np.flatnonzero(labels[:, 0]):
        row, column = rng.integers(2, 18, 2)
        images[i, :, row : row + 4, column : column + 4] = 200 if i % 4 == 1 else 120
        labels[i, CONCEPTS.index("solid")] = float(i % 4 == 1)
    return CaseSet(images, labels, CONCEPTS, np.zeros(n, np.uint8), (name,))


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A folder as ``nodulus prepare`` leaves it, with ``train`` and ``val``."""
    make_cases(48, seed=1).save(tmp_path / "prepared" / "train")
    make_cases(32, seed=2).save(tmp_path / "prepared" / "val")
    return tmp_path / "prepared"


@pytest.fixture(scope="session")
def some_cases():
    """`make_cases`."""
    return make_cases
