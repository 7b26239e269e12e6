"""Air that is not lung: around the patient, in the windpipe and its main branches, in stomach and bowel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.preprocessing.anatomy import Anatomy, Mask
from imaging.preprocessing.morphology import grown, grown_cube, of_pieces, shrunk

#: Below this a voxel of the small copy is air rather than lung, unless the lung is badly emphysematous.
AIR_LIMIT_HU = -930.0
#: A windpipe's cross section in mm^2, its least height in mm, and the most that it and the main bronchi hold, in ml.
TRACHEA_AREA_MM2 = (60.0, 900.0)
TRACHEA_HEIGHT_MM = 20.0
AIRWAY_ML = 90.0
IN_PLANE = np.array([[[0, 0, 0]] * 3, [[0, 1, 0], [1, 1, 1], [0, 1, 0]], [[0, 0, 0]] * 3], dtype=bool)


def outside_air(anatomy: Anatomy) -> Mask:
    """Air around the patient: what is air and connected, within the stack, to the sides of the field of view.

    Lung that the field of view cuts off stays lung, because it is not as dark as air.
    """
    from scipy.ndimage import label

    air = (anatomy.hu < AIR_LIMIT_HU) & anatomy.measured
    rim = np.zeros(air.shape, dtype=bool)
    rim[:, [0, -1], :] = True
    rim[:, :, [0, -1]] = True
    if not anatomy.measured.all():
        rim |= _grown_in_plane(~anatomy.measured)
    pieces, _ = label(air, structure=np.ones((3, 3, 3)))
    return of_pieces(pieces, np.unique(pieces[rim & air]))


def _grown_in_plane(mask: Mask) -> Mask:
    """A mask with the neighbours of each voxel in its own slice."""
    result = mask.copy()
    result[:, 1:] |= mask[:, :-1]
    result[:, :-1] |= mask[:, 1:]
    result[:, :, 1:] |= mask[:, :, :-1]
    result[:, :, :-1] |= mask[:, :, 1:]
    return result


def body_tissue(anatomy: Anatomy) -> Mask:
    """The patient's own tissue, without table and cushions: the largest piece once thin contacts are cut."""
    from scipy.ndimage import label

    tissue = anatomy.hu > -300
    pieces, _ = label(shrunk(tissue))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body: Mask = grown(pieces == sizes.argmax(), 2) & tissue & (sizes.max() > 0)
    return body


def airways(anatomy: Anatomy, outside: Mask) -> Mask:
    """Windpipe and main bronchi, one voxel thicker than their air; empty where no windpipe is in the scan."""
    from scipy.ndimage import label

    seed = _windpipe(anatomy, outside)
    if not seed.any():
        return seed
    best = seed
    for limit in (-960.0, -945.0, -930.0, -915.0, -900.0, -880.0, -860.0):
        pieces, _ = label((anatomy.hu < limit) & ~outside)
        branches = of_pieces(pieces, np.unique(pieces[seed]))
        if np.count_nonzero(branches) * anatomy.voxel_ml > AIRWAY_ML:
            break
        best = branches | seed
    thicker: Mask = grown_cube(best) & (anatomy.hu < -300)
    return thicker


def _windpipe(anatomy: Anatomy, outside: Mask) -> Mask:
    """The tallest stack of small, round, dark discs near the body's middle, or nothing."""
    from scipy.ndimage import find_objects, label

    discs = _dark_discs(anatomy, outside)
    chains, _ = label(discs)
    best, tallest = np.zeros_like(discs), TRACHEA_HEIGHT_MM
    for number, box in enumerate(find_objects(chains), start=1):
        chain = chains[box] == number
        height = float(chain.any(axis=(1, 2)).sum()) * anatomy.spacing_mm[0]
        if height > tallest:
            best, tallest = np.zeros_like(discs), height
            best[box] = chain
    return best


def _dark_discs(anatomy: Anatomy, outside: Mask) -> Mask:
    """Dark pieces of single axial slices with the size, roundness and place of a windpipe's cross section."""
    from scipy.ndimage import find_objects, label

    body = anatomy.hu > -300
    columns = np.flatnonzero(body.any(axis=(0, 1)))
    middle = float((columns[0] + columns[-1]) / 2) if columns.size else anatomy.hu.shape[2] / 2
    pieces, _ = label((anatomy.hu < -850) & ~outside & anatomy.measured, structure=IN_PLANE)
    sizes = np.bincount(pieces.ravel())
    row_mm, column_mm = anatomy.spacing_mm[1:]
    keep = np.zeros(len(sizes), dtype=bool)
    boxes = find_objects(pieces)
    fitting = (sizes * row_mm * column_mm >= TRACHEA_AREA_MM2[0]) & (sizes * row_mm * column_mm <= TRACHEA_AREA_MM2[1])
    for number in np.flatnonzero(fitting[1:]) + 1:
        box = boxes[number - 1]
        height, width = (box[1].stop - box[1].start) * row_mm, (box[2].stop - box[2].start) * column_mm
        area = sizes[number] * row_mm * column_mm
        off_middle = abs((box[2].start + box[2].stop - 1) / 2 - middle) * column_mm
        keep[number] = (
            max(height, width) <= 2.2 * min(height, width) and area >= 0.5 * height * width and off_middle <= 45.0
        )
    discs: Mask = keep[pieces]
    return discs


def is_gas(hu_inside: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether a piece holds gas rather than lung: nearly all of it is as dark as air, without vessels."""
    return float(np.mean(hu_inside < -940.0)) > 0.8
