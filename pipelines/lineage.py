"""Which code and machine made a run: enough to find them again, nothing that names a person or a place."""

from __future__ import annotations

import hashlib
import platform
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any

from imaging.provenance import library_versions, software_version

#: Files of these kinds decide what the code does.
CODE_SUFFIXES = (".py", ".json", ".toml")
PACKAGES = ("imaging", "pipelines")


def code_sha256() -> str:
    """One hash over the names and bytes of the code as it is installed, changed or not."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for name, content in sorted(_files(resources.files(package), package)):
            digest.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def made_by(device: str) -> dict[str, Any]:
    """Versions of the code, its libraries, Python and the device: what bytes can depend on besides the settings."""
    import torch

    name = torch.cuda.get_device_name(device) if device.partition(":")[0] == "cuda" else platform.machine()
    return {
        "software": software_version(),
        "code_sha256": code_sha256(),
        "libraries": {**library_versions(), "accelerate": metadata.version("accelerate")},
        "python": platform.python_version(),
        "device_name": name,
        "threads": torch.get_num_threads(),
    }


def _files(folder: Traversable, name: str) -> list[tuple[str, bytes]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _files(entry, f"{name}/{entry.name}") if entry.name != "__pycache__" else []
        elif entry.name.endswith(CODE_SUFFIXES):
            found.append((f"{name}/{entry.name}", entry.read_bytes()))
    return found
