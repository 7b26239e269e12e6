"""Masks and fields grown and shrunk by a voxel or by a ball of millimetres, with whole arrays moved over one another.

scipy's filters do the same voxel by voxel and take five to ten times as long, which is most of the time that finding
lungs took. What lies outside an array is nothing here: it neither grows into it nor holds a ball up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Floats32 = npt.NDArray[np.float32]
Spacing = tuple[float, float, float]


def grown(mask: Mask, times: int = 1) -> Mask:
    """A mask with the voxels that share a face with it, so many times.

    >>> grown(np.array([[[False, True, False, False]]])).ravel().tolist()
    [True, True, True, False]
    """
    result = mask
    for _ in range(times):
        before, result = result, result.copy()
        for axis in range(mask.ndim):
            low, high = _ends(mask.ndim, axis)
            result[high] |= before[low]
            result[low] |= before[high]
    return result


def shrunk(mask: Mask) -> Mask:
    """A mask without the voxels that share a face with what is not in it, the outside of the array included."""
    result = mask.copy()
    for axis in range(mask.ndim):
        low, high = _ends(mask.ndim, axis)
        result[high] &= mask[low]
        result[low] &= mask[high]
        for end in (0, -1):
            np.moveaxis(result, axis, 0)[end] = False
    return result


def grown_cube(mask: Mask) -> Mask:
    """A mask with all its 26 neighbours."""
    return _along_all_axes(np.logical_or, mask)


def highest_near(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The highest value of each voxel and its 26 neighbours."""
    return _along_all_axes(np.maximum, values)


def closed_cube(values: Floats32) -> Floats32:
    """A field whose dents narrower than two voxels are filled: the lowest of the highest values nearby."""
    return _along_all_axes(np.minimum, highest_near(values))


def grown_ball(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """Every voxel whose centre lies at most `radius_mm` from that of a voxel of the mask.

    The ball is a sum of rods along columns. In a padded array, flattened, moving by slices and rows is one step, so
    each rod is a single pass over memory.
    """
    reach = [int(radius_mm / s + 1e-9) for s in spacing_mm]
    wide = np.pad(mask, [(r, r) for r in reach])
    rods = [wide.ravel()]
    for step in range(1, reach[2] + 1):
        rods.append(rods[-1].copy())
        _add(rods[-1], wide.ravel(), step)
        _add(rods[-1], wide.ravel(), -step)
    result = np.zeros(wide.size, dtype=bool)
    for slices in range(-reach[0], reach[0] + 1):
        for rows in range(-reach[1], reach[1] + 1):
            left_mm2 = radius_mm**2 - (slices * spacing_mm[0]) ** 2 - (rows * spacing_mm[1]) ** 2
            if left_mm2 >= -1e-9:
                half = int(max(left_mm2, 0.0) ** 0.5 / spacing_mm[2] + 1e-9)
                _add(result, rods[half], (slices * wide.shape[1] + rows) * wide.shape[2])
    inner = tuple(slice(r, n - r) for r, n in zip(reach, wide.shape, strict=True))
    return result.reshape(wide.shape)[inner]


def closed_ball(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """A mask with everything that a ball outside it does not reach."""
    return ~grown_ball(~grown_ball(mask, radius_mm, spacing_mm), radius_mm, spacing_mm) | mask


def inside_ball(mask: Mask, radius_mm: float, spacing_mm: Spacing) -> Mask:
    """The voxels of a mask that lie farther than `radius_mm` from everything that is not in it."""
    return ~grown_ball(~mask, radius_mm, spacing_mm)


def of_pieces(pieces: npt.NDArray[Any], numbers: npt.NDArray[Any]) -> Mask:
    """The voxels of some labelled pieces; 0 is none."""
    wanted = np.zeros(int(pieces.max(initial=0)) + 1, dtype=bool)
    wanted[numbers] = True
    wanted[0] = False
    found: Mask = wanted[pieces]
    return found


def _add(target: Mask, source: Mask, step: int) -> None:
    """Set in a flat mask what another one, moved by `step`, holds."""
    if step >= 0:
        target[step:] |= source[: len(source) - step]
    else:
        target[:step] |= source[-step:]


def _along_all_axes(of_two: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Each value, its predecessor and its successor put together, along one axis after the other."""
    for axis in range(values.ndim):
        before, values = values, values.copy()
        low, high = _ends(values.ndim, axis)
        of_two(values[high], before[low], out=values[high])
        of_two(values[low], before[high], out=values[low])
    return values


def _ends(dimensions: int, axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """All but the last, and all but the first, along an axis."""
    whole = [slice(None)] * dimensions
    low, high = whole.copy(), whole.copy()
    low[axis], high[axis] = slice(None, -1), slice(1, None)
    return tuple(low), tuple(high)
