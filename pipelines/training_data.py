"""From the table of a training run to windows and bags: prepared cases as they are, scans cut once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from imaging.errors import InputError
from imaging.io.atomic import atomic_folder
from imaging.models.prompts import NODULE, attribute_names
from imaging.models.vision import VisionConfig
from imaging.provenance import file_sha256
from imaging.training.bags import BAG_VERSION, Bag, cut_bag
from imaging.training.cases import CaseSet, cases_sha256
from imaging.training.manifest import ManifestRow, read_rows
from pipelines.input_content import content_sha256


@dataclass(frozen=True, eq=False)
class TrainingData:
    """What a run trains and validates on.

    Args:
        windows, bags: to train on.
        val_windows, val_bags: to validate and calibrate on.
        sources: one entry a case set or scan: where it came from, its labels and hashes.
        left_out: scans without a usable label, and why.
    """

    windows: tuple[CaseSet, ...]
    bags: tuple[Bag, ...]
    val_windows: tuple[CaseSet, ...]
    val_bags: tuple[Bag, ...]
    sources: tuple[dict[str, Any], ...]
    left_out: tuple[dict[str, Any], ...]

    @property
    def identity(self) -> list[dict[str, Any]]:
        """What must be the same for a run to go on: splits, hashes and labels, wherever the files lie."""
        return [{key: value for key, value in source.items() if key != "path"} for source in self.sources]


@dataclass(frozen=True, eq=False)
class _Part:
    split: str
    content: CaseSet | Bag
    source: dict[str, Any]


def gather(
    manifest: Path, cache: Path, config: VisionConfig, *, on_row: Callable[[int, int], None] | None = None
) -> TrainingData:
    """Read the table and everything that it names.

    Args:
        manifest: see `imaging.training.manifest`; or a folder that ``nodulus prepare`` wrote.
        cache: folder for the windows of scans; a scan that is in it is not cut again.
        config: of the tower.
        on_row: called as (lines done, lines); may raise to cancel.

    Raises:
        InputError: ``manifest.layout``, ``manifest.path``, ``manifest.label``, ``manifest.one_sided``,
            ``cases.layout``, or what `imaging.read_volume` and `find_lungs` refuse a scan with.
    """
    rows = read_rows(manifest) if not manifest.is_dir() else (ManifestRow(manifest, 1, "train", None),)
    parts: list[_Part] = []
    left_out = []
    own_val = not any(row.split == "val" for row in rows)
    for done, row in enumerate(rows):
        if on_row is not None:
            on_row(done, len(rows))
        if _case_folder(row) is not None:
            parts += _prepared(row, config, manifest, with_val=own_val)
        elif row.label is None:
            left_out.append({"path": str(row.path), "reason": _why_left_out(row, manifest)})
        else:
            parts.append(_scan(row, cache, config))
    data = _sorted(parts, left_out)
    _check_sides(data, manifest)
    return data


def _sorted(parts: Sequence[_Part], left_out: Sequence[dict[str, Any]]) -> TrainingData:
    def windows(split: str) -> tuple[CaseSet, ...]:
        return tuple(p.content for p in parts if p.split == split and isinstance(p.content, CaseSet))

    def bags(split: str) -> tuple[Bag, ...]:
        return tuple(p.content for p in parts if p.split == split and isinstance(p.content, Bag))

    sources = tuple(p.source for p in parts)
    return TrainingData(windows("train"), bags("train"), windows("val"), bags("val"), sources, tuple(left_out))


def _check_sides(data: TrainingData, manifest: Path) -> None:
    labels = np.array([v for s in data.windows for v in s.labels[:, 0]] + [bag.labels[0] for bag in data.bags])
    with_nodule, without = int((labels >= 0.5).sum()), int((labels < 0.1).sum())
    if not with_nodule or not without:
        raise InputError(
            "manifest.one_sided",
            f"{with_nodule} training cases with a nodule, {without} without, {len(data.left_out)} lines left out",
            where=manifest,
        )


def _why_left_out(row: ManifestRow, manifest: Path) -> str:
    if row.said:
        return "the report neither affirms nor denies a nodule"
    return f"line {row.line} of {manifest.name} has neither a label nor a text"


# --- prepared cases --------------------------------------------------------------------------------------------------


def _case_folder(row: ManifestRow) -> Path | None:
    """The folder of training cases at a path: itself, or the one named after the split in it."""
    return next((folder for folder in (row.path, row.path / row.split) if (folder / "cases.json").is_file()), None)


def _prepared(row: ManifestRow, config: VisionConfig, manifest: Path, *, with_val: bool) -> Iterator[_Part]:
    """The cases of a folder and, where the table names no validation of its own, those of ``val`` beside it."""
    if row.said:
        where = f"{manifest}, line {row.line}"
        raise InputError(
            "manifest.label", "a folder of cases has its own labels; leave label and text empty", where=where
        )
    folder = _case_folder(row)
    assert folder is not None
    yield _case_part(row.split, folder, config)
    beside = folder.parent / "val"
    if with_val and folder.name == "train" and (beside / "cases.json").is_file():
        yield _case_part("val", beside, config)


def _case_part(split: str, folder: Path, config: VisionConfig) -> _Part:
    cases = CaseSet.load(folder)
    window = (config.slices, config.window_pixels, config.window_pixels)
    concepts = (NODULE, *attribute_names())
    if cases.images.shape[1:] != window or cases.concepts != concepts:
        raise InputError(
            "cases.layout",
            f"windows of {cases.images.shape[1:]} voxels and concepts {cases.concepts}, not {window} and {concepts}",
            where=folder,
        )
    source = {"path": str(folder), "kind": "cases", "split": split, "cases": len(cases), "sha256": cases_sha256(folder)}
    return _Part(split, cases, source)


# --- scans -----------------------------------------------------------------------------------------------------------


def _scan(row: ManifestRow, cache: Path, config: VisionConfig) -> _Part:
    """A scan as a bag, from the cache or cut now."""
    folder = cache / _cache_key(row, config)
    if not (folder / "windows.npy").is_file():
        windows = _read_and_cut(row, config)
        with atomic_folder(folder, replace=True) as unfinished:
            np.save(unfinished / "windows.npy", windows)
    windows = np.load(folder / "windows.npy", mmap_mode="r")
    labels = row.concept_labels
    source = {
        "path": str(row.path),
        "kind": "scan",
        "split": row.split,
        "windows": len(windows),
        "labels": [None if np.isnan(v) else float(v) for v in labels],
        "sha256": file_sha256(folder / "windows.npy"),
    }
    return _Part(row.split, Bag(windows, labels), source)


def _read_and_cut(row: ManifestRow, config: VisionConfig) -> npt.NDArray[np.uint8]:
    from imaging import read_volume
    from imaging.preprocessing.lungs import find_lungs

    volume = read_volume(row.path, series=row.series)
    if not volume.is_hu:
        doubts = "; ".join(notice.message for notice in volume.warnings) or "the values are not known to be HU"
        raise InputError("input.not_hu", doubts, where=row.path)
    return cut_bag(volume, find_lungs(volume), config)


def _cache_key(row: ManifestRow, config: VisionConfig) -> str:
    """A name that changes with the scan's bytes, the series chosen and the windows wanted."""
    window = [config.slices, config.slice_step_mm, config.pixel_mm, config.window_pixels]
    said = json.dumps([BAG_VERSION, window, row.series, content_sha256(row.path)])
    return hashlib.sha256(said.encode()).hexdigest()[:32]
