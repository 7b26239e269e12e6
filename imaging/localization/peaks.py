"""From a map of token logits to places that may each be a lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

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


def find_peaks(token_map: TokenMap, *, apart_mm: float = APART_MM, limit: int | None = None) -> list[Peak]:
    """Local maxima of the logits, the strongest first, no two closer than `apart_mm`; at most `limit`.

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
    return [Peak(_point(points[i]), float(values[i])) for i in _apart(points, order, apart_mm, limit)]


def _apart(points: Floats, order: npt.NDArray[np.int_], apart_mm: float, limit: int | None) -> list[int]:
    """Of points taken in an order, those with no earlier kept one within reach."""
    from scipy.spatial import KDTree

    if not len(points):
        return []
    tree = KDTree(points)
    free = np.ones(len(points), dtype=bool)
    kept: list[int] = []
    for which in order.tolist():
        if limit is not None and len(kept) >= limit:
            break
        if free[which]:
            kept.append(which)
            free[tree.query_ball_point(points[which], apart_mm)] = False
    return kept


def _point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
