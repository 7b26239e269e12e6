"""nodulus: a CT goes in, nodule coordinates, heat maps and a report come out.

The public names are loaded when they are first used, so that ``import imaging`` stays instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imaging.errors import ImagingError, InputError, ModelError, Notice, OutputError, UsageError
    from imaging.findings import Finding, Report
    from imaging.geometry import Grid, Volume
    from imaging.io import SeriesInfo, list_series, read_volume

_HOMES = {
    "ImagingError": "imaging.errors",
    "InputError": "imaging.errors",
    "ModelError": "imaging.errors",
    "OutputError": "imaging.errors",
    "UsageError": "imaging.errors",
    "Notice": "imaging.errors",
    "Finding": "imaging.findings",
    "Report": "imaging.findings",
    "Grid": "imaging.geometry",
    "Volume": "imaging.geometry",
    "SeriesInfo": "imaging.io",
    "list_series": "imaging.io",
    "read_volume": "imaging.io",
}

__all__ = [
    "Finding",
    "Grid",
    "ImagingError",
    "InputError",
    "ModelError",
    "Notice",
    "OutputError",
    "Report",
    "SeriesInfo",
    "UsageError",
    "Volume",
    "list_series",
    "read_volume",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imaging' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
