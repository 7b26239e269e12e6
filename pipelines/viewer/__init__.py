"""The napari plugin: a radiologist inspects, corrects and teaches.

`session`, `review`, `planes`, `keys` and `layers` know no window; the widgets show a `Session` and call its methods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_viewer(path: str | Path, result: str | Path | None = None, *, block: bool = True) -> Any:
    """Open a CT, and a result on it, in a napari window; used by ``nodulus view``.

    Args:
        path: whatever `imaging.read_volume` reads.
        result: a folder written by ``nodulus predict``.
        block: wait until the window is closed; else return the viewer at once.

    Raises:
        InputError: the loader's refusal, before any window opens.
    """
    from pipelines.viewer.window import open_window

    return open_window(Path(path), None if result is None else Path(result), block=block)
