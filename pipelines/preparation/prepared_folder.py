"""Write a collection: the table that training starts from, what nobody can label, the lineage, and the truth elsewhere.

The prepared folder holds nothing that says where a nodule lies, and no path in its table leads to the truth.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from imaging.errors import InputError, Notice, UsageError
from imaging.io.atomic import atomic_folder
from imaging.provenance import creation_time, file_sha256, software_version
from pipelines.allowed import SEED, SHARE
from pipelines.preparation.collected import Collected, Dropped, Scan, Table, counted, read_splits, split_of
from pipelines.result_folder import check_new_folder

MANIFEST, UNCERTAIN, LINEAGE, LINKED = "manifest.csv", "uncertain.csv", "lineage.json", "scans"
MANIFEST_COLUMNS = ("path", "label", "text", "split", "seriesuid")


@dataclass(frozen=True)
class Destination:
    """Where and how a collection is written.

    Args:
        output: a new folder for training.
        truth: a new folder for evaluation; beside `output` by default.
        val_share: of the patients, to validate on.
        seed: of the split.
        splits: a table that decides the split instead; scans of ``test`` are left out of training.
    """

    output: Path
    truth: Path | None = None
    val_share: float = 0.2
    seed: int = 0
    splits: Path | None = None

    @property
    def truth_folder(self) -> Path:
        """Where the truth goes."""
        return self.truth or self.output.with_name(f"{self.output.name}-truth")

    def check(self) -> None:
        """Refuse what cannot be written, before the long work begins.

        Raises:
            UsageError: ``usage.option`` for a share or a seed that cannot be, or truth inside the prepared folder.
            OutputError: ``output.exists``.
            InputError: what `read_splits` refuses the table of splits with.
        """
        SHARE.check("the share of val", self.val_share)
        SEED.check("seed", self.seed)
        output, truth = self.output.resolve(), self.truth_folder.resolve()
        if output == truth or output in truth.parents or truth in output.parents:
            raise UsageError("usage.option", "the truth must lie in a folder of its own, apart from the output")
        for folder in (output, truth):
            check_new_folder(folder)
        if self.splits is not None:
            read_splits(self.splits)


@dataclass(frozen=True)
class _Sorted:
    """Scans by where they go."""

    trained: tuple[Scan, ...]
    uncertain: tuple[Scan, ...]
    tested: tuple[Scan, ...]
    dropped: tuple[Dropped, ...] = field(default=())


def write_prepared(collected: Collected, to: Destination, options: Mapping[str, Any]) -> dict[str, Any]:
    """Write both folders, each whole or not at all, the truth first; the lineage.

    Args:
        collected: the collection.
        to: where, and the split.
        options: what was asked for, for the lineage.

    Raises:
        InputError: ``collection.empty`` where no scan has a label; ``collection.table`` for a table of splits.
        UsageError, OutputError: see `Destination.check`, and what writing raises.
    """
    to.check()
    scans = _sort(collected.scans, to)
    if not scans.trained:
        reasons = counted((*collected.dropped, *scans.dropped, *(Dropped("", s.why) for s in scans.uncertain)))
        raise InputError("collection.empty", f"no scan has a label; left out: {reasons or 'nothing was found'}")
    lineage = _lineage(collected, scans, to, options)
    with atomic_folder(to.output) as folder, atomic_folder(to.truth_folder) as truth:
        _write_training(folder, collected, scans)
        (folder / LINEAGE).write_text(json.dumps(lineage, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        _write_truth(truth, collected, scans)
    return lineage


def _sort(scans: Sequence[Scan], to: Destination) -> _Sorted:
    decided = read_splits(to.splits) if to.splits else None
    placed, dropped = [], []
    for scan in sorted(scans, key=lambda s: (s.key, str(s.path))):
        if decided is not None:
            split = decided.get(scan.key) or decided.get(scan.patient)
            if split is None:
                dropped.append(Dropped(scan.key, "not in the table of splits"))
                continue
        else:
            split = scan.split or split_of(scan.patient, val_share=to.val_share, seed=to.seed)
        placed.append(replace(scan, split=split))
    _check_patients(placed)
    known = [s for s in placed if s.split != "test"]
    return _Sorted(
        tuple(s for s in known if s.label is not None),
        tuple(s for s in known if s.label is None),
        tuple(s for s in placed if s.split == "test"),
        tuple(dropped),
    )


def _check_patients(scans: Sequence[Scan]) -> None:
    """No patient may be on two sides, whoever decided the split."""
    sides: dict[str, set[str]] = {}
    for scan in scans:
        sides.setdefault(scan.patient, set()).add(scan.split or "")
    torn = sum(len(each) > 1 for each in sides.values())
    if torn:
        text = f"{torn} patients stand on two sides of the split; each must be on one"
        raise InputError("collection.table", text, remedy="correct the column or the table that decides the split")


# --- the prepared folder ---------------------------------------------------------------------------------------------


def _write_training(folder: Path, collected: Collected, scans: _Sorted) -> None:
    rows = [
        (_path_in(folder, s), str(s.label), s.text, s.split or "", "" if s.files else s.series) for s in scans.trained
    ]
    Table(MANIFEST_COLUMNS, tuple(rows)).write(folder / MANIFEST)
    doubts = tuple((str(s.path), s.why, s.text, s.split or "", s.series) for s in scans.uncertain)
    Table(("path", "why", "text", "split", "seriesuid"), doubts).write(folder / UNCERTAIN)
    for name, table in collected.extra.items():
        table.write(folder / name)


def _path_in(folder: Path, scan: Scan) -> str:
    """The path for the table: where the scan lies, or a folder of links to its images alone."""
    if not scan.files:
        return str(scan.path.resolve())
    linked = folder / LINKED / scan.key
    linked.mkdir(parents=True)
    for file in scan.files:
        try:
            (linked / file.name).symlink_to(file.resolve())
        except (OSError, NotImplementedError):  # a file system without links
            shutil.copyfile(file, linked / file.name)
    return f"{LINKED}/{scan.key}"


# --- the truth -------------------------------------------------------------------------------------------------------


def _write_truth(folder: Path, collected: Collected, scans: _Sorted) -> None:
    groups = {"train": [], "val": [], "test": list(scans.tested), "uncertain": list(scans.uncertain)}
    for scan in scans.trained:
        groups[scan.split or "train"].append(scan)
    for name, members in groups.items():
        if not members:
            continue
        (folder / name).mkdir()
        keys = {scan.key for scan in members}
        rows = tuple((s.key, str(s.path.resolve()), "" if s.label is None else str(s.label), s.why) for s in members)
        Table(("seriesuid", "path", "label", "why"), rows).write(folder / name / "scans.csv")
        (folder / name / "seriesuids.csv").write_text("".join(f"{s.key}\n" for s in members), encoding="utf-8")
        for file, table in collected.truth.items():
            Table(table.columns, tuple(row for row in table.rows if row[0] in keys)).write(folder / name / file)


# --- the lineage -----------------------------------------------------------------------------------------------------


def _lineage(collected: Collected, scans: _Sorted, to: Destination, options: Mapping[str, Any]) -> dict[str, Any]:
    dropped = (*collected.dropped, *scans.dropped)
    sides = {
        split: {
            "with_nodule": sum(s.label == 1 for s in scans.trained if s.split == split),
            "without": sum(s.label == 0 for s in scans.trained if s.split == split),
            "patients": len({s.patient for s in scans.trained if s.split == split}),
        }
        for split in ("train", "val")
    }
    return {
        "schema_version": 1,
        "software": software_version(),
        "made": creation_time().isoformat(),
        "kind": collected.kind,
        "labels_mean": collected.rule,
        "options": {**options, "val_share": to.val_share, "seed": to.seed, "splits": to.splits and str(to.splits)},
        "inputs": {
            "tables_sha256": dict(sorted(collected.tables.items())),
            "splits_sha256": file_sha256(to.splits) if to.splits else None,
            "scans_sha256": listing_sha256(collected.scans),
        },
        "counts": {**sides, "test": len(scans.tested), "uncertain": len(scans.uncertain), "dropped": len(dropped)},
        "uncertain_because": counted([Dropped(s.key, s.why) for s in scans.uncertain]),
        "dropped_because": counted(dropped),
        "dropped": [{"what": each.what, "reason": each.reason} for each in dropped],
        "notes": list(collected.notes),
        "warnings": [notice.to_json() for notice in _warnings(sides["train"])],
    }


def _warnings(train: Mapping[str, int]) -> list[Notice]:
    """What will keep a training run from starting: it needs both sides."""
    if train["with_nodule"] and train["without"]:
        return []
    text = f"{train['with_nodule']} cases with a nodule and {train['without']} without are there to train on"
    return [Notice("collection.one_sided", f"{text}; 'nodulus train' needs both and will refuse them")]


def listing_sha256(scans: Sequence[Scan]) -> str:
    """A hash of which scans there are: their keys and the names and sizes of their files, not their bytes.

    ``run.json`` of a training run holds hashes of what was read out of them.
    """
    digest = hashlib.sha256()
    for scan in sorted(scans, key=lambda s: s.key):
        files = scan.files or ([scan.path] if scan.path.is_file() else sorted(scan.path.rglob("*")))
        names = [f"{file.name}:{file.stat().st_size}" for file in files if file.is_file()]
        digest.update("\n".join([scan.key, *names, ""]).encode())
    return digest.hexdigest()
