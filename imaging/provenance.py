"""Who made this: the input's hash, the weights, the settings and the versions behind a result."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

#: The libraries whose version can change a number.
NUMERIC_LIBRARIES = ("torch", "numpy", "scipy", "SimpleITK", "pydicom", "monai", "timm", "open_clip_torch")


@dataclass(frozen=True)
class Provenance:
    """What produced a result; the same input, weights and settings give the same result."""

    software: str
    input_sha256: str | None
    weights_name: str
    weights_sha256: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        """The provenance as plain values."""
        return {
            "software": self.software,
            "input_sha256": self.input_sha256,
            "weights_name": self.weights_name,
            "weights_sha256": self.weights_sha256,
            "settings": dict(self.settings),
            "versions": dict(self.versions),
            "created": self.created,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Provenance:
        """The provenance back from `to_json`."""
        return cls(**values)


def software_version() -> str:
    """``nodulus X.Y.Z`` as installed."""
    try:
        return f"nodulus {metadata.version('nodulus')}"
    except metadata.PackageNotFoundError:
        return "nodulus (not installed)"


def library_versions() -> dict[str, str]:
    """Installed versions of the libraries that can change a number; those not installed are left out."""
    versions = {}
    for name in NUMERIC_LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def creation_time() -> datetime:
    """Now in UTC, or the moment that SOURCE_DATE_EPOCH names, so that outputs can be made byte for byte again.

    Source: https://reproducible-builds.org/specs/source-date-epoch/
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    return datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
