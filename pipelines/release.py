"""From a run folder to weights that can be shipped: a copy, an entry in a manifest, and the record they are traced by.

The record of the run is kept beside the weights; ``nodulus train --recipe RECORD`` does the run again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from imaging.errors import InputError, OutputError, UsageError
from imaging.io.atomic import write_bytes, write_text
from imaging.models.weights import MANIFEST, MANIFEST_VERSION, load_model, read_manifest
from imaging.provenance import file_sha256
from pipelines.training_record import RUN

#: What a file of further facts may say of weights: measured or chosen after the run.
FACTS: Final = ("calibration", "operating_point", "explanation", "metrics", "attribution", "training_data")
#: What an entry says of the run itself; the rest is in the record.
STAGE: Final = ("software", "code_sha256", "finished", "shipped_step", "start", "minutes", "recipe", "cases", "history")


def release(
    run: Path,
    output: Path,
    *,
    name: str,
    licence: str,
    facts: Mapping[str, Any] | None = None,
    default: bool = False,
) -> dict[str, Any]:
    """Add the weights of a run to a folder of weights, under a new name; nothing that is there is changed.

    Args:
        run: folder that ``nodulus train`` wrote and ended.
        output: folder of weights, with a manifest or empty.
        name: of the weights.
        licence: of the weights, which the licences of the cases decide.
        facts: some of `FACTS`, over what the run says.
        default: make these the weights that are used where none are named.

    Returns:
        name, file and sha256 of the weights and of the record.

    Raises:
        InputError: ``train.unfinished`` if weights and record of the run do not fit.
        ModelError: what `load_model` refuses the run's weights with.
        OutputError: ``output.exists`` if there are weights of that name.
        UsageError: ``usage.option`` for another fact or a name that is no file name.
    """
    unknown = sorted(set(facts or {}) - set(FACTS))
    if unknown or not name or Path(name).name != name:
        raise UsageError("usage.option", f"name {name!r}, unknown facts {unknown}; known: {', '.join(FACTS)}")
    model, record = load_model(run), _record(run)
    if record.get("weights_sha256") != model.sha256:
        raise InputError("train.unfinished", f"{RUN} speaks of other weights than {model.sha256}", where=run)
    manifest = _manifest_at(output, name)
    weights, kept = output / f"{name}.safetensors", output / f"{name}.run.json"
    for path in (weights, kept):
        if path.exists():
            raise OutputError("output.exists", "there are weights of that name", where=path)
    write_bytes(weights, (run / model.card["file"]).read_bytes())
    write_text(kept, _pretty(record))
    stage = {"run": "trained", "record": kept.name, "record_sha256": file_sha256(kept)}
    stage |= {key: record[key] for key in STAGE if key in record}
    entry = {
        **{key: value for key, value in model.card.items() if key not in ("recipe", "history")},
        **{"name": name, "file": weights.name, "licence": licence, "input": _input(model.card["network"]["vision"])},
        **(facts or {}),
        "lineage": [*_earlier(manifest, record.get("start")), stage],
    }
    models = [*manifest["models"], entry]
    chosen = name if default or not manifest["models"] else manifest["default"]
    write_text(output / MANIFEST, _pretty({**manifest, "default": chosen, "models": models}))
    load_model(weights)
    return {"name": name, "file": weights.name, "sha256": model.sha256, "record": kept.name, "default": chosen}


def _record(run: Path) -> dict[str, Any]:
    """The record of a run without the paths of the machine it ran on."""
    try:
        record: dict[str, Any] = json.loads((run / RUN).read_text(encoding="utf-8"))
        cases = [{key: value for key, value in source.items() if key != "path"} for source in record["cases"]]
        left_out = [{"reason": row["reason"]} for row in record["left_out"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("train.unfinished", f"cannot read {RUN}: {error}", where=run) from error
    return {**record, "cases": cases, "left_out": left_out}


def _manifest_at(output: Path, name: str) -> dict[str, Any]:
    if not (output / MANIFEST).exists():
        return {"schema_version": MANIFEST_VERSION, "default": name, "models": []}
    manifest = read_manifest(output)
    if any(entry["name"] == name for entry in manifest["models"]):
        raise OutputError("output.exists", f"there are weights named {name!r}", where=output / MANIFEST)
    return manifest


def _earlier(manifest: Mapping[str, Any], start: Mapping[str, Any] | None) -> list[Any]:
    """The lineage of the weights that a run began with, if they are in the same manifest."""
    if start is None:
        return []
    found = [entry for entry in manifest["models"] if entry["sha256"] == start["sha256"]]
    return list(found[0].get("lineage", [])) if found else []


def _input(vision: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "modality": "CT",
        "values": "HU",
        "window_mm": round(vision["window_pixels"] * vision["pixel_mm"], 3),
        "slices": vision["slices"],
        "slice_step_mm": vision["slice_step_mm"],
    }


def _pretty(values: Any) -> str:
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
