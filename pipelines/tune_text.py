"""From a table of prepared windows and weights to the same weights with a text tower that knows more wordings.

The image tower, the calibration and the operating point stay: the directions that detect do not move. Scans that the
table names as a whole are left out, because nobody says which of their windows shows what the report says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imaging.errors import InputError
from imaging.io.atomic import write_bytes, write_text
from imaging.provenance import creation_time, file_sha256, library_versions, software_version
from pipelines.allowed import COUNT, SEED, TUNED_WINDOWS
from pipelines.result_folder import check_new_folder
from pipelines.training_data import gather

if TYPE_CHECKING:
    from imaging.models.network import NoduleNet
    from imaging.models.weights import LoadedModel
    from imaging.training.cases import CaseSet
    from imaging.training.text_tuning import TuningRecipe

NAME = "tuned"
#: What a card keeps from the weights that a run starts from: what was measured there still holds.
KEPT = ("licence", "calibration", "operating_point", "operating_point_choice", "explanation", "attribution", "input")


@dataclass(frozen=True)
class TuneOptions:
    """What a run uses of its table.

    Args:
        windows: so many are looked at, at most; three quarters hold a nodule of which an attribute is known.
        collections: names of the collections they come from; all where there is none.
        val_windows: so many validation windows say how far logits have moved, at most.
    """

    windows: int = 8000
    collections: tuple[str, ...] = field(default_factory=tuple)
    val_windows: int = 400


def tune_to_folder(
    manifest: str | Path,
    output: str | Path,
    *,
    weights: str | Path | None = None,
    recipe: TuningRecipe | None = None,
    options: TuneOptions | None = None,
    device: str = "cpu",
    name: str = NAME,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """Tune the text tower and write a folder that ``--weights`` takes.

    Args:
        manifest: the table of cases, see `imaging.training.manifest`.
        output: a new folder.
        weights: to start from; by default the shipped ones.
        recipe, options: of the run.
        device: as torch names it.
        name: of the new weights.
        on_progress: called as (stage, done, all), stages ``looking`` and ``training``; may raise to cancel.

    Returns:
        name and sha256 of the weights, and how far the logits of validation windows have moved.

    Raises:
        InputError: what `pipelines.training_data.gather` raises; ``cases.layout`` without a usable window.
        ModelError: ``text.moved``, and what loading raises.
        OutputError: ``output.exists`` and what writing raises.
    """
    from imaging.models.weights import load_model
    from imaging.training.seen_windows import Seen, see
    from imaging.training.text_anchors import check_direction
    from imaging.training.text_tuning import TuningRecipe, tune_text

    chosen, plan = options or TuneOptions(), recipe or TuningRecipe()
    COUNT.check("steps", plan.steps)
    SEED.check("seed", plan.seed)
    TUNED_WINDOWS.check("windows", chosen.windows)
    folder = Path(output)
    check_new_folder(folder)
    model = load_model(weights, device=device)
    data = gather(Path(manifest), folder / "cache", model.net.vision.config)
    rng = np.random.default_rng(plan.seed)
    parts = [part for cases in data.windows if len(part := chosen_windows(cases, chosen, len(data.windows), rng))]
    if not parts:
        raise InputError("cases.layout", "no window of the wanted collections has a known attribute", where=manifest)
    seen = Seen.joined([see(model.net, part, on_progress=_stage(on_progress, "looking")) for part in parts])
    tuned, history = tune_text(model.net, seen, plan, on_progress=_stage(on_progress, "training"))
    moved = logits_moved(model.net, tuned, data.val_windows, most=chosen.val_windows)
    facts = {
        "stage": "text tower only, the image tower frozen",
        "from": {"name": model.name, "sha256": model.sha256},
        "software": software_version(),
        "recipe": plan.to_json(),
        "windows": len(seen.labels),
        "collections": list(chosen.collections),
        "cases": [{key: value for key, value in source.items() if key != "path"} for source in data.sources],
        "nodule_direction_moved": check_direction(model.net, tuned),
        "val_logits_moved": moved,
        "history": history,
    }
    sha256 = _write(folder, name, model, tuned, facts)
    return {
        "weights": name,
        "sha256": sha256,
        "windows": len(seen.labels),
        "val_logits_moved": moved,
        "last": history[-1],
    }


def chosen_windows(cases: CaseSet, options: TuneOptions, sets: int, rng: np.random.Generator) -> CaseSet:
    """A share of a set's windows: with a nodule of which something is known, and a third as many without one."""
    wanted = np.array([not options.collections or name in options.collections for name in cases.collections], bool)
    mine = wanted[cases.collection]
    said = mine & (cases.labels[:, 0] >= 0.5) & ~np.isnan(cases.labels[:, 1:]).all(axis=1)
    free = mine & (cases.labels[:, 0] < 0.1)
    most = options.windows // sets
    return _part(cases, np.concatenate([_some(said, most - most // 4, rng), _some(free, most // 4, rng)]))


def _some(mask: np.ndarray[Any, Any], number: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    members = np.flatnonzero(mask)
    return np.sort(rng.choice(members, min(number, len(members)), replace=False))


def logits_moved(before: NoduleNet, after: NoduleNet, sets: Sequence[CaseSet], *, most: int) -> float | None:
    """The largest change of a validation window's logit; None without validation windows."""
    from imaging.training.judging import window_logits

    device = str(next(before.parameters()).device)
    moved = []
    for cases in sets:
        part = _part(cases, np.arange(0, len(cases), max(1, -(-len(cases) // most))))
        old, new = (window_logits(net, part, device=device) for net in (before, after))
        moved.append(float((old - new).abs().max()))
    return max(moved, default=None)


def _part(cases: CaseSet, index: np.ndarray[Any, Any]) -> CaseSet:
    return replace(cases, images=cases.images[index], labels=cases.labels[index], collection=cases.collection[index])


def _stage(on_progress: Callable[[str, int, int], None] | None, stage: str) -> Callable[[int, int], None] | None:
    return None if on_progress is None else lambda done, total: on_progress(stage, done, total)


def _write(folder: Path, name: str, model: LoadedModel, tuned: NoduleNet, facts: dict[str, Any]) -> str:
    """Weights, their manifest and the record of the run; the weights' hash."""
    from safetensors.torch import save

    path = folder / f"{name}.safetensors"
    write_bytes(path, save({k: v.contiguous().cpu() for k, v in tuned.state_dict().items()}))
    sha256 = file_sha256(path)
    card = {
        "name": name,
        "file": path.name,
        "sha256": sha256,
        "network": tuned.to_json(),
        **{key: model.card[key] for key in KEPT if key in model.card},
        "lineage": [*model.card.get("lineage", []), facts],
    }
    write_text(folder / "manifest.json", _pretty({"schema_version": 1, "default": name, "models": [card]}))
    record = {**facts, "libraries": library_versions(), "finished": creation_time().isoformat()}
    write_text(folder / "run.json", _pretty(record))
    return sha256


def _pretty(values: Any) -> str:
    return json.dumps(values, indent=1) + "\n"
