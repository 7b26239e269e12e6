"""Where a point of one study lies in another study of the same patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.geometry.grid import Floats


@dataclass(frozen=True, eq=False)
class Alignment:
    """An affine between the patient spaces of two studies; one affine cannot follow each breath exactly.

    Args:
        matrix: 4 x 4, takes (x, y, z, 1) in LPS mm of the first study to the second; kept read-only.
        overlap: Dice coefficient of both pairs of lungs once they are aligned, in [0, 1].
        notices: ``compare.poor_match`` where the lungs do not lie on one another.

    >>> half_up = Alignment([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 5], [0, 0, 0, 1]], overlap=1.0)
    >>> half_up.there([1, 2, 3]).tolist(), half_up.back([1, 2, 8]).tolist()
    ([1.0, 2.0, 8.0], [1.0, 2.0, 3.0])
    """

    matrix: Floats
    overlap: float
    notices: tuple[Notice, ...] = ()

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    def there(self, points_mm: npt.ArrayLike) -> Floats:
        """Points of the first study in the second; LPS mm, shape (..., 3) in and out."""
        points: Floats = np.asarray(points_mm, dtype=np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return points

    @property
    def inverse(self) -> Alignment:
        """The same alignment, seen from the second study."""
        return Alignment(np.linalg.inv(self.matrix).astype(np.float64), self.overlap, self.notices)

    def back(self, points_mm: npt.ArrayLike) -> Floats:
        """Points of the second study in the first; LPS mm, shape (..., 3) in and out."""
        return self.inverse.there(points_mm)
