"""Several arrays of windows behind one another, read from the disk only where they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]


class StackedImages:
    """uint8 arrays (n, slices, height, width), memory-mapped or not, that index like their concatenation.

    Args:
        parts: at least one array; equal in shape but for their length.

    Raises:
        ValueError: if there is none or their windows differ in shape.
    """

    def __init__(self, parts: Sequence[Bytes]) -> None:
        if len({tuple(part.shape[1:]) for part in parts}) != 1:
            raise ValueError(f"windows of one shape are needed, not {sorted({part.shape[1:] for part in parts})}")
        self._parts = tuple(parts)
        self._starts = np.cumsum([0, *(len(part) for part in parts)])
        self.shape = (int(self._starts[-1]), *parts[0].shape[1:])
        self.ndim = parts[0].ndim
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | npt.NDArray[np.integer[Any]]) -> Bytes:
        """Windows at a slice or at an array of indices, in that order; a new array."""
        at = np.arange(len(self))[index]
        part = np.searchsorted(self._starts, at, side="right") - 1
        windows = np.empty((len(at), *self.shape[1:]), np.uint8)
        for number in np.unique(part):
            mine = part == number
            windows[mine] = self._parts[number][at[mine] - self._starts[number]]
        return windows

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Bytes:
        """All windows in memory."""
        return np.concatenate(self._parts).astype(dtype or np.uint8, copy=False)
