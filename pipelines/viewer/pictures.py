"""One plane of a session as a picture: grey CT at the window, the heat map over it, the nodules' outlines. No Qt."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipelines.viewer.drawings import HEAT_ROLES, LABEL_COLOURS
from pipelines.viewer.planes import Plane, cut
from pipelines.viewer.session import Session

#: Voxels of nothing around what is there: for the outline, and for the interpolation at its edge.
MARGIN: Final = 2

Box = tuple[slice, ...]


def picture(session: Session, plane: Plane) -> npt.NDArray[np.uint8]:
    """The plane through the session's point as RGB; row 0 is the top, one pixel a voxel (not square in mm)."""
    ct = _cut(session, session.shown.array, plane)
    centre, width = session.window
    grey = np.clip((ct - (centre - width / 2)) * (255.0 / width), 0, 255)
    if session.inverted:
        grey = 255.0 - grey
    rgb, levels = np.empty((*grey.shape, 3), np.uint8), grey.astype(np.uint8)
    for channel in range(3):  # seven times as fast as all three at once
        rgb[..., channel] = levels
    for role in HEAT_ROLES:
        _lay_heat(rgb, session, plane, role)
    for role, colour in LABEL_COLOURS.items():
        _draw_outlines(rgb, session, plane, role, colour)
    return rgb


def _cut(session: Session, array: npt.NDArray[Any], plane: Plane) -> npt.NDArray[Any]:
    return cut(array, session.grid, plane, session.point_mm, slab_mm=session.slab_mm)


def filled_box(array: npt.NDArray[Any]) -> Box:
    """The smallest box, and a margin, that holds all of a slice that is not zero; a corner where nothing is.

    Args:
        array: (rows, columns).
    """
    filled = array != 0
    return _around(filled.any(axis=1)), _around(filled.any(axis=0))


def _around(filled: npt.NDArray[np.bool_]) -> slice:
    at = np.flatnonzero(filled)
    first, last = (int(at[0]), int(at[-1])) if len(at) else (0, 0)
    return slice(max(0, first - MARGIN), min(len(filled), last + MARGIN + 1))


def _lay_heat(rgb: npt.NDArray[Any], session: Session, plane: Plane, role: str) -> None:
    if role not in session.maps or session.opacity == 0 or not session.shows(role):
        return
    heat = _cut(session, session.maps[role], plane)
    box = filled_box(heat)
    heat, rgb = np.nan_to_num(heat[box]) / session.hottest(role), rgb[box]
    hot = heat > 0.01
    values = heat[hot]
    colours = _inferno()[np.clip(values * 255, 0, 255).astype(np.uint8)]
    alpha = (np.clip(values * 2.5, 0, 1) * session.opacity)[:, None]
    rgb[hot] = rgb[hot] * (1 - alpha) + alpha * colours


def _draw_outlines(rgb: npt.NDArray[Any], session: Session, plane: Plane, role: str, colour: str) -> None:
    if role not in session.maps or not session.shows(role):
        return
    labels = _cut(session, session.maps[role], plane)
    box = filled_box(labels)
    inside, rgb = labels[box] > 0, rgb[box]
    kept = inside.copy()
    kept[1:] &= inside[:-1]
    kept[:-1] &= inside[1:]
    kept[:, 1:] &= inside[:, :-1]
    kept[:, :-1] &= inside[:, 1:]
    rgb[inside & ~kept] = tuple(bytes.fromhex(colour[1:]))


@lru_cache(maxsize=1)
def _inferno() -> npt.NDArray[np.float32]:
    from matplotlib import colormaps

    return (np.array(colormaps["inferno"](np.linspace(0, 1, 256)))[:, :3] * 255).astype(np.float32)
