"""One plane of a session as a picture: grey CT at the window, the heat map over it, the nodules' outlines. No Qt."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.viewer.drawings import HEAT_ROLES, LABEL_COLOURS
from pipelines.viewer.planes import Plane, cut
from pipelines.viewer.session import Session


def picture(session: Session, plane: Plane) -> npt.NDArray[np.uint8]:
    """The plane through the session's point as RGB; row 0 is the top, one pixel a voxel (not square in mm)."""
    ct = _cut(session, session.shown.array, plane)
    centre, width = session.window
    grey = np.clip((ct - (centre - width / 2)) * (255.0 / width), 0, 255)
    if session.inverted:
        grey = 255.0 - grey
    rgb = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)
    for role in HEAT_ROLES:
        _lay_heat(rgb, session, plane, role)
    for role, colour in LABEL_COLOURS.items():
        _draw_outlines(rgb, session, plane, role, colour)
    return rgb


def _cut(session: Session, array: npt.NDArray[Any], plane: Plane) -> npt.NDArray[Any]:
    return cut(array, session.grid, plane, session.point_mm, slab_mm=session.slab_mm)


def _lay_heat(rgb: npt.NDArray[Any], session: Session, plane: Plane, role: str) -> None:
    if role not in session.maps or session.opacity == 0 or not session.shows(role):
        return
    heat = np.nan_to_num(_cut(session, session.maps[role], plane)) / session.hottest(role)
    hot = heat > 0.01
    if not hot.any():
        return
    values = heat[hot]
    colours = _inferno()[np.clip(values * 255, 0, 255).astype(np.uint8)]
    alpha = (np.clip(values * 2.5, 0, 1) * session.opacity)[:, None]
    rgb[hot] = rgb[hot] * (1 - alpha) + alpha * colours


def _draw_outlines(rgb: npt.NDArray[Any], session: Session, plane: Plane, role: str, colour: str) -> None:
    if role not in session.maps or not session.shows(role):
        return
    inside = _cut(session, session.maps[role], plane) > 0
    if not inside.any():
        return
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
