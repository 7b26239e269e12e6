"""What a run leaves: checkpoints to go on from, weights and their manifest, the record of how they came about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import InputError, UsageError
from imaging.io.atomic import write_bytes, write_text
from imaging.models.prompts import concepts
from imaging.provenance import creation_time, file_sha256
from pipelines.lineage import made_by
from pipelines.training_data import TrainingData
from pipelines.training_settings import TrainOptions

if TYPE_CHECKING:
    from imaging.models.network import NoduleNet
    from imaging.training.engine import Trainer

NAME = "trained"
CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
RUN = "run.json"
#: Of what decides a run: what an option of ``nodulus train`` says, and what is too long to be shown.
OPTIONS = {name: f"--{name}" for name in ("steps", "seed", "minutes", "patience", "device", "precision", "start")}
OPTIONS |= {"processes": "--devices"}
LONG = ("cases", "sentences_sha256", "noted_pace")


def stable(values: Any) -> str:
    """Plain values as one text, however their keys were ordered."""
    return json.dumps(values, sort_keys=True)


def identity(
    trainer: Trainer, data: TrainingData, options: TrainOptions, start: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Everything that decides the bytes of the weights, besides the versions of code and libraries."""
    sentences = stable({name: asdict(concept) for name, concept in concepts().items()})
    return {
        "recipe": trainer.recipe.to_json(),
        "network": {"vision": options.vision.to_json(), "text": options.text.to_json()},
        "rounds": options.rounds,
        "shortest_round": options.shortest_round,
        "patience": options.patience,
        "minutes": options.minutes,
        "noted_pace": None if options.pace is None else hashlib.sha256(stable(options.pace).encode()).hexdigest(),
        "start": start,
        "device": trainer.device.type,
        "processes": trainer.processes.count,
        "sentences_sha256": hashlib.sha256(sentences.encode()).hexdigest(),
        "cases": data.identity,
    }


def write_checkpoint(
    trainer: Trainer, folder: Path, who: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Everything that the next round depends on."""
    notes = {"identity": stable(who), "history": json.dumps(history), "pace": json.dumps(trainer.pace.to_json())}
    trainer.save(folder / CHECKPOINT, notes=notes)


def go_on(trainer: Trainer, checkpoint: Path, who: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Load the checkpoint of the same run; its history.

    Raises:
        UsageError: ``train.no_checkpoint`` for a file that cannot be read.
        InputError: ``train.changed`` if the run was begun with something else.
    """
    from safetensors import SafetensorError, safe_open

    from imaging.training.pace import TimedPace

    try:
        with safe_open(checkpoint, "pt") as stored:
            notes = stored.metadata()
        begun, history, pace = (json.loads(notes[name]) for name in ("identity", "history", "pace"))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError("train.no_checkpoint", f"{CHECKPOINT} cannot be read: {error}", where=checkpoint) from error
    changed = differences(begun, who)
    if changed:
        raise InputError("train.changed", f"not what the run was begun with: {'; '.join(changed)}", where=checkpoint)
    trainer.load(checkpoint)
    if isinstance(trainer.pace, TimedPace):
        trainer.pace.go_on(pace)
    return list(history)


def differences(begun: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Which of the things that decide a run differ, by the names of their options, each with both its values.

    >>> differences({"recipe": {"steps": 6}, "cases": ["a"]}, {"recipe": {"steps": 7}, "cases": ["b"]})
    ['cases', '--steps was 6, is 7']
    """
    found = []
    for key in sorted(key for key in now if stable(now[key]) != stable(begun.get(key))):
        old, new = begun.get(key), now[key]
        if key not in OPTIONS and isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new)
        elif key in LONG:
            found.append(key)
        else:
            found.append(f"{OPTIONS.get(key, key)} was {_shown(old)}, is {_shown(new)}")
    return found


def _shown(value: Any) -> str:
    return "not given" if value is None else str(value.get("name", value) if isinstance(value, Mapping) else value)


def write_net(net: NoduleNet, path: Path) -> None:
    """The weights of a net; a file that whoever may read the folder may read."""
    from safetensors.torch import save

    write_bytes(path, save({k: v.contiguous().cpu() for k, v in net.state_dict().items()}))


def read_net(like: NoduleNet, path: Path) -> NoduleNet:
    """A net of the same kind with the weights of a file, in evaluation mode."""
    from safetensors.torch import load_file

    from imaging.models.network import NoduleNet

    net = NoduleNet.from_json(like.to_json())
    net.load_state_dict(load_file(path))
    return net.to(like.log_scale.device).eval()


def write_weights(
    net: NoduleNet,
    folder: Path,
    who: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    calibration: Mapping[str, Any],
) -> str:
    """The weights and the manifest that makes ``--weights`` take them; their SHA-256."""
    path = folder / f"{NAME}.safetensors"
    write_net(net, path)
    sha256 = file_sha256(path)
    card = {
        "name": NAME,
        "file": path.name,
        "sha256": sha256,
        "licence": "not stated: that of the training cases counts",
        "network": net.to_json(),
        "calibration": calibration,
        "operating_point": {"threshold": 0.5, "false_marks_per_scan": None, "measured_on": "not measured"},
        "explanation": {"layer": -1},
        "recipe": who["recipe"],
        "history": history,
    }
    write_text(folder / "manifest.json", _pretty({"schema_version": 1, "default": NAME, "models": [card]}))
    return sha256


def write_record(
    trainer: Trainer,
    data: TrainingData,
    folder: Path,
    who: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
) -> None:
    """``run.json``: who, what and how, from which the run can be done again."""
    record = {
        "schema_version": 2,
        **made_by(str(trainer.device)),
        "finished": creation_time().isoformat(),
        **{key: value for key, value in who.items() if key != "cases"},
        "cases": list(data.sources),
        "left_out": list(data.left_out),
        **facts,
        "pace": trainer.pace.to_json(),
        "history": list(history),
    }
    write_text(folder / RUN, _pretty(record))


def _pretty(values: Any) -> str:
    return json.dumps(values, indent=1) + "\n"
