"""Doubts about a scan that is good enough to be scored: what is cut off, thick, sharp, metallic or single."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from imaging.errors import Notice
from imaging.geometry.boxes import mask_box
from imaging.geometry.volume import Volume
from imaging.preprocessing.anatomy import Anatomy
from imaging.preprocessing.lung_shape import LEFT, RIGHT, LungShape

#: Slices further apart or thicker than this are thick, in mm.
THICK_MM = 3.0
#: Lung on the last measured voxel of a side counts as cut off from this area on, in mm^2.
CUT_MM2 = 150.0
#: Lung that is cut where its section is at least this share of its largest section: a part of the chest only.
PARTIAL_SHARE = 0.25
#: Less than this share of both lungs on one side: a single lung.
SINGLE_SHARE = 0.06
#: Metal: voxels above this, and how much of it makes a notice.
METAL_HU = 2500.0
METAL_ML = 0.5
METAL_MARGIN_MM = 20.0


def scan_notices(volume: Volume, anatomy: Anatomy, shape: LungShape) -> tuple[Notice, ...]:
    """Every doubt about the scan, in a fixed order."""
    found = [
        _thick(volume),
        _sharp(volume, anatomy),
        *_cut(anatomy, shape),
        _single(shape),
        _metal(volume, anatomy, shape),
    ]
    return tuple(n for n in found if n is not None)


def _thick(volume: Volume) -> Notice | None:
    distances = 1.0 / np.linalg.norm(volume.grid.inverse[:3, :3], axis=1)
    thickness = volume.origin.slice_thickness_mm if volume.origin else None
    worst = max(float(distances.max()), thickness or 0.0)
    if worst <= THICK_MM + 0.05:
        return None
    return Notice("series.thick_slices", f"slices are {worst:.1f} mm thick or apart; small nodules may be missed")


# --- kernel ----------------------------------------------------------------------------------------------------------
#: Fine-grained noise in soft tissue above which an image is sharp whatever its kernel is called, in HU.
SHARP_NOISE_HU = 25.0
#: Names of sharp kernels: Siemens from 60 on (and lung kernels such as Bl57), GE, Philips, Canon.
SHARP_NAMES = re.compile(
    r"^(?:[A-Z][A-Za-z]?[6-9]\d[a-z]*|Bl5[4-9][a-z]*|LUNG\d*|BONE|BONEPLUS|EDGE|L|Y[CDE]|D|E|FC(?:3\d|5\d|8\d))$"
)
SOFT_TISSUE_HU = (-20.0, 120.0)
PATCH = 6


def _sharp(volume: Volume, anatomy: Anatomy) -> Notice | None:
    kernel = (volume.origin.convolution_kernel if volume.origin else None) or ""
    named = [part for part in re.split(r"[\\,\[\]'\s]+", kernel) if SHARP_NAMES.match(part)]
    noise = fine_noise_hu(volume.array)
    if not named and (noise is None or noise <= SHARP_NOISE_HU):
        return None
    facts = [f"kernel {kernel}"] if kernel else []
    facts += [] if noise is None else [f"{noise:.0f} HU of fine-grained noise in soft tissue"]
    return Notice("series.sharp_kernel", f"the image is sharp ({', '.join(facts)}); noise may look like small nodules")


def fine_noise_hu(array: npt.NDArray[np.float32], *, slices: int = 16) -> float | None:
    """Noise between neighbouring columns in patches of soft tissue, in HU; None where there is no soft tissue.

    The root mean square difference of neighbours over the square root of 2, in the quietest quarter of the patches:
    equal to the standard deviation for white noise, less where a soft kernel has spread it.
    """
    found = []
    for index in np.unique(np.linspace(0, array.shape[0] - 1, slices).astype(int)):
        plane = array[index]
        rows, columns = (n // PATCH for n in plane.shape)
        if min(rows, columns) == 0:
            return None
        cut = plane[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
        mean = cut.mean(axis=(1, 3))
        patches = cut.transpose(0, 2, 1, 3)[(mean > SOFT_TISSUE_HU[0]) & (mean < SOFT_TISSUE_HU[1])]
        found.append(np.sqrt((np.diff(patches, axis=2) ** 2).mean(axis=(1, 2)) / 2))
    noise = np.concatenate(found)
    return float(np.percentile(noise, 25)) if noise.size >= 50 else None


# --- coverage --------------------------------------------------------------------------------------------------------
#: Direction in the small copy -> what to call it.
SIDES = {
    (0, 1): "the head",
    (0, -1): "the feet",
    (1, 1): "the back",
    (1, -1): "the front",
    (2, 1): "the left",
    (2, -1): "the right",
}


def _cut(anatomy: Anatomy, shape: LungShape) -> list[Notice]:
    """Where lung reaches the end of what was measured, and whether much of it lies beyond."""
    lung = shape.labels > 0
    cut, partial = [], []
    for (axis, sign), name in SIDES.items():
        area = _cut_mm2(lung, anatomy, axis, sign)
        if area < CUT_MM2:
            continue
        cut.append(f"towards {name} ({area / 100:.0f} cm2)")
        if area >= PARTIAL_SHARE * _largest_section_mm2(lung, anatomy, axis):
            partial.append(name)
    notices = []
    if partial:
        notices.append(
            Notice("lungs.partial", f"only a part of the lungs was scanned: they go on towards {_and(partial)}")
        )
    if cut:
        notices.append(Notice("lungs.truncated", f"lung is cut off where the scan ends: {', '.join(cut)}"))
    return notices


def _and(names: list[str]) -> str:
    return " and ".join(names)


def _face_mm2(anatomy: Anatomy, axis: int) -> float:
    return float(anatomy.grid.voxel_volume_mm3 * np.linalg.norm(anatomy.grid.inverse[axis, :3]))


def _cut_mm2(lung: npt.NDArray[np.bool_], anatomy: Anatomy, axis: int, sign: int) -> float:
    """Area of lung whose neighbour on one side was not measured."""
    beyond = np.roll(~anatomy.measured, -sign, axis=axis)
    edge: list[slice | int] = [slice(None)] * 3
    edge[axis] = -1 if sign > 0 else 0
    beyond[tuple(edge)] = True
    return float((lung & beyond).sum()) * _face_mm2(anatomy, axis)


def _largest_section_mm2(lung: npt.NDArray[np.bool_], anatomy: Anatomy, axis: int) -> float:
    others = tuple(a for a in range(3) if a != axis)
    return float(lung.sum(axis=others).max()) * _face_mm2(anatomy, axis)


def _single(shape: LungShape) -> Notice | None:
    right, left = (int((shape.labels == side).sum()) for side in (RIGHT, LEFT))
    if min(right, left) >= SINGLE_SHARE * (right + left):
        return None
    name = "right" if right > left else "left"
    return Notice("lungs.single", f"aerated lung was found on the patient's {name} side only")


def _metal(volume: Volume, anatomy: Anatomy, shape: LungShape) -> Notice | None:
    """Metal in or near the lungs, not leads on the skin; undiluted contrast in a vein is as dense and streaks too."""
    voxels = _voxels_above(volume, METAL_HU)
    millilitres = volume.grid.voxel_volume_mm3 / 1000.0
    if len(voxels) * millilitres < METAL_ML:
        return None
    millilitres *= _near_lungs(voxels, volume, anatomy, shape)
    if millilitres < METAL_ML:
        return None
    message = f"{millilitres:.1f} ml beside the lungs are denser than {METAL_HU:.0f} HU: metal or undiluted contrast"
    return Notice("lungs.implant", message)


def _voxels_above(volume: Volume, limit_hu: float) -> npt.NDArray[np.intp]:
    """Indices (n, 3) of the voxels above a limit; slice by slice, to keep memory low."""
    found = [np.flatnonzero(plane > limit_hu) for plane in volume.array]
    slices = np.repeat(np.arange(len(found)), [len(f) for f in found])
    rows, columns = np.divmod(np.concatenate(found), volume.array.shape[2])
    return np.column_stack([slices, rows, columns])


def _near_lungs(voxels: npt.NDArray[np.intp], volume: Volume, anatomy: Anatomy, shape: LungShape) -> int:
    """How many of the CT's voxels lie within `METAL_MARGIN_MM` of a lung."""
    from scipy.ndimage import distance_transform_edt

    box = mask_box(shape.labels)
    assert box is not None
    window = box.expanded(METAL_MARGIN_MM, anatomy.grid).clipped(anatomy.grid.shape)
    distance = distance_transform_edt(shape.labels[window.slices] == 0, sampling=anatomy.spacing_mm)
    index = np.rint(anatomy.grid.to_index(volume.grid.to_mm(voxels))).astype(int) - window.start
    inside = ((index >= 0) & (index < window.shape)).all(axis=1)
    return int((distance[tuple(index[inside].T)] <= METAL_MARGIN_MM).sum())
