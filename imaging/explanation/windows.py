"""Where the windows of an explanation lie, and how their token maps come onto the CT's own grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from imaging.findings import Finding, Point
from imaging.geometry import Grid, Volume
from imaging.geometry.boxes import Box, crop_grid
from imaging.geometry.resample import resample_array
from imaging.models.cams import FINE

if TYPE_CHECKING:
    from imaging.models.weights import LoadedModel
    from imaging.preprocessing.lungs import Lungs

Floats32 = npt.NDArray[np.float32]

#: Windows lie in the patient's axial planes: (plane, row, column) grow to the head, to the back, to the left.
AXES: Final[npt.NDArray[np.float64]] = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
#: Maps are kept this far outside the lungs, mm.
LUNG_MARGIN_MM = 5.0
#: Windows go on this far above and below a finding, mm.
PLANE_MARGIN_MM = 4.0
#: A finding of unknown size is taken to be so wide, mm.
USUAL_DIAMETER_MM = 8.0
#: Findings wider than this get four windows a plane, mm: one window would show their inside only; and planes twice as
#: far apart.
WIDE_MM = 18.0
#: Planes of whole-lung maps lie this far apart, mm.
LUNG_STEP_MM = 4.0
#: So many tokens from the border of a window inwards its map fades out.
FADE_TOKENS: Final = 2


@dataclass(frozen=True, eq=False)
class WindowStack:
    """Windows on one lattice of parts of tokens.

    Args:
        lattice: (plane, row, column), `FINE` a token along rows and columns, to LPS mm.
        centres_mm: of each window.
        corners: (n, 3) index of each window's first part in the lattice.
        parts: rows and columns in a window.
    """

    lattice: Grid
    centres_mm: tuple[Point, ...]
    corners: npt.NDArray[np.int_]
    parts: tuple[int, int]


def part_shape(model: LoadedModel) -> tuple[int, float, float]:
    """Parts along a window's side, a part's side in mm, and the distance between a window's slices in mm."""
    config: Any = model.net.vision.config
    part_mm = float(config.token_mm) / FINE
    return round(config.window_pixels * config.pixel_mm / part_mm), part_mm, float(config.slice_step_mm)


def stack_around(model: LoadedModel, volume: Volume, finding: Finding) -> WindowStack:
    """Windows through a finding, one plane after the other; four a plane where it is wider than a window shows."""
    side, part_mm, step_mm = part_shape(model)
    diameter = finding.long_axis_mm or finding.diameter_mm or USUAL_DIAMETER_MM
    step_mm *= 2 if diameter > WIDE_MM else 1
    planes = 2 * int(np.ceil((diameter / 2 + PLANE_MARGIN_MM) / step_mm)) + 1
    shift = int(np.ceil(diameter / 4 / part_mm)) if diameter > WIDE_MM else 0
    offsets = [-shift, shift] if shift else [0]
    width = side + 2 * shift
    lattice = _lattice(volume.grid, finding.centre_mm, (planes, width, width), step_mm, part_mm)
    corners = [(p, r + shift, c + shift) for p in range(planes) for r in offsets for c in offsets]
    return _stack(lattice, np.array(corners), side)


def lung_stacks(model: LoadedModel, volume: Volume, lungs: Lungs) -> list[WindowStack]:
    """Windows all over the lungs, overlapping by a third; one stack a plane."""
    side, part_mm, _ = part_shape(model)
    index = np.argwhere(lungs.labels[:, ::4, ::4]) * (1, 4, 4)
    along = lungs.grid.to_mm(index) @ AXES
    low, high = along.min(axis=0) - LUNG_MARGIN_MM, along.max(axis=0) + LUNG_MARGIN_MM
    stride = max(1, side * 2 // 3)
    stacks = []
    for depth in np.arange(low[0], high[0] + LUNG_STEP_MM, LUNG_STEP_MM):
        here = along[np.abs(along[:, 0] - depth) <= max(LUNG_STEP_MM, lungs.grid.spacing_mm[0])][:, 1:]
        if not len(here):
            continue
        counts = [int(np.ceil((high[a] - low[a]) / part_mm / stride)) * stride + side for a in (1, 2)]
        middle = AXES @ np.array([depth, *((low[1:] + high[1:]) / 2)])
        centre = (float(middle[0]), float(middle[1]), float(middle[2]))
        lattice = _lattice(volume.grid, centre, (1, counts[0], counts[1]), LUNG_STEP_MM, part_mm)
        places = (lattice.to_index(here @ AXES[:, 1:].T + depth * AXES[:, 0]))[:, 1:]
        corners = [
            (0, r, c)
            for r in range(0, counts[0] - side + 1, stride)
            for c in range(0, counts[1] - side + 1, stride)
            if ((places >= (r, c)) & (places < (r + side, c + side))).all(axis=1).any()
        ]
        if corners:
            stacks.append(_stack(lattice, np.array(corners), side))
    return stacks


def _lattice(grid: Grid, centre_mm: Point, shape: tuple[int, int, int], step_mm: float, part_mm: float) -> Grid:
    """A lattice of parts of tokens about a place, along the axes that windows have."""
    affine = np.eye(4)
    affine[:3, :3] = AXES * (step_mm, part_mm, part_mm)
    affine[:3, 3] = np.asarray(centre_mm) - affine[:3, :3] @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, affine, grid.frame_of_reference_uid)


def _stack(lattice: Grid, corners: npt.NDArray[np.int_], side: int) -> WindowStack:
    middle = lattice.to_mm(corners + np.array([0, (side - 1) / 2, (side - 1) / 2]))
    centres = tuple((float(x), float(y), float(z)) for x, y, z in middle)
    return WindowStack(lattice, centres, corners, (side, side))


def paint(result: Floats32, volume: Volume, lungs: Lungs, stack: WindowStack, maps: Floats32) -> None:
    """Lay maps (n, rows, columns) over the CT: the larger value where windows overlap, linear between their parts.

    A map fades out towards the border of its window, where the network sees one side of a thing only.
    """
    values = np.zeros(stack.lattice.shape, dtype=np.float32)
    faded = maps * _feather(stack.parts)
    for (plane, row, column), window in zip(stack.corners, faded, strict=True):
        part = values[plane, row : row + stack.parts[0], column : column + stack.parts[1]]
        np.maximum(part, window, out=part)
    padded, lattice = _padded(values, stack.lattice)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in lattice.shape])).reshape(3, -1).T
    index = volume.grid.to_index(lattice.to_mm(corners))
    low, high = np.floor(index.min(axis=0)).astype(int), np.ceil(index.max(axis=0)).astype(int) + 1
    box = Box((low[0], low[1], low[2]), (high[0], high[1], high[2])).clipped(volume.grid.shape)
    if box.is_empty:
        return
    spread = resample_array(padded, lattice, crop_grid(volume.grid, box), order=1, fill=0.0)
    spread[~_near_lungs(lungs, box)] = 0
    part = result[box.slices]
    np.maximum(part, spread, out=part)


def _feather(parts: tuple[int, int]) -> Floats32:
    """Weights from near 0 at a window's border to 1 from `FADE_TOKENS` inside; (rows, columns)."""
    edges = []
    for count in parts:
        inwards = np.minimum(np.arange(count), np.arange(count)[::-1]) + 0.5
        edges.append(np.minimum(inwards / (FADE_TOKENS * FINE), 1.0).astype(np.float32))
    return np.minimum.outer(*edges)


def _padded(values: Floats32, lattice: Grid) -> tuple[Floats32, Grid]:
    """A rim of zeros, so that the map ends in a slope and not in a step."""
    affine = np.array(lattice.affine)
    affine[:3, 3] = lattice.to_mm((-1, -1, -1))
    shape = (lattice.shape[0] + 2, lattice.shape[1] + 2, lattice.shape[2] + 2)
    return np.pad(values, 1), Grid(shape, affine, lattice.frame_of_reference_uid)


def _near_lungs(lungs: Lungs, box: Box) -> npt.NDArray[np.bool_]:
    """Which voxels of a box lie in the lungs or in their margin."""
    from scipy import ndimage

    wide = box.expanded(LUNG_MARGIN_MM, lungs.grid).clipped(lungs.grid.shape)
    inside = lungs.labels[wide.slices] > 0
    sizes = [2 * round(LUNG_MARGIN_MM / s) + 1 for s in lungs.grid.spacing_mm]
    for axis, size in enumerate(sizes):
        inside = ndimage.maximum_filter1d(inside.view(np.uint8), size, axis=axis).view(bool)
    inner = tuple(slice(a - b, a - b + n) for a, b, n in zip(box.start, wide.start, box.shape, strict=True))
    near: npt.NDArray[np.bool_] = inside[inner]
    return near
