"""The napari plugin: a radiologist inspects, corrects and teaches.

`session`, `review`, `planes`, `keys` and `layers` know no window; the widgets show a `Session` and call its methods.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def open_viewer(
    path: str | Path,
    result: str | Path | None = None,
    *,
    compare: str | Path | None = None,
    compare_result: str | Path | None = None,
    block: bool = True,
) -> Any:
    """Open a CT, and a result on it, in a napari window; used by ``nodulus view``.

    Args:
        path: whatever `imaging.read_volume` reads.
        result: a folder written by ``nodulus predict``.
        compare: another CT of the patient, shown beside it.
        compare_result: the result folder of that CT.
        block: wait until the window is closed; else return the viewer at once.

    Raises:
        InputError: the loader's refusal, before any window opens.
    """
    from pipelines.viewer.window import open_window

    paths = [None if place is None else Path(place) for place in (result, compare, compare_result)]
    return open_window(Path(path), paths[0], other=paths[1], other_result=paths[2], block=block)
