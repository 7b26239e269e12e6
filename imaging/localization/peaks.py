"""From a map of token logits to places that may each be a lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imaging.findings import Point
from imaging.localization.patch import Floats

if TYPE_CHECKING:
    from imaging.models.scoring import TokenMap

#: Of two peaks closer than this only the stronger one stays, mm: less than two tokens.
APART_MM = 5.0


@dataclass(frozen=True)
class Peak:
    """A token that is more suspicious than all its neighbours.

    Args:
        point_mm: LPS, the token's centre.
        logit: its nodule logit.
    """

    point_mm: Point
    logit: float


def find_peaks(token_map: TokenMap, *, apart_mm: float = APART_MM) -> list[Peak]:
    """Local maxima of the logits, the strongest first, no two closer than `apart_mm`.

    Ties are broken by place in LPS, never by the order in which the CT was stored.
    """
    from scipy import ndimage

    logits = np.where(np.isnan(token_map.logits), -np.inf, token_map.logits)
    highest = ndimage.maximum_filter(logits, size=3, mode="constant", cval=-np.inf)
    index = np.argwhere((logits == highest) & np.isfinite(logits))
    points = token_map.grid.to_mm(index).reshape(-1, 3)
    values = logits[tuple(index.T)].astype(np.float64)
    places = np.round(points, 3)
    order = np.lexsort((places[:, 0], places[:, 1], places[:, 2], -values))
    return [Peak(_point(points[i]), float(values[i])) for i in _apart(points[order], order, apart_mm)]


def _apart(points: Floats, order: np.ndarray[tuple[int], np.dtype[np.int_]], apart_mm: float) -> list[int]:
    """Of points in falling order, those with no earlier kept one within reach; their entries of `order`."""
    kept: list[int] = []
    places = np.empty((0, 3))
    for point, which in zip(points, order, strict=True):
        if places.size and ((places - point) ** 2).sum(axis=1).min() < apart_mm**2:
            continue
        kept.append(int(which))
        places = np.vstack([places, point])
    return kept


def _point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
