"""How a voxel becomes a millimetre: a shape and an affine to LPS, in one frame of reference.

An index is always ``(slice, row, column)`` and names the centre of a voxel. A point is always LPS in millimetres: x
grows to the patient's left, y to the back (posterior), z to the head (superior). The affine may be sheared (a tilted
gantry) or left-handed (slices stored from head to feet); nothing here makes it orthogonal behind one's back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError

Floats = npt.NDArray[np.float64]

#: Largest cosine between two grid axes that still counts as a right angle: 0.01 degree.
ORTHOGONAL_COSINE = np.sin(np.deg2rad(0.01))


@dataclass(frozen=True, eq=False)
class Grid:
    """Where each voxel of a (slice, row, column) array lies.

    Args:
        shape: number of slices, rows and columns.
        affine: 4 x 4, takes ``(slice, row, column, 1)`` to ``(x, y, z, 1)`` in LPS mm; kept read-only.
        frame_of_reference_uid: the DICOM frame of reference, or None if the source has none.

    Raises:
        InputError: ``geometry.singular`` if the affine does not span three dimensions or is not finite.

    Source: DICOM PS3.3 C.7.6.2.1.1.

    >>> grid = Grid.from_spacing((10, 4, 4), spacing_mm=(2.5, 0.7, 0.7), origin_mm=(0, 0, -100))
    >>> grid.to_mm([2, 0, 0]).tolist()
    [0.0, 0.0, -95.0]
    """

    shape: tuple[int, int, int]
    affine: Floats
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise InputError("geometry.singular", f"the affine must be a finite 4 x 4 matrix, not {affine.tolist()}")
        if not np.array_equal(affine[3], [0.0, 0.0, 0.0, 1.0]):
            raise InputError("geometry.singular", f"the affine's last row must be 0 0 0 1, not {affine[3].tolist()}")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if lengths.min() <= 0 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise InputError("geometry.singular", f"the affine's axes are {affine[:3, :3].T.tolist()} mm")
        affine.setflags(write=False)
        shape = (int(self.shape[0]), int(self.shape[1]), int(self.shape[2]))
        if min(shape) < 1:
            raise ValueError(f"a grid needs at least one voxel along each axis, not {shape}")
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", shape)

    @classmethod
    def from_spacing(
        cls,
        shape: tuple[int, int, int],
        *,
        spacing_mm: tuple[float, float, float],
        origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        frame_of_reference_uid: str | None = None,
    ) -> Grid:
        """An axial grid: slices towards the head, rows towards the back, columns towards the left."""
        affine = np.eye(4)
        affine[:3, :3] = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * np.asarray(spacing_mm, dtype=float)
        affine[:3, 3] = origin_mm
        return cls(shape, affine, frame_of_reference_uid)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (slice, row, column), mm; along the shear if any."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @cached_property
    def direction(self) -> Floats:
        """3 x 3: unit vectors in LPS of the slice, row and column axes, as columns."""
        direction = self.affine[:3, :3] / np.asarray(self.spacing_mm)
        direction.setflags(write=False)
        return direction

    @cached_property
    def inverse(self) -> Floats:
        """4 x 4: takes LPS mm to (slice, row, column)."""
        inverse: Floats = np.linalg.inv(self.affine).astype(np.float64)
        inverse.setflags(write=False)
        return inverse

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm^3, exact for a sheared grid too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def is_orthogonal(self) -> bool:
        """Whether the three axes meet at right angles (within 0.01 degree)."""
        cosines = self.direction.T @ self.direction - np.eye(3)
        return bool(np.abs(cosines).max() <= ORTHOGONAL_COSINE)

    @property
    def centre_mm(self) -> tuple[float, float, float]:
        """The grid's centre in LPS mm."""
        x, y, z = self.to_mm((np.asarray(self.shape) - 1) / 2.0)
        return float(x), float(y), float(z)

    def to_mm(self, index: npt.ArrayLike) -> Floats:
        """LPS mm of (slice, row, column) indices; shape (..., 3) in and out."""
        points: Floats = np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]
        return points

    def to_index(self, point_mm: npt.ArrayLike) -> Floats:
        """(slice, row, column), not rounded, of LPS mm points; shape (..., 3) in and out."""
        index: Floats = np.asarray(point_mm, dtype=np.float64) @ self.inverse[:3, :3].T + self.inverse[:3, 3]
        return index

    def contains(self, point_mm: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether points lie inside the voxels (half a voxel around the outer centres included); shape (...)."""
        index = self.to_index(point_mm)
        inside: npt.NDArray[np.bool_] = np.all((index >= -0.5) & (index <= np.asarray(self.shape) - 0.5), axis=-1)
        return inside

    def same_as(self, other: Grid, *, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids put every voxel at the same place, corner by corner, within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        return bool(np.linalg.norm(self.to_mm(corners) - other.to_mm(corners), axis=1).max() <= tolerance_mm)

    def to_json(self) -> dict[str, Any]:
        """The grid as plain values."""
        return {
            "shape": list(self.shape),
            "affine_lps_mm": self.affine.tolist(),
            "spacing_mm": list(self.spacing_mm),
            "orthogonal": self.is_orthogonal,
            "frame_of_reference_uid": self.frame_of_reference_uid,
        }
