"""From a path to a session: through `imaging.io` only, with the loader's own words when it refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

from imaging.errors import InputError
from imaging.io import SeriesInfo, list_series, read_volume
from pipelines.viewer.results import is_result_folder, show_folder
from pipelines.viewer.session import Session


def open_session(
    path: str | Path, result: str | Path | None = None, *, series: str | SeriesInfo | None = None, reviewer: str = ""
) -> Session:
    """Read a CT, and its result: the named one, or the one that this computer keeps for the series.

    Args:
        path: whatever `imaging.read_volume` reads.
        result: a folder written by ``nodulus predict``.
        series: which series, where the path holds several.
        reviewer: the name that decisions are signed with; the login name by default.

    Raises:
        InputError: whatever `imaging.read_volume` refuses; ``result.unreadable``, ``result.other_series``.
    """
    if is_result_folder(Path(path)):
        raise InputError("result.no_ct", "this folder holds a result, not a CT", where=path)
    session = Session(read_volume(path, series=series), reviewer=reviewer or login_name(), source=Path(path))
    kept = own_folder(session.volume.seriesuid)
    if result is not None:
        show_folder(session, Path(result))
    elif is_result_folder(kept):
        show_folder(session, kept)
    else:
        session.keep_in(kept)
    return session


def usable_series(path: str | Path) -> tuple[list[SeriesInfo], list[SeriesInfo]]:
    """The series of a path that can be opened, and those that cannot (each says why)."""
    found = list_series(path)
    return [info for info in found if info.usable], [info for info in found if not info.usable]


def own_folder(seriesuid: str) -> Path:
    """Where this computer keeps the result and the decisions of a series that was analysed in the viewer.

    ``$NODULUS_HOME`` or the user's data folder; the name follows from the series alone.
    """
    home = os.environ.get("NODULUS_HOME") or Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "nodulus"
    return Path(home).expanduser() / "reviews" / re.sub(r"[^A-Za-z0-9.]", "-", seriesuid or "unnamed")


def login_name() -> str:
    """The login name, or nothing where there is none."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return ""
