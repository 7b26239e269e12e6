"""The two lungs on the small upright copy of a CT: found, told apart and repaired so that lesions stay inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.geometry.boxes import mask_box
from imaging.preprocessing.air import airways, body_tissue, is_gas, outside_air
from imaging.preprocessing.anatomy import Anatomy, Mask
from imaging.preprocessing.morphology import (
    closed_ball,
    closed_cube,
    grown,
    grown_ball,
    grown_cube,
    inside_ball,
    shrunk,
)

Labels = npt.NDArray[np.uint8]
RIGHT, LEFT = 1, 2

#: Lung against tissue; and what is surely lung, which a thin diaphragm or septum between two air spaces never is.
LUNG_LIMIT_HU = -400.0
CORE_LIMIT_HU = -600.0
#: Least volume of a piece with lung inside, and of both lungs together, in ml.
PIECE_ML = 8.0
LUNGS_ML = 150.0
#: How much of a lung's surface, where it was measured, has the body behind it; a cushion's has not.
TISSUE_SHARE = 0.8
#: How far lung may reach from what is surely lung, in mm: as far as a recess goes that is too thin to be surely lung.
REACH_MM = 15.0
#: Radius of the ball that closes vessels and small nodules anywhere, and large ones on the chest wall, in mm.
CLOSE_MM = 8.0
CLOSE_WALL_MM = 22.0
#: What the large ball fills must be at least this thick, or it is the chest wall's own curve, in mm.
NODULE_DEPTH_MM = 3.0
#: Half the width of the mediastinum above the heart in mm, and from which share of the lungs' height on that is.
MEDIASTINUM_MM = 42.0
UPPER_SHARE = 0.65
#: What lies outside a repaired surface counts as this little outside, so that the surface errs towards the chest wall.
REPAIR_MARGIN = 0.25


@dataclass(frozen=True, eq=False)
class LungShape:
    """Lungs on the small grid.

    Args:
        labels: 0 outside, 1 right, 2 left (the patient's); filled.
        field: float32, above 0 inside the lungs and crossing 0 at their surface, finer than a voxel.
    """

    labels: Labels
    field: npt.NDArray[np.float32]


def lung_shape(anatomy: Anatomy) -> LungShape | None:
    """The lungs of the small copy, or None where there are none."""
    outside = outside_air(anatomy)
    tubes = airways(anatomy, outside)
    parenchyma = _parenchyma(anatomy, outside, tubes)
    if parenchyma is None:
        return None
    sides = _sides(parenchyma, anatomy)
    repaired = _repaired(sides, tubes | outside, anatomy)
    return LungShape(repaired, _field(anatomy, parenchyma, repaired, tubes))


# --- what is lung ----------------------------------------------------------------------------------------------------
def _parenchyma(anatomy: Anatomy, outside: Mask, tubes: Mask) -> Mask | None:
    """Voxels of aerated lung; None where too little of it is found to be anybody's lungs."""
    from scipy.ndimage import label

    near_skin = grown(outside, 2)
    aerated = (anatomy.hu < LUNG_LIMIT_HU) & anatomy.measured & ~near_skin & ~tubes
    core = shrunk(aerated & (anatomy.hu < CORE_LIMIT_HU))
    pieces, count = label(core)
    if count == 0:
        return None
    is_lung = _lung_pieces(anatomy, body_tissue(anatomy), pieces, count)
    pieces[is_lung[pieces] == 0] = 0
    lung = aerated & _near_lung(pieces, is_lung, anatomy)
    lung = _large_pieces(lung, PIECE_ML / anatomy.voxel_ml)
    return lung if lung.sum() * anatomy.voxel_ml >= LUNGS_ML else None


def _near_lung(pieces: npt.NDArray[Any], is_lung: npt.NDArray[np.int8], anatomy: Anatomy) -> Mask:
    """Voxels within reach of a piece of lung and nearer to it than to gas."""
    from scipy.ndimage import distance_transform_edt

    near = np.zeros(pieces.shape, dtype=bool)
    box = mask_box(pieces)
    if box is not None:
        window = box.expanded(REACH_MM, anatomy.grid).clipped(anatomy.grid.shape).slices
        part = pieces[window]
        distance, nearest = distance_transform_edt(part == 0, sampling=anatomy.spacing_mm, return_indices=True)
        near[window] = (is_lung[part[tuple(nearest)]] == 1) & (distance <= REACH_MM)
    return near


def _lung_pieces(anatomy: Anatomy, body: Mask, pieces: npt.NDArray[Any], count: int) -> npt.NDArray[np.int8]:
    """For each piece: 1 lung, 0 too small to say (it goes with its surroundings), -1 gas or not inside a body."""
    from scipy.ndimage import find_objects

    verdict = np.zeros(count + 1, dtype=np.int8)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1) * anatomy.voxel_ml
    for number, box in enumerate(find_objects(pieces), start=1):
        if sizes[number] < PIECE_ML:
            continue
        piece = pieces[box] == number
        if is_gas(anatomy.hu[box][piece]) or _tissue_share(anatomy, body, piece, box) < TISSUE_SHARE:
            verdict[number] = -1
        else:
            verdict[number] = 1
    return verdict


def _tissue_share(anatomy: Anatomy, body: Mask, piece: Mask, box: tuple[slice, ...]) -> float:
    """Share of the body among the measured voxels three voxels around a piece (which was eroded by one)."""
    pad = 4
    wide = tuple(slice(max(0, s.start - pad), min(n, s.stop + pad)) for s, n in zip(box, anatomy.hu.shape, strict=True))
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
    near = np.zeros(anatomy.hu[wide].shape, dtype=bool)
    near[inner] = piece
    near |= shrunk(shrunk(grown(near, 2)))
    inner_shell = grown(near, 2)
    shell = grown(inner_shell) & ~inner_shell & anatomy.measured[wide]
    # Poorly aerated lung around the piece says nothing.
    shell &= (anatomy.hu[wide] < -850) | (anatomy.hu[wide] > -300)
    return float(body[wide][shell].mean()) if shell.any() else 0.0


def _large_pieces(mask: Mask, voxels: float) -> Mask:
    """Connected pieces of at least so many voxels."""
    from scipy.ndimage import label

    pieces, _ = label(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept: Mask = (sizes >= voxels)[pieces]
    return kept


# --- right and left --------------------------------------------------------------------------------------------------
def _sides(lung: Mask, anatomy: Anatomy) -> Labels:
    """1 for the right lung, 2 for the left; lungs that touch are cut where the bridge between them is thinnest."""
    from scipy.ndimage import distance_transform_edt

    seeds = _seeds(lung, _middle_column(anatomy), anatomy)
    box = mask_box(lung)
    if box is None or not (lung & (seeds == 0)).any():
        return seeds
    part = seeds[box.slices]
    nearest = distance_transform_edt(
        part == 0, sampling=anatomy.spacing_mm, return_distances=False, return_indices=True
    )
    labels = np.zeros_like(seeds)
    labels[box.slices] = np.where(lung[box.slices], part[tuple(nearest)], 0)
    return labels


def _seeds(lung: Mask, middle: float, anatomy: Anatomy) -> Labels:
    """Each piece of lung on the side of its centre; a piece that holds both lungs is eroded until it falls apart."""
    from scipy.ndimage import find_objects, label

    labels = np.zeros(lung.shape, dtype=np.uint8)
    pieces, count = label(lung)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    for number, box in enumerate(find_objects(pieces), start=1):
        piece = pieces[box] == number
        columns = np.arange(box[2].start, box[2].stop)
        right = float(piece[:, :, columns < middle].sum()) / sizes[number]
        if min(right, 1 - right) < 0.12 or sizes[number] * anatomy.voxel_ml < 100:
            labels[box][piece] = RIGHT if right > 0.5 else LEFT
        else:
            labels[box] += _parted(piece, anatomy.spacing_mm, columns, middle)
    return labels


def _parted(piece: Mask, spacing_mm: tuple[float, float, float], columns: npt.NDArray[Any], middle: float) -> Labels:
    """A piece that spans the middle, as seeds on both sides: deeper and deeper inside until they do not touch."""
    from scipy.ndimage import distance_transform_edt, label

    depth = distance_transform_edt(piece, sampling=spacing_mm)
    for least in np.arange(2.0, 40.0, 2.0):
        inside, count = label(piece & (depth > least))
        sizes = np.bincount(inside.ravel(), minlength=count + 1)[1:]
        big = np.flatnonzero(sizes > 0.05 * sizes.sum()) + 1
        if not big.size:
            break
        rights = [float((inside[:, :, columns < middle] == n).sum()) / sizes[n - 1] for n in big]
        if min(rights) < 0.3 and max(rights) > 0.7 and all(min(r, 1 - r) < 0.3 for r in rights):
            seeds = np.zeros(piece.shape, dtype=np.uint8)
            for number, right in zip(big, rights, strict=True):
                seeds[inside == number] = RIGHT if right > 0.5 else LEFT
            return seeds
    halves = np.where(columns < middle, RIGHT, LEFT).astype(np.uint8)
    return np.where(piece, halves, 0).astype(np.uint8)


def _middle_column(anatomy: Anatomy) -> float:
    """The column in the middle of the body's tissue."""
    weight = ((anatomy.hu > -300) & (anatomy.hu < 1000)).sum(axis=(0, 1)).astype(np.float64)
    total = np.cumsum(weight)
    return float(np.searchsorted(total, total[-1] / 2)) if total[-1] > 0 else anatomy.hu.shape[2] / 2


# --- repair ----------------------------------------------------------------------------------------------------------
def _repaired(sides: Labels, excluded: Mask, anatomy: Anatomy) -> Labels:
    """Each lung closed over its vessels, nodules and tumours, without its neighbour, the airways or the mediastinum."""
    between = _between(sides, anatomy)
    present = [side for side in (RIGHT, LEFT) if (sides == side).any()]
    with ThreadPoolExecutor(len(present)) as pool:  # the filters that take the time let other threads run
        closed = list(pool.map(lambda side: _closed(sides == side, between, anatomy), present))
    repaired = sides.copy()
    for side, filled in zip(present, closed, strict=True):
        repaired[filled & (repaired == 0) & ~excluded] = side
    return repaired


def _between(sides: Labels, anatomy: Anatomy) -> Mask:
    """Voxels between the innermost edges of both lungs: heart, vessels, spine, mediastinum.

    In the upper part of the chest, where there is no heart, no more than `MEDIASTINUM_MM` to either side of the middle.
    """
    right_to_come = np.logical_or.accumulate((sides == RIGHT)[:, :, ::-1], axis=2)[:, :, ::-1]
    left_so_far = np.logical_or.accumulate(sides == LEFT, axis=2)
    both = (sides == RIGHT).any(axis=2, keepdims=True) & (sides == LEFT).any(axis=2, keepdims=True)
    between: Mask = both & ~right_to_come & ~left_so_far
    heights = np.flatnonzero((sides > 0).any(axis=(1, 2)))
    upper = round(heights[0] + UPPER_SHARE * (heights[-1] - heights[0]))
    columns = np.abs(np.arange(sides.shape[2]) - _middle_column(anatomy)) * anatomy.spacing_mm[2]
    between[upper:, :, columns > MEDIASTINUM_MM] = False
    return between


def _closed(lung: Mask, between: Mask, anatomy: Anatomy) -> Mask:
    """One lung closed with a small ball everywhere and a large one on the chest wall, then without holes."""
    from scipy.ndimage import binary_fill_holes

    box = mask_box(lung)
    assert box is not None
    pad = tuple(int(np.ceil(CLOSE_WALL_MM / s)) + 2 for s in anatomy.spacing_mm)
    inner = np.pad(lung[box.slices], [(p, p) for p in pad])
    wide_between = np.pad(between[box.slices], [(p, p) for p in pad])
    small, large = (closed_ball(inner, radius, anatomy.spacing_mm) for radius in (CLOSE_MM, CLOSE_WALL_MM))
    wall = _thick_parts(large & ~inner & ~wide_between, anatomy.spacing_mm)
    filled = binary_fill_holes(small | wall)
    # Not in sagittal planes: there lung goes all around the root of the lung, which is mediastinum.
    for axis in (0, 1):
        filled |= _plane_holes(filled, axis, anatomy.spacing_mm)
    result = np.zeros(lung.shape, dtype=bool)
    result[box.slices] = filled[tuple(slice(p, n - p) for p, n in zip(pad, filled.shape, strict=True))]
    return result


def _thick_parts(mask: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """The parts of a mask that hold a ball of `NODULE_DEPTH_MM` radius, with what lies near it."""
    deep = inside_ball(mask, NODULE_DEPTH_MM, spacing_mm)
    return mask & grown_ball(deep, 3 * NODULE_DEPTH_MM, spacing_mm)


def _plane_holes(mask: Mask, axis: int, spacing_mm: tuple[float, float, float]) -> Mask:
    """Holes in single planes across `axis`, up to the size of a large vessel or tumour (20 cm^2)."""
    from scipy.ndimage import label

    structure = np.zeros((3, 3, 3), dtype=bool)
    cross = [1, 1, 1]
    for other in range(3):
        if other != axis:
            index = list(cross)
            for step in (0, 2):
                index[other] = step
                structure[tuple(index)] = True
    structure[1, 1, 1] = True
    pieces, _ = label(~mask, structure=structure)
    area = np.prod([s for a, s in enumerate(spacing_mm) if a != axis])
    sizes = np.bincount(pieces.ravel()) * float(area)
    sizes[0] = np.inf
    edge = np.unique(np.concatenate([np.take(pieces, [0, -1], axis=a).ravel() for a in range(3) if a != axis]))
    sizes[edge] = np.inf
    holes: Mask = (sizes <= 2000.0)[pieces]
    return holes


# --- the surface -----------------------------------------------------------------------------------------------------
def _field(anatomy: Anatomy, parenchyma: Mask, labels: Labels, tubes: Mask) -> npt.NDArray[np.float32]:
    """How far inside the lungs: -1 to 1, from HU where the surface is lung against tissue, so finer than a voxel."""
    inside = labels > 0
    field = np.where(inside, np.float32(1.0), np.float32(-1.0))
    surface = parenchyma | (grown(parenchyma) & ~inside & ~tubes)
    by_hu = np.clip((np.float32(LUNG_LIMIT_HU) - anatomy.hu) / np.float32(450.0), -1.0, 1.0)
    # Only the rim follows HU; deeper, vessels are part of the lung.
    rim = surface & grown(~inside)
    field[rim] = np.where(inside[rim], np.maximum(by_hu[rim], 0.05), np.minimum(by_hu[rim], -0.05))
    repaired = grown_cube(inside & ~parenchyma) & ~inside
    field[repaired] = np.maximum(field[repaired], np.float32(-REPAIR_MARGIN))
    # Dents narrower than two voxels: nodules of 4 or 5 mm on the pleura, too small for a closing of whole voxels.
    closed = closed_cube(field)
    closed[tubes] = field[tubes]
    return np.maximum(field, closed)
