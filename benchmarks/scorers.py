"""What is measured: a scorer looks at windows and at stacks and says how suspicious, and where.

The model and the baselines that every table shows beside it (random in the lung, the centre, blobs by the Laplacian of
Gaussian at several scales) go through the same functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.lidc_data import WINDOW_MM, Stack
from imaging.geometry import Volume

Floats = npt.NDArray[np.float64]
Point = tuple[float, float, float]

#: Diameters of the blobs that the Laplacian of Gaussian is tuned to, mm.
BLOB_DIAMETERS_MM: Final = (4.0, 6.0, 9.0, 13.0, 19.0)
#: HU are clipped to this range first: bone and padding are not denser or emptier than they need be.
BLOB_HU: Final = (-1000.0, 100.0)
#: Marks given for one stack at most.
MARKS_A_STACK: Final = 60


@dataclass(frozen=True)
class Window:
    """A square of 33.6 mm in one slice of a stack."""

    stack: Stack
    slice_index: int
    centre_mm: Point


@dataclass(frozen=True)
class WindowPoints:
    """Where the suspicion lies in a window.

    `point_mm` is the place that counts; `others` are places to be shown beside it, such as the peak of a heat map.
    """

    point_mm: Point
    others: Mapping[str, Point] = field(default_factory=dict)


@dataclass(frozen=True)
class StackMark:
    """A place in a stack and how suspicious it is."""

    point_mm: Point
    logit: float


class Scorer(Protocol):
    """Anything that a benchmark can measure."""

    name: str
    #: Whether stacks are best given at full resolution, however large.
    wants_detail: bool

    def window_logits(self, windows: Sequence[Window]) -> Floats:
        """How suspicious each window is: (n,)."""
        ...

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """Where in each window."""
        ...

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """Marks in one stack, in any order."""
        ...


class RandomInLung:
    """A random place in the lung with a random score."""

    name = "random in the lung"
    wants_detail = False

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def window_logits(self, windows: Sequence[Window]) -> Floats:
        """Random numbers."""
        return self._rng.random(len(windows))

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """A random lung pixel of each window."""
        return [WindowPoints(self._place(w)) for w in windows]

    def _place(self, window: Window) -> Point:
        lung = _search_region(window)
        at = np.argwhere(lung if lung.any() else _window_pixels(window))
        row, column = at[self._rng.integers(len(at))]
        return _point(window.stack.volume, (window.slice_index, row, column))

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """Random lung voxels."""
        voxels = np.argwhere(stack.lungs.labels > 0)
        if not len(voxels):
            return []
        picked = voxels[self._rng.integers(0, len(voxels), MARKS_A_STACK)]
        return [StackMark(_point(stack.volume, voxel), float(self._rng.random())) for voxel in picked]


class CentrePrior:
    """The middle, whatever is there; then places around it, nearest first."""

    name = "centre prior"
    wants_detail = False
    _step_mm = 5.0

    def window_logits(self, windows: Sequence[Window]) -> Floats:
        """All equally suspicious."""
        return np.zeros(len(windows))

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """The middle of each window."""
        return [WindowPoints(w.centre_mm) for w in windows]

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """A lattice of places in the lung around the middle of the stack."""
        grid = stack.volume.grid
        reach = [np.arange(-12, 13) * self._step_mm] * 3
        places = np.stack(np.meshgrid(*reach, indexing="ij"), axis=-1).reshape(-1, 3) + grid.centre_mm
        inside = np.flatnonzero(grid.contains(places))
        index = np.clip(np.rint(grid.to_index(places[inside])).astype(int), 0, np.asarray(grid.shape) - 1)
        in_lung = inside[stack.lungs.labels[tuple(index.T)] > 0]
        distance = np.linalg.norm(places - np.asarray(grid.centre_mm), axis=1)
        nearest = in_lung[np.argsort(distance[in_lung], kind="stable")][:MARKS_A_STACK]
        return [StackMark(_as_point(places[n]), -float(distance[n])) for n in nearest]


class BlobDetector:
    """Bright blobs: the strongest response of the Laplacian of Gaussian over several sizes."""

    name = "LoG blobs"
    wants_detail = False

    def window_logits(self, windows: Sequence[Window]) -> Floats:
        """The strongest blob in the lung of each window."""
        return np.array([response for response, _ in self._strongest(windows)])

    def point_windows(self, windows: Sequence[Window]) -> list[WindowPoints]:
        """Where that blob is."""
        return [WindowPoints(place) for _, place in self._strongest(windows)]

    def _strongest(self, windows: Sequence[Window]) -> Iterator[tuple[float, Point]]:
        responses: dict[int, npt.NDArray[np.float32]] = {}
        for window in windows:
            key = id(window.stack)
            if key not in responses:
                responses[key] = blob_response(window.stack.volume)
            region = _search_region(window)
            region = region if region.any() else _window_pixels(window)
            masked = np.where(region, responses[key][window.slice_index], -np.inf)
            row, column = np.unravel_index(int(masked.argmax()), masked.shape)
            yield float(masked.max()), _point(window.stack.volume, (window.slice_index, row, column))

    def mark_stack(self, stack: Stack) -> list[StackMark]:
        """Local maxima of the response in the lung, strongest first."""
        from scipy import ndimage

        response = np.where(stack.lungs.labels > 0, blob_response(stack.volume), -np.inf)
        size = [2 * int(np.ceil(2.5 / spacing)) + 1 for spacing in stack.volume.grid.spacing_mm]
        peaks = np.argwhere((response == ndimage.maximum_filter(response, size=size)) & np.isfinite(response))
        values = response[tuple(peaks.T)]
        strongest = np.argsort(-values, kind="stable")[:MARKS_A_STACK]
        return [StackMark(_point(stack.volume, peaks[n]), float(values[n])) for n in strongest]


def blob_response(volume: Volume) -> npt.NDArray[np.float32]:
    """Scale-normalised Laplacian of Gaussian in mm, the largest over `BLOB_DIAMETERS_MM`; bright blobs are positive.

    Source: Lindeberg 1998, doi:10.1023/A:1008045108935; a ball of radius r answers most at sigma = r / sqrt(3).
    """
    from scipy import ndimage

    hu = np.clip(volume.array, *BLOB_HU)
    spacing = np.asarray(volume.grid.spacing_mm)
    best = np.full(hu.shape, -np.inf, dtype=np.float32)
    for diameter in BLOB_DIAMETERS_MM:
        sigma_mm = diameter / 2.0 / np.sqrt(3.0)
        laplacian = np.zeros(hu.shape, dtype=np.float32)
        for axis in range(3):
            order = [2 if other == axis else 0 for other in range(3)]
            curvature = ndimage.gaussian_filter(hu, sigma_mm / spacing, order=order, mode="nearest")
            laplacian += curvature / np.float32(spacing[axis] ** 2)
        np.maximum(best, -(sigma_mm**2) * laplacian, out=best)
    return best


def _window_pixels(window: Window) -> npt.NDArray[np.bool_]:
    """(rows, columns): pixels of the window's slice that lie inside the window."""
    grid = window.stack.volume.grid
    centre = grid.to_index(window.centre_mm)[1:]
    half = WINDOW_MM / 2.0 / np.asarray(grid.spacing_mm[1:])
    rows, columns = (np.abs(np.arange(n) - c) <= h for n, c, h in zip(grid.shape[1:], centre, half, strict=True))
    inside: npt.NDArray[np.bool_] = rows[:, None] & columns[None, :]
    return inside


def _search_region(window: Window) -> npt.NDArray[np.bool_]:
    region: npt.NDArray[np.bool_] = _window_pixels(window) & (window.stack.lungs.labels[window.slice_index] > 0)
    return region


def _point(volume: Volume, index: npt.ArrayLike) -> Point:
    return _as_point(volume.grid.to_mm(index))


def _as_point(values: Floats) -> Point:
    return float(values[0]), float(values[1]), float(values[2])
