"""All training cases of the LIDC crops, LUNA16's candidates and a few whole scans, in one seeded pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imaging.models.vision import VisionConfig
from imaging.training.cases import CaseSet, cases_sha256
from pipelines.preparation.candidates import candidate_windows
from pipelines.preparation.lidc_crops import read_crops
from pipelines.preparation.scans import read_packed_scans
from pipelines.preparation.synthesis import synthesize
from pipelines.preparation.windows import free_windows, holding_windows, listed_windows, stack_windows


@dataclass(frozen=True)
class Amounts:
    """How many windows are tried: for each nodule, free of nodules in crops, and in each whole scan."""

    a_nodule: int = 24
    free: int = 200_000
    a_scan: int = 10_000


def prepare_collection(
    crops: Path,
    candidates: Path | None,
    scans: Path | None,
    out: Path,
    *,
    amounts: Amounts | None = None,
    seed: int = 0,
    device: str = "cpu",
    on_part: Callable[[str, int], None] | None = None,
) -> dict[str, Any]:
    """Write ``out/train`` (training cases), ``out/val`` (the frozen validation list) and ``out/lineage.json``.

    Args:
        crops: folder with crops.csv, crops.jls, outlines.npz, nodules.csv and windows_val.csv.
        candidates: folder with candidates.csv and candidates.jpgs, or None.
        scans: folder with scans.json and packed slices, or None.
        out: a new folder.
        amounts: how many windows to try.
        seed: of every choice.
        device: where windows are cut.
        on_part: hears the name and the size of each part.
    """
    amounts, config = amounts or Amounts(), VisionConfig()
    parts = []
    for name, part in _parts(crops, candidates, scans, config, amounts, np.random.default_rng(seed), device):
        parts.append(part)
        if on_part is not None:
            on_part(name, len(part))
    CaseSet.joined(parts).save(out / "train")
    val = read_crops(crops, split="val", device=device)
    listed_windows(val, pd.read_csv(crops / "windows_val.csv"), config).save(out / "val")
    lineage = {
        "seed": seed,
        "amounts": asdict(amounts),
        "window": config.to_json(),
        "train": cases_sha256(out / "train"),
        "val": cases_sha256(out / "val"),
        "cases": sum(len(p) for p in parts),
    }
    (out / "lineage.json").write_text(json.dumps(lineage, indent=1) + "\n", encoding="utf-8")
    return lineage


def _parts(
    crops: Path,
    candidates: Path | None,
    scans: Path | None,
    config: VisionConfig,
    amounts: Amounts,
    rng: np.random.Generator,
    device: str,
) -> Iterator[tuple[str, CaseSet]]:
    train = read_crops(crops, split="train", device=device)
    yield "with a nodule", holding_windows(train, config, rng, a_nodule=amounts.a_nodule)
    free = free_windows(train, config, rng, number=amounts.free)
    yield "free of nodules", free
    yield "simulated in crops", synthesize(free, config, rng, device=device)
    if candidates is not None:
        yield "candidates", candidate_windows(candidates, config, rng, split="train")
    for name, stacks, allowed in read_packed_scans(scans, device=device) if scans is not None else ():
        lung = stack_windows(stacks, allowed, config, rng, number=amounts.a_scan, name="scans")
        yield f"scan {name}", lung
        yield f"simulated in scan {name}", synthesize(lung, config, rng, device=device)
