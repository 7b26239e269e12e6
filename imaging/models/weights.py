"""Locate, verify and load weights: a folder with ``manifest.json`` and safetensors; a changed byte is a refusal.

The shipped weights are the package data of `weights`. A run of ``nodulus train`` writes a folder of the same layout.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imaging.errors import ModelError
from imaging.findings import OperatingPoint
from imaging.provenance import file_sha256

if TYPE_CHECKING:
    from imaging.models.network import NoduleNet

#: Layout of manifest.json that this version reads.
MANIFEST_VERSION = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A net in evaluation mode and what its manifest says of it.

    Args:
        net: on its device.
        name: of the weights.
        sha256: of the weights' file.
        card: the manifest's entry: training data, metrics, licence, settings measured on validation data.
        operating_point: the default threshold and what it costs.
    """

    net: NoduleNet
    name: str
    sha256: str
    card: Mapping[str, Any]
    operating_point: OperatingPoint

    def calibrate(self, logit: float) -> float:
        """Score in [0, 1] of a logit, by the line fitted on validation windows; rises with the logit."""
        line = self.card["calibration"]
        z = line["slope"] * logit + line["offset"]
        return 1.0 / (1.0 + math.exp(-z)) if z >= 0 else math.exp(z) / (1.0 + math.exp(z))

    @property
    def prompts(self) -> tuple[str, ...]:
        """The attributes that the text tower knows."""
        from imaging.models.prompts import attribute_names

        return attribute_names()


def shipped_folder() -> Path:
    """Where the shipped weights lie."""
    return Path(str(resources.files("weights")))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of weights.

    Raises:
        ModelError: ``weights.missing`` without a readable one, ``weights.unsuitable`` for another layout.
    """
    path = folder / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError("weights.missing", f"cannot read {MANIFEST}: {error}", where=folder) from error
    if not isinstance(manifest, dict) or manifest.get("schema_version") != MANIFEST_VERSION:
        found = manifest.get("schema_version") if isinstance(manifest, dict) else type(manifest).__name__
        raise ModelError("weights.unsuitable", f"schema_version is {found!r}, not {MANIFEST_VERSION}", where=path)
    return manifest


def load_model(weights: str | Path | None = None, *, device: str = "cpu") -> LoadedModel:
    """Load weights and verify them.

    Args:
        weights: a folder with a manifest, a safetensors file beside one, or the name of shipped weights; by default
            the shipped default.
        device: where the net runs, as torch names it.

    Raises:
        ModelError: ``weights.missing``, ``weights.changed`` or ``weights.unsuitable``.
    """
    folder, wanted = _locate(weights)
    manifest = read_manifest(folder)
    try:
        name = wanted or manifest["default"]
        entry = _entry(manifest, name, folder)
        path = folder / entry["file"]
        expected = entry["sha256"]
    except (KeyError, TypeError) as error:
        raise ModelError("weights.unsuitable", f"the manifest lacks {error}", where=folder) from error
    if not path.is_file():
        raise ModelError("weights.missing", f"{path.name} is not there", where=folder)
    found = file_sha256(path)
    if found != expected:
        raise ModelError("weights.changed", f"its SHA-256 is {found}, the manifest says {expected}", where=path)
    net = _build(entry, path, device)
    return LoadedModel(net, name, found, entry, OperatingPoint(**entry["operating_point"]))


def _locate(weights: str | Path | None) -> tuple[Path, str | None]:
    """The folder and, where one is named, the weights in it."""
    if weights is None:
        return shipped_folder(), None
    path = Path(weights)
    if path.is_dir():
        return path, None
    if path.is_file():
        return path.parent, path.stem
    if path.suffix or len(path.parts) > 1:
        raise ModelError("weights.missing", "there is no such file or folder", where=path)
    return shipped_folder(), str(weights)


def _entry(manifest: Mapping[str, Any], name: str, folder: Path) -> Mapping[str, Any]:
    for entry in manifest["models"]:
        if entry["name"] == name:
            found: Mapping[str, Any] = entry
            return found
    known = ", ".join(entry["name"] for entry in manifest["models"])
    raise ModelError("weights.missing", f"there are no weights named {name!r}; known: {known}", where=folder)


def _build(entry: Mapping[str, Any], path: Path, device: str) -> NoduleNet:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from imaging.models.network import NoduleNet

    try:
        net = NoduleNet.from_json(dict(entry["network"]))
        net.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
        return net.to(torch.device(device)).eval()
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError("weights.unsuitable", f"{type(error).__name__}: {error}", where=path) from error
