"""Crops in the layout of the LIDC crops, in which what is bright is what a reader outlined."""

from __future__ import annotations

import io
from pathlib import Path

import jpeg_ls
import numpy as np
import pandas as pd

#: HU of the made crops: lung, and whatever a reader has outlined.
LUNG_HU, NODULE_HU = -848.0, 120.0


def _nodule(
    folder_rows: list[dict], patient: str, nodule: int, split: str, readers: int, centre, radius: float, n: int
):
    for k in range(n):
        folder_rows.append(
            {
                "patient": patient,
                "nodule": nodule,
                "slice": k,
                "split": split,
                "readers": readers,
                "centre": centre,
                "radius": radius * np.sqrt(max(0.15, 1 - ((k - (n - 1) / 2) / (n / 2)) ** 2)),
                "z_mm": 2.0 * k,
            }
        )


def write_crops(folder: Path) -> Path:
    """A folder in the layout of the LIDC crops: four nodules of one to four readers, three patients."""
    rows: list[dict] = []
    _nodule(rows, "P1", 0, "train", 4, (60, 66), 6.0, 5)
    _nodule(rows, "P1", 1, "train", 1, (50, 80), 4.0, 5)
    _nodule(rows, "P2", 0, "train", 2, (64, 64), 9.0, 7)
    _nodule(rows, "P3", 0, "val", 3, (70, 60), 5.0, 5)
    rng = np.random.default_rng(0)
    stream, masks, lines, offset = io.BytesIO(), [], [], 0
    y, x = np.mgrid[:128, :128]
    for number, row in enumerate(rows):
        outline = np.hypot(y - row["centre"][0], x - row["centre"][1]) <= row["radius"]
        grey = np.full((128, 128), (LUNG_HU + 1024) / 8) + rng.integers(-2, 3, (128, 128))
        # Both nodules of P1 lie in one scan; their crops show one another.
        shown = outline
        if row["patient"] == "P1":
            other = next(
                o for o in rows if o["patient"] == "P1" and o["nodule"] != row["nodule"] and o["slice"] == row["slice"]
            )
            shown = outline | (np.hypot(y - other["centre"][0], x - other["centre"][1]) <= other["radius"])
        grey[shown] = (NODULE_HU + 1024) / 8
        coded = jpeg_ls.encode(grey.astype(np.uint8))
        stream.write(bytes(coded))
        masks.append(np.stack([outline & (reader < row["readers"]) for reader in range(4)]))
        lines.append(
            {key: row[key] for key in ("patient", "nodule", "slice", "split", "z_mm")}
            | {"row": number, "pixel_spacing": 0.7, "offset": offset, "length": len(coded)}
            | {"hu_slope": 8.0, "hu_intercept": -1024.0, "hu_source": 1, "slices_from_exact": 0}
            | {"origin_row": 200.0, "origin_col": 150.0}
        )
        offset += len(coded)
    table = pd.DataFrame(lines)
    table.to_csv(folder / "crops.csv", index=False)
    (folder / "crops.jls").write_bytes(stream.getvalue())
    np.savez(folder / "outlines.npz", masks=np.packbits(np.stack(masks), axis=-1))
    ratings = {"texture": 5.0, "calcification": 6.0, "margin": 5.0, "lobulation": 1.0, "spiculation": 1.0}
    nodules = table.drop_duplicates(["patient", "nodule"])[["patient", "nodule", "split", "pixel_spacing"]]
    nodules = nodules.assign(n_readers=[4, 1, 2, 3], series=["s1", "s1", "s2", "s3"], **ratings)
    nodules.assign(diameter_mm=[8.4, 5.6, 16.0, 6.5]).to_csv(folder / "nodules.csv", index=False)
    middle = table[(table.patient == "P3") & (table["slice"] == 2)].row.iloc[0]
    pd.DataFrame(
        {"row": [middle, middle], "centre_row": [70.0, 30.0], "centre_col": [60.0, 100.0], "label": [1, 0]}
    ).to_csv(folder / "windows_val.csv", index=False)
    return folder
