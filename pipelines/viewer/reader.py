"""napari's reader: says quickly whether a path may be ours, then reads it through `imaging.io`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.viewer.layers import LayerData, layer_data

#: Names that `imaging.io` reads; DICOM files often have no extension or a number as one.
SUFFIXES = (".dcm", ".dicom", ".ima", ".zip", ".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".nhdr")

Reader = Callable[[Any], list[LayerData]]


def get_reader(path: str | list[str]) -> Reader | None:
    """`read` where the path looks like a CT or a result, None at once where it does not.

    A folder is taken when it holds a `report.json`, a DICOMDIR, or among its first entries a file that looks like a CT.
    """
    if isinstance(path, list):
        path = path[0]
    place = Path(path)
    return read if _looks_like_ours(place) else None


def _looks_like_ours(place: Path, *, depth: int = 3) -> bool:
    if place.is_dir():
        if (place / "report.json").is_file() or (place / "DICOMDIR").is_file():
            return True
        entries = [entry for _, entry in zip(range(50), place.iterdir(), strict=False)]
        return depth > 0 and any(_looks_like_ours(entry, depth=depth - 1) for entry in entries)
    return place.name.lower().endswith(SUFFIXES) or is_dicom(place)


def is_dicom(place: Path) -> bool:
    """Whether the file has the DICOM preamble (PS3.10 section 7.1)."""
    try:
        with place.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read(path: str | list[str]) -> list[LayerData]:
    """Read a CT, or lay a result over the CT that is open.

    Raises:
        InputError: in the loader's own words; several series are offered for choice where there is a window.
    """
    from pipelines.viewer import window

    data: list[LayerData] = window.read_into_window(Path(path[0] if isinstance(path, list) else path), layer_data)
    return data
