"""``nodulus view``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from pipelines.cli.options import Voice

#: Any of these lets Qt open a window on Linux.
_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")


def view(
    path: Path,
    result: Path | None = None,
    /,
    *,
    compare: Path | None = None,
    compare_result: Path | None = None,
    voice: Voice = Voice(),  # noqa: B008
) -> int:
    """Open a CT in napari: lung window, three planes, findings that can be accepted or rejected.

    Parameters
    ----------
    path
        A CT.
    result
        A folder written by nodulus predict.
    compare
        Another CT of the same patient, shown beside it under one crosshair, with the growth of matched findings.
    compare_result
        The folder that nodulus predict wrote for that CT.
    """
    from imaging.errors import UsageError

    if find_spec("napari") is None:
        raise UsageError("viewer.missing", "napari is not installed")
    if sys.platform == "linux" and not any(os.environ.get(name) for name in _DISPLAYS):
        raise UsageError("viewer.no_display", f"none of {', '.join(_DISPLAYS)} is set")
    import_module("pipelines.viewer").open_viewer(path, result, compare=compare, compare_result=compare_result)
    return 0
