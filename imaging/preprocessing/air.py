"""Air that is not lung: around the patient, in the windpipe and its main branches, in stomach and bowel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.preprocessing.anatomy import Anatomy, Mask

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
    from scipy.ndimage import binary_dilation, label

    air = (anatomy.hu < AIR_LIMIT_HU) & anatomy.measured
    rim = np.zeros(air.shape, dtype=bool)
    rim[:, [0, -1], :] = True
    rim[:, :, [0, -1]] = True
    rim |= binary_dilation(~anatomy.measured, structure=IN_PLANE)
    pieces, _ = label(air, structure=np.ones((3, 3, 3)))
    touching = np.unique(pieces[rim & air])
    return np.isin(pieces, touching[touching > 0])


def body_tissue(anatomy: Anatomy) -> Mask:
    """The patient's own tissue, without table and cushions: the largest piece once thin contacts are cut."""
    from scipy.ndimage import binary_dilation, binary_erosion, label

    tissue = anatomy.hu > -300
    pieces, _ = label(binary_erosion(tissue))
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    body: Mask = binary_dilation(pieces == sizes.argmax(), iterations=2) & tissue & (sizes.max() > 0)
    return body


def airways(anatomy: Anatomy, outside: Mask) -> Mask:
    """Windpipe and main bronchi, one voxel thicker than their air; empty where no windpipe is in the scan."""
    from scipy.ndimage import binary_dilation, label

    seed = _windpipe(anatomy, outside)
    if not seed.any():
        return seed
    best = seed
    for limit in (-960.0, -945.0, -930.0, -915.0, -900.0, -880.0, -860.0):
        pieces, _ = label((anatomy.hu < limit) & ~outside)
        wanted = np.unique(pieces[seed])
        grown = np.isin(pieces, wanted[wanted > 0])
        if grown.sum() * anatomy.voxel_ml > AIRWAY_ML:
            break
        best = grown | seed
    thicker: Mask = binary_dilation(best, structure=np.ones((3, 3, 3))) & (anatomy.hu < -300)
    return thicker


def _windpipe(anatomy: Anatomy, outside: Mask) -> Mask:
    """The tallest stack of small, round, dark discs near the body's middle, or nothing."""
    discs = _dark_discs(anatomy, outside)
    chains, count = _labelled(discs)
    best, tallest = np.zeros_like(discs), TRACHEA_HEIGHT_MM
    for number in range(1, count + 1):
        chain = chains == number
        height = float(chain.any(axis=(1, 2)).sum()) * anatomy.spacing_mm[0]
        if height > tallest:
            best, tallest = chain, height
    return best


def _labelled(mask: Mask) -> tuple[npt.NDArray[Any], int]:
    from scipy.ndimage import label

    pieces, count = label(mask)
    return pieces, int(count)


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
    for number, box in enumerate(find_objects(pieces), start=1):
        height, width = (box[1].stop - box[1].start) * row_mm, (box[2].stop - box[2].start) * column_mm
        area = sizes[number] * row_mm * column_mm
        off_middle = abs((box[2].start + box[2].stop - 1) / 2 - middle) * column_mm
        keep[number] = (
            TRACHEA_AREA_MM2[0] <= area <= TRACHEA_AREA_MM2[1]
            and max(height, width) <= 2.2 * min(height, width)
            and area >= 0.5 * height * width
            and off_middle <= 45.0
        )
    discs: Mask = keep[pieces]
    return discs


def is_gas(hu_inside: npt.NDArray[np.floating[Any]]) -> bool:
    """Whether a piece holds gas rather than lung: nearly all of it is as dark as air, without vessels."""
    return float(np.mean(hu_inside < -940.0)) > 0.8
