"""Everything that a table of cases names, as one file: ``nodulus pack``; and back, for ``nodulus train --pack``.

The file holds windows, their image-level labels, the collections they came from, the sentences of the
prompts, and hashes. There is no place in it, no report text (what a report says is in the labels) and no path.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np

from imaging.errors import InputError, OutputError
from imaging.models.prompts import NODULE, attribute_names, concepts
from imaging.models.vision import VisionConfig
from imaging.provenance import software_version
from imaging.training.bags import Bag
from imaging.training.cases import CaseSet
from imaging.training.packing import PACK_SUFFIX, Packed, read_pack, write_pack
from pipelines.training_data import TrainingData, gather

SPLITS = ("train", "val")


def pack_cases(
    manifest: Path,
    output: Path,
    *,
    config: VisionConfig | None = None,
    cache: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Read what a table names, cut scans into windows, and write one file.

    Args:
        manifest: the table, see `imaging.training.manifest`, or a folder that ``nodulus prepare`` wrote.
        output: the file, ending in ``.safetensors``.
        config: of the tower that will be trained.
        cache: folder for the windows of scans; by default they are thrown away.
        on_progress: called as (windows written, windows); may raise to cancel.

    Returns:
        How much of what there is, and the hash of each array.

    Raises:
        InputError: what `pipelines.training_data.gather` raises, ``cases.pack`` for another suffix.
        OutputError: ``output.exists`` and what writing raises.
    """
    if output.suffix != PACK_SUFFIX:
        raise InputError("cases.pack", f"the name of a packed file ends in {PACK_SUFFIX}", where=output)
    if output.exists():
        raise OutputError("output.exists", "a file of this name is there", where=output)
    config = config or VisionConfig()
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        data = gather(manifest, cache or Path(scratch), config)
        digests = write_pack(output, dict(_arrays(data)), _head(data, config), on_rows=on_progress)
    return {
        "windows": {"train": _size(data.windows, data.bags), "val": _size(data.val_windows, data.val_bags)},
        "left_out": len(data.left_out),
        "sha256": digests,
    }


def is_pack(path: Path) -> bool:
    """Whether cases are given as a packed file and not as a table or folder."""
    return path.suffix == PACK_SUFFIX


def unpack(path: Path, config: VisionConfig) -> TrainingData:
    """What a packed file holds, mapped; the same as `gather` found then.

    Raises:
        InputError: ``cases.pack`` for a damaged or changed file, ``cases.layout`` for windows of another size.
    """
    pack = read_pack(path)
    try:
        if pack.head["window"] != _window(config) or pack.head["concepts"] != [NODULE, *attribute_names()]:
            raise InputError(
                "cases.layout", f"its windows are {pack.head['window']}, not {_window(config)}", where=path
            )
        sources = tuple({"path": path.name, **source} for source in pack.head["sources"])
        windows = {s: tuple(_windows_of(pack.arrays, part) for part in pack.head["windows"][s]) for s in SPLITS}
        bags = {s: tuple(_bag_of(pack.arrays, name) for name in pack.head["bags"][s]) for s in SPLITS}
        left_out = tuple({"reason": r, "scans": n} for r, n in pack.head["left_out"].items())
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError("cases.pack", f"its head lacks {error}", where=path) from error
    return TrainingData(windows["train"], bags["train"], windows["val"], bags["val"], sources, left_out)


# --- the head and the arrays -----------------------------------------------------------------------------------------


def _window(config: VisionConfig) -> list[float]:
    return [config.slices, config.slice_step_mm, config.pixel_mm, config.window_pixels]


def _by_split(data: TrainingData) -> Iterator[tuple[str, tuple[CaseSet, ...], tuple[Bag, ...]]]:
    yield "train", data.windows, data.bags
    yield "val", data.val_windows, data.val_bags


def _head(data: TrainingData, config: VisionConfig) -> dict[str, Any]:
    return {
        "software": software_version(),
        "window": _window(config),
        "concepts": [NODULE, *attribute_names()],
        "sentences": {name: asdict(concept) for name, concept in concepts().items()},
        "sources": data.identity,
        "left_out": dict(Counter(_reason(row) for row in data.left_out)),
        "windows": {
            split: [{"name": f"{split}.{i}", "collections": list(s.collections)} for i, s in enumerate(sets)]
            for split, sets, _ in _by_split(data)
        },
        "bags": {split: [f"{split}.scan{i}" for i in range(len(bags))] for split, _, bags in _by_split(data)},
    }


def _arrays(data: TrainingData) -> Iterator[tuple[str, Packed]]:
    for split, sets, bags in _by_split(data):
        for i, cases in enumerate(sets):
            yield f"{split}.{i}.images", cases.images
            yield f"{split}.{i}.labels", cases.labels
            yield f"{split}.{i}.collection", cases.collection
        for i, bag in enumerate(bags):
            yield f"{split}.scan{i}.images", bag.windows
            yield f"{split}.scan{i}.labels", bag.labels


def _windows_of(arrays: Mapping[str, Packed], part: Mapping[str, Any]) -> CaseSet:
    name = part["name"]
    return CaseSet(
        images=_bytes(arrays, f"{name}.images"),
        labels=np.asarray(arrays[f"{name}.labels"], np.float32),
        concepts=(NODULE, *attribute_names()),
        collection=_bytes(arrays, f"{name}.collection"),
        collections=tuple(part["collections"]),
    )


def _bag_of(arrays: Mapping[str, Packed], name: str) -> Bag:
    return Bag(_bytes(arrays, f"{name}.images"), np.asarray(arrays[f"{name}.labels"], np.float32))


def _bytes(arrays: Mapping[str, Packed], name: str) -> Any:
    return cast(Any, arrays[name])


def _reason(row: Mapping[str, Any]) -> str:
    """Why a scan was left out, without the line of the table."""
    return "neither a label nor a text" if row["reason"].startswith("line ") else str(row["reason"])


def _size(windows: tuple[CaseSet, ...], bags: tuple[Bag, ...]) -> int:
    return sum(len(s) for s in windows) + sum(len(bag.windows) for bag in bags)
