"""LUNA16's candidate list as small pictures: nodules and what CAD systems took for one. One slice each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from PIL import Image

from imaging.models.intensity import to_bytes
from imaging.models.vision import VisionConfig
from imaging.training.cases import CaseSet
from pipelines.preparation.lidc_crops import concept_columns

#: The pictures' grey scale, and the one pixel size they are all given: theirs is unknown for most.
HU_OF_BLACK, HU_OF_WHITE = -1000.0, 400.0
#: Few of the negatives are nodules that one or two readers saw.
LABELS = {0: 0.03, 1: 0.97}


def read_candidates(folder: Path, *, split: str) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float32]]]:
    """Labels and HU pictures of one split of a folder with candidates.csv and candidates.jpgs."""
    table = pd.read_csv(folder / "candidates.csv")
    table = table[table.split == split]
    stored = (folder / "candidates.jpgs").read_bytes()
    pictures: list[npt.NDArray[np.float32]] = []
    for start, size in table[["offset", "length"]].to_numpy(np.int64).tolist():
        grey = np.asarray(Image.open(io.BytesIO(stored[start : start + size])).convert("L"))
        hu = grey.astype(np.float32) / np.float32(255) * (HU_OF_WHITE - HU_OF_BLACK) + HU_OF_BLACK
        pictures.append(hu.astype(np.float32))
    return table.label.to_numpy(np.int64), pictures


def candidate_windows(folder: Path, config: VisionConfig, rng: np.random.Generator, *, split: str) -> CaseSet:
    """Windows of the candidates, their neighbouring slices missing, twice each at slightly other places."""
    label, pictures = read_candidates(folder, split=split)
    size = config.window_pixels
    images, labels = [], []
    for value, picture in zip(label, pictures, strict=True):
        if min(picture.shape) < size:
            continue
        for _ in range(2):
            top, left = (int(rng.integers(0, n - size + 1)) for n in picture.shape)
            window = np.full((config.slices, size, size), np.nan, np.float32)
            window[config.slices // 2] = picture[top : top + size, left : left + size]
            images.append(window)
            labels.append(LABELS[int(value)])
    table = np.full((len(images), len(concept_columns())), np.nan, np.float32)
    table[:, 0] = labels
    stored = to_bytes(torch.from_numpy(np.stack(images))).numpy()
    return CaseSet(stored, table, concept_columns(), np.zeros(len(images), np.uint8), ("candidates",))
