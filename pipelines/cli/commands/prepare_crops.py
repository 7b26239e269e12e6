"""``nodulus prepare crops``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.cli.options import Count, OutputFolder, Seed, Voice
from pipelines.cli.speak import progress, tell


def crops(
    folder: Path,
    /,
    *,
    output: OutputFolder,
    candidates: Path | None = None,
    scans: Path | None = None,
    a_nodule: Count = 24,
    free: Count = 200_000,
    seed: Seed = 0,
    device: str = "cpu",
    voice: Voice = Voice(),  # noqa: B008 - a frozen value
) -> int:
    """Turn packed crops into windows with a label each, and nothing that says where.

    Outlines are used only to say whether a window holds a nodule; they are not written.

    Parameters
    ----------
    folder
        Folder with crops.csv, crops.jls, outlines.npz, nodules.csv and windows_val.csv.
    output
        A new folder; it gets train, val and lineage.json.
    candidates
        Folder with candidates.csv and candidates.jpgs.
    scans
        Folder with scans.json and packed slices.
    a_nodule
        So many windows are tried for each nodule.
    free
        So many are tried that hold none.
    seed
        Of every choice.
    device
        Where windows are cut.
    """
    from imaging.io.atomic import atomic_folder
    from pipelines.devices import check_device
    from pipelines.preparation.collection import Amounts, prepare_collection

    check_device(device)
    _check_layout({folder: "crops.csv", candidates: "candidates.csv", scans: "scans.json"})
    with progress(voice) as reporter, atomic_folder(output) as unfinished:

        def on_part(name: str, cases: int) -> None:
            reporter.event("part", text=f"{name}: {cases} cases", part=name, cases=cases)

        lineage: dict[str, Any] = prepare_collection(
            folder,
            candidates,
            scans,
            unfinished,
            amounts=Amounts(a_nodule=a_nodule, free=free),
            seed=seed,
            device=device,
            on_part=on_part,
        )
    facts = {"output": str(output), **lineage}
    tell(
        voice, facts, lambda: f"{lineage['cases']} training cases in {output / 'train'}, validation in {output / 'val'}"
    )
    return 0


def _check_layout(wanted: dict[Path | None, str]) -> None:
    """Refuse a folder that lacks its table, before the long work begins."""
    from imaging.errors import InputError

    for folder, name in wanted.items():
        if folder is not None and not (folder / name).is_file():
            raise InputError("cases.layout", f"there is no {name} in it", where=folder)
