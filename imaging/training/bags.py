"""Whole scans as bags of windows: the label is the bag's, and no window of it is told from another.

A bag is cut once, over the lungs, and kept as bytes on the disk. In training, a bag without a nodule gives windows that
hold none. Of a bag with one, all windows are taken to hold it at first: a net that has learned nothing cannot choose;
then only those that it finds most suspicious, half as many in each round, a handful in the end; what the others hold is
not known, and they are left out.

Source: Dietterich et al. 1997, doi:10.1016/S0004-3702(96)00034-3 (multiple instances); Campanella et al. 2019,
doi:10.1038/s41591-019-0508-1 (training on the top-ranked instances of a bag).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch

from imaging.geometry import Volume
from imaging.models.intensity import HU_HIGH, HU_LOW, MISSING, to_bytes
from imaging.models.prompts import NODULE, attribute_names
from imaging.models.sampling import scan_planes
from imaging.models.vision import TOKEN_PIXELS, VisionConfig
from imaging.training.cases import CaseSet
from imaging.training.stacked import StackedImages

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

#: Windows of a bag overlap by this share of their side in the plane; their middle slices lie this far apart, mm.
OVERLAP = 1 / 3
PLANES_MM = 4.0
#: Least share of lung (with a margin) in a window of a bag.
NEAR_SHARE = 0.04
#: So many windows of a bag with a nodule are taken to hold it in the last rounds.
FEWEST = 4
#: Changes when the same scan would give other windows.
BAG_VERSION = 1


@dataclass(frozen=True, eq=False)
class Bag:
    """The windows of one scan and what is known of the scan as a whole.

    Args:
        windows: uint8 (n, slices, height, width), as `imaging.models.intensity.to_bytes` makes them.
        labels: float32 (concepts,), ``nodule`` first: 0, 1, or NaN where nobody said.
    """

    windows: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]


def cut_bag(volume: Volume, lungs: Lungs, config: VisionConfig) -> npt.NDArray[np.uint8]:
    """The windows of a scan that reach into its lungs: uint8 (n, slices, height, width).

    Args:
        volume: HU on any grid.
        lungs: of that volume.
        config: of the tower that will see them.
    """
    from monai.data.utils import iter_patch_position

    scan = scan_planes(config, volume, lungs)
    side = config.window_pixels // TOKEN_PIXELS
    between = float(scan.planes[1] - scan.planes[0]) * scan.spacing_mm if len(scan.planes) > 1 else PLANES_MM
    rows, columns = scan.near_lung.shape[1:]
    corners = list(iter_patch_position((rows, columns), (side, side), overlap=OVERLAP, padded=False))
    windows = [np.empty((0, config.slices, config.window_pixels, config.window_pixels), np.uint8)]
    for plane in range(0, len(scan.planes), max(1, round(PLANES_MM / between))):
        near = scan.near_lung[plane]
        chosen = [(r, c) for r, c in corners if near[r : r + side, c : c + side].mean() >= NEAR_SHARE]
        if not chosen:
            continue
        stored = _stored(scan.input_of(plane, slice(0, rows * TOKEN_PIXELS), slice(0, columns * TOKEN_PIXELS)))
        windows.append(np.stack([_cut(stored, r, c, config.window_pixels) for r, c in chosen]))
    return np.concatenate(windows)


def _stored(values: torch.Tensor) -> npt.NDArray[np.uint8]:
    """Bytes of normalised values."""
    hu = (values + 1.0) * ((HU_HIGH - HU_LOW) / 2.0) + HU_LOW
    return to_bytes(hu.masked_fill(values <= MISSING + 1e-3, torch.nan)).numpy()


def _cut(stored: npt.NDArray[np.uint8], row: int, column: int, pixels: int) -> npt.NDArray[np.uint8]:
    top, left = row * TOKEN_PIXELS, column * TOKEN_PIXELS
    return stored[:, top : top + pixels, left : left + pixels]


def still_taken(windows: int, round_number: int) -> int:
    """How many windows of a bag with a nodule are taken to hold it: all of them, half, a quarter ... then `FEWEST`."""
    return min(windows, max(FEWEST, math.ceil(windows * 0.5**round_number)))


def label_windows(bag: Bag, logits: npt.NDArray[np.float32] | None, round_number: int) -> npt.NDArray[np.float32]:
    """Labels of a bag's windows in one round: float32 (n, concepts).

    Args:
        bag: with a known label.
        logits: (n,) what the net so far says of each window; None for a bag without a nodule.
        round_number: from 0.
    """
    labels = np.full((len(bag.windows), len(bag.labels)), np.nan, np.float32)
    if bag.labels[0] < 0.5:
        labels[:, 0] = 0.0
    elif logits is not None:
        taken = np.argsort(-logits, kind="stable")[: still_taken(len(logits), round_number)]
        labels[taken] = bag.labels
    return labels


def joined_cases(windows: Sequence[CaseSet], bags: Sequence[Bag]) -> CaseSet:
    """Sets of windows, then the windows of bags, as one set; what windows of a bag with a nodule hold is unknown."""
    sets = [*windows]
    concepts = (NODULE, *attribute_names())
    for bag in bags:
        n = len(bag.windows)
        labels = label_windows(bag, None, 0)
        sets.append(CaseSet(bag.windows, labels, concepts, np.zeros(n, np.uint8), ("scans",)))
    names = tuple(dict.fromkeys(name for s in sets for name in s.collections))
    places = [np.array([names.index(c) for c in s.collections], np.uint8)[s.collection] for s in sets]
    images = StackedImages([s.images for s in sets])
    return CaseSet(
        images=cast(npt.NDArray[np.uint8], images),
        labels=np.concatenate([s.labels for s in sets]),
        concepts=concepts,
        collection=np.concatenate(places),
        collections=names,
    )
