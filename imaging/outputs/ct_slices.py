"""The slice of the CT that a finding lies in, as a reader finds it again: its image number and its position.

Whatever would not lead to that slice surely is left out: the position where slices can be counted in more than one way
(a tilted gantry, slices that are not axial), everything where slices were resampled or filled in, a number that two
images of the series bear (see `imaging.geometry.volume.Instance`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imaging.findings import CtSlice, Point, Report
from imaging.geometry.grid import Grid
from imaging.geometry.upright import STRAIGHT_MM, upright_grid
from imaging.geometry.volume import Instance, Volume

#: A place midway between two slices lies in the same one whatever format the CT came in: headers are rounded.
_DECIMALS = 3


def with_slices(report: Report, volume: Volume) -> Report:
    """The report with the slice of each of its findings in this CT."""
    findings = (replace(one, ct_slice=find_slice(volume, one.centre_mm)) for one in report.findings)
    return replace(report, findings=tuple(findings))


def find_slice(volume: Volume, point_mm: Point) -> CtSlice | None:
    """The slice nearest to an LPS point, or None where nothing sure can be said of it."""
    grid, instances = volume.grid, volume.origin.instances if volume.origin else ()
    if not _has_own_slices(volume) or not grid.contains(point_mm):
        return None
    axial = _axial_grid(grid)
    if instances and (axial is None or not _lies_axially(grid)):
        return _named(instances, _nearest(grid, point_mm), CtSlice(point_mm))
    if axial is None:
        return None
    position = _nearest(axial, point_mm)
    found = CtSlice(point_mm, number=position + 1, of=axial.shape[0])
    from_feet = grid.affine[2, 0] > 0
    return _named(instances, position if from_feet else grid.shape[0] - 1 - position, found) if instances else found


def _has_own_slices(volume: Volume) -> bool:
    """Whether slices are those of the source, not resampled, filled in or cut out."""
    if any(notice.code == "geometry.resampled" for notice in volume.warnings):
        return False
    origin = volume.origin
    return origin is None or origin.format != "dicom" or len(origin.instances) == volume.grid.shape[0]


def _axial_grid(grid: Grid) -> Grid | None:
    """The grid whose axial slices `nodulus view` counts from the feet, or None where it would have to resample."""
    upright = upright_grid(grid)
    corners_mm = grid.to_mm(np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1).T)
    voxels_mm = upright.to_mm(np.rint(upright.to_index(corners_mm)))
    moved_mm = np.linalg.norm(voxels_mm - corners_mm, axis=1).max()
    return upright if sorted(upright.shape) == sorted(grid.shape) and moved_mm <= STRAIGHT_MM else None


def _lies_axially(grid: Grid) -> bool:
    return int(np.abs(grid.direction[:, 0]).argmax()) == 2


def _nearest(grid: Grid, point_mm: Point) -> int:
    """The number (from 0) of the slice nearest to a point inside the grid."""
    place = round(float(grid.to_index(point_mm)[0]), _DECIMALS)
    return int(np.clip(np.rint(place), 0, grid.shape[0] - 1))


def _named(instances: Sequence[Instance], index: int, found: CtSlice) -> CtSlice | None:
    """With the image of that slice; None if nothing is left to be said."""
    instance = instances[index]
    is_unique = sum(_key(one) == _key(instance) for one in instances) == 1
    if is_unique and instance.sop_instance_uid:
        is_frame = instance.frame_number is not None
        found = replace(
            found,
            instance_number=None if is_frame else instance.number,
            frame_number=instance.number if is_frame else None,
            sop_instance_uid=instance.sop_instance_uid,
        )
    return found if found != CtSlice(found.centre_mm) else None


def _key(instance: Instance) -> tuple[str, int | None]:
    return instance.sop_instance_uid, instance.frame_number
