"""Whole scans as further lung to train on: packed slices with a mask of where no nodule is known to be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from imaging.models.intensity import from_bytes
from pipelines.preparation.cutting import Stacks


def read_packed_scans(folder: Path, *, device: str = "cpu") -> list[tuple[str, Stacks, torch.Tensor]]:
    """Name, slices and allowed places (n, h, w) of each scan of a folder with scans.json, *.jls and *_allowed.npz."""
    import jpeg_ls

    scans = []
    for number, entry in enumerate(json.loads((folder / "scans.json").read_text(encoding="utf-8"))):
        stored = np.fromfile(folder / f"{number}.jls", np.uint8)
        ends = np.cumsum(entry["lengths"])
        slices = [jpeg_ls.decode(stored[e - n : e]) for e, n in zip(ends, entry["lengths"], strict=True)]
        hu = from_bytes(torch.from_numpy(np.stack(slices)))
        packed = np.load(folder / f"{number}_allowed.npz")["allowed"]
        allowed = np.unpackbits(packed, axis=-1, count=entry["shape"][2]).astype(bool)
        n = len(slices)
        stacks = Stacks(
            hu.half().to(device),
            np.zeros(n, np.int64),
            np.asarray(entry["z"], np.float64),
            np.full(n, entry["pixel_mm"]),
        )
        scans.append((entry["name"], stacks, torch.from_numpy(allowed).to(device)))
    return scans
