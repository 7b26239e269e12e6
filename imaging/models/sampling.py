"""What the image tower sees: windows of a CT on real millimetres, whatever grid the CT lies on.

A window lies in an axial plane of the patient: its rows go to the back, its columns to the left, its slices from
feet to head. A slice beyond the end of the CT is missing, not air; in the plane the CT's border is continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from imaging.findings import Point
from imaging.geometry import Grid, Volume
from imaging.geometry.upright import upright_volume
from imaging.models.intensity import normalize_hu
from imaging.models.vision import TOKEN_PIXELS, VisionConfig

if TYPE_CHECKING:
    from imaging.preprocessing.lungs import Lungs

Floats = npt.NDArray[np.float64]

#: Slices closer than this are averaged to about a millimetre: single ones carry more noise than the tower has met, mm.
THIN_MM = 0.55
#: Planes are scored at most this far apart where the CT has slices so close, mm.
PLANE_STEP_MM = 2.0


def window_offsets(config: VisionConfig) -> tuple[Floats, Floats, Floats]:
    """LPS distances of a window's voxels from its centre, mm: z (slices, 1, 1), y (1, h, 1) and x (1, 1, w)."""
    along = (np.arange(config.window_pixels, dtype=np.float64) - (config.window_pixels - 1) / 2) * config.pixel_mm
    depth = (np.arange(config.slices, dtype=np.float64) - config.slices // 2) * config.slice_step_mm
    return depth[:, None, None], along[None, :, None], along[None, None, :]


def sample_windows(config: VisionConfig, volume: Volume, centres_mm: Sequence[Point]) -> torch.Tensor:
    """HU of the windows around LPS points, float32 (n, slices, h, w); NaN where the CT has no such slice."""
    from scipy import ndimage

    z, y, x = np.broadcast_arrays(*window_offsets(config))
    offsets = np.stack([x, y, z], axis=-1)
    depth = z[:, 0, 0]
    windows = np.empty((len(centres_mm), *offsets.shape[:3]), np.float32)
    for window, centre in zip(windows, centres_mm, strict=True):
        index = np.moveaxis(volume.grid.to_index(offsets + np.asarray(centre)), -1, 0)
        ndimage.map_coordinates(volume.array, index, output=window, order=1, mode="nearest", prefilter=False)
        middle = np.asarray(centre) + np.stack([0 * depth, 0 * depth, depth], axis=1)
        missing = ~volume.grid.contains(middle)
        missing[config.slices // 2] = False
        window[missing] = np.nan
    return torch.from_numpy(windows)


@dataclass(frozen=True, eq=False)
class ScanPlanes:
    """The part of a CT around its lungs, resampled in the plane, ready to be cut into the tower's inputs.

    Args:
        hu: float16 (slices, rows, columns), pixels of `VisionConfig.pixel_mm`.
        first_mm: LPS of the centre of pixel (0, 0) of slice 0.
        spacing_mm: between slices.
        planes: which slices are scored.
        near_lung: bool (planes, token rows, token columns): whether a token lies in the lungs or close by.
        config: of the tower.
    """

    hu: torch.Tensor
    first_mm: Point
    spacing_mm: float
    planes: npt.NDArray[np.int64]
    near_lung: npt.NDArray[np.bool_]
    config: VisionConfig
    frame_of_reference_uid: str | None = None

    @property
    def token_grid(self) -> Grid:
        """The lattice of the places tokens speak of: (plane, token row, token column) to LPS mm."""
        token_mm = self.config.token_mm
        inset = (TOKEN_PIXELS - 1) / 2 * self.config.pixel_mm + self.config.token_shift_mm
        step = float(self.planes[1] - self.planes[0]) * self.spacing_mm if len(self.planes) > 1 else self.spacing_mm
        x, y, z = self.first_mm
        return Grid.from_spacing(
            (self.near_lung.shape[0], self.near_lung.shape[1], self.near_lung.shape[2]),
            spacing_mm=(step, token_mm, token_mm),
            origin_mm=(x + inset, y + inset, z + float(self.planes[0]) * self.spacing_mm),
            frame_of_reference_uid=self.frame_of_reference_uid,
        )

    def input_of(self, plane: int, rows: slice, columns: slice) -> torch.Tensor:
        """Normalised tower input around scored plane number `plane`, for pixel ranges: (slices, rows, columns)."""
        middle = int(self.planes[plane])
        parts = []
        for k in range(self.config.slices):
            place = middle + (k - self.config.slices // 2) * self.config.slice_step_mm / self.spacing_mm
            parts.append(self._slice_at(place, rows, columns))
        return normalize_hu(torch.stack(parts))

    def _slice_at(self, place: float, rows: slice, columns: slice) -> torch.Tensor:
        """One slice by linear interpolation; NaN beyond the ends of the CT (half a slice is still inside)."""
        last = self.hu.shape[0] - 1
        if place < -0.5 or place > last + 0.5:
            return torch.full_like(self.hu[0, rows, columns], torch.nan, dtype=torch.float32)
        place = min(max(place, 0.0), float(last))
        lower = int(np.floor(place + 1e-6))
        weight = place - lower
        below = self.hu[lower, rows, columns].float()
        return below if weight < 1e-6 else below + (self.hu[lower + 1, rows, columns].float() - below) * weight


def scan_planes(config: VisionConfig, volume: Volume, lungs: Lungs, *, margin_mm: float = 4.0) -> ScanPlanes:
    """Resample a CT for the tower.

    Args:
        config: of the tower.
        volume: HU on any grid; what does not lie along the patient's axes is resampled first.
        lungs: of that volume.
        margin_mm: how far outside the lungs tokens are still scored.
    """
    upright = upright_volume(volume)
    mask = upright_volume(Volume(lungs.mask.astype(np.float32), lungs.grid)).array > 0.5
    spacing, first_z, array = _not_too_thin(upright)
    inside, rows, columns = (np.flatnonzero(mask.any(axis=a)) for a in ((1, 2), (0, 2), (0, 1)))
    # Rounded, so that a file format that stores the spacing in single precision gives the same pixels.
    row_mm, column_mm = (round(step, 6) for step in upright.grid.spacing_mm[1:])
    origin = upright.grid.to_mm((0, 0, 0))
    reach = config.window_pixels * config.pixel_mm / 2
    top, left = rows[0] * row_mm - reach, columns[0] * column_mm - reach
    side = config.token_mm
    token_rows = int(np.ceil(((rows[-1] - rows[0]) * row_mm + 2 * reach) / side))
    token_columns = int(np.ceil(((columns[-1] - columns[0]) * column_mm + 2 * reach) / side))
    at_row = (top + np.arange(token_rows * TOKEN_PIXELS) * config.pixel_mm) / row_mm
    at_column = (left + np.arange(token_columns * TOKEN_PIXELS) * config.pixel_mm) / column_mm
    lowest, highest = (inside[[0, -1]] * upright.grid.spacing_mm[0] - (first_z - origin[2])) / spacing
    step = max(1, int(np.floor(PLANE_STEP_MM / spacing + 0.35)))
    # Planes are counted from slice 0, so that the same slices are scored however far the lungs reach.
    planes = np.arange(0, len(array), step)
    planes = planes[(planes >= np.floor(lowest) - step) & (planes <= np.ceil(highest) + step)]
    hu = torch.stack([_in_plane(array[k], at_row, at_column) for k in range(len(array))])
    near = _near_lung(mask, upright.grid, planes * spacing + first_z, at_row, at_column, margin_mm)
    first = (float(origin[0] + left), float(origin[1] + top), float(first_z))
    return ScanPlanes(hu, first, spacing, planes, near, config, volume.grid.frame_of_reference_uid)


def _not_too_thin(volume: Volume) -> tuple[float, float, npt.NDArray[np.float32]]:
    """Slice spacing, z of the first slice and slices of an upright volume, thin ones averaged."""
    spacing = volume.grid.spacing_mm[0]
    z = float(volume.grid.to_mm((0, 0, 0))[2])
    if spacing >= THIN_MM or volume.grid.shape[0] < 4:
        return spacing, z, volume.array
    group = max(2, round(1.0 / spacing))
    whole = len(volume.array) // group
    shape = (whole, *volume.array.shape[1:])
    mean = np.zeros(shape, np.float32)
    for k in range(group):
        mean += volume.array[k : whole * group : group]
    mean /= group
    return spacing * group, z + spacing * (group - 1) / 2, mean


def _in_plane(hu: npt.NDArray[np.float32], at_row: Floats, at_column: Floats) -> torch.Tensor:
    """One slice at fractional rows and columns, linear, its border continued: float16."""
    half = _along(np.ascontiguousarray(hu), at_row, axis=0)
    return torch.from_numpy(np.clip(_along(half, at_column, axis=1), -2000, 4000).astype(np.float16))


def _along(hu: npt.NDArray[np.float32], at: Floats, *, axis: int) -> npt.NDArray[np.float32]:
    at = np.clip(at, 0, hu.shape[axis] - 1)
    lower = np.minimum(np.floor(at).astype(np.int64), max(hu.shape[axis] - 2, 0))
    upper = np.minimum(lower + 1, hu.shape[axis] - 1)
    weight = (at - lower).astype(np.float32)
    weight = weight[:, None] if axis == 0 else weight
    below = hu.take(lower, axis=axis)
    result: npt.NDArray[np.float32] = below + (hu.take(upper, axis=axis) - below) * weight
    return result


def _near_lung(
    mask: npt.NDArray[np.bool_], grid: Grid, planes_z: Floats, at_row: Floats, at_column: Floats, margin_mm: float
) -> npt.NDArray[np.bool_]:
    """Whether the lungs, grown by `margin_mm` in the plane, reach a token: (planes, token rows, token columns)."""
    from scipy import ndimage

    z = np.rint((planes_z - grid.to_mm((0, 0, 0))[2]) / grid.spacing_mm[0]).astype(int)
    centre = (TOKEN_PIXELS - 1) / 2
    tokens = [(at[::TOKEN_PIXELS] + centre * (at[1] - at[0])) for at in (at_row, at_column)]
    rows, columns = (np.rint(t).astype(int) for t in tokens)
    size = [2 * round(margin_mm / s) + 1 for s in grid.spacing_mm[1:]]
    near = np.zeros((len(z), len(rows), len(columns)), bool)
    inside_rows, inside_columns = ((v >= 0) & (v < n) for v, n in zip((rows, columns), mask.shape[1:], strict=True))
    for k, plane in enumerate(np.clip(z, 0, len(mask) - 1)):
        if not mask[plane].any():
            continue
        grown = ndimage.maximum_filter1d(mask[plane].view(np.uint8), size[0], axis=0)
        grown = ndimage.maximum_filter1d(grown, size[1], axis=1).astype(bool)
        near[k][np.ix_(inside_rows, inside_columns)] = grown[np.ix_(rows[inside_rows], columns[inside_columns])]
    return near
