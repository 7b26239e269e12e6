"""A session as napari layer data: (data, options, type), all in LPS millimetres with axes (z, y, x).

Arrays are those of the session, never copies. Every layer's metadata carries ``nodulus`` (the role) and ``session``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.geometry import Grid
from pipelines.viewer.axes import to_world
from pipelines.viewer.drawings import AI_ROLES, HEAT_ROLES, LABEL_COLOURS
from pipelines.viewer.rings import NO_LEAST_SIZE, STATE_COLOURS, rings
from pipelines.viewer.session import Session

LayerData = tuple[Any, dict[str, Any], str]

UNITS: Final = ("mm", "mm", "mm")
AXES: Final = ("z", "y", "x")


def place(grid: Grid) -> dict[str, Any]:
    """The options that put an array of an upright grid where it belongs."""
    z, y, x = grid.to_mm([0, 0, 0])[::-1]
    return {"scale": grid.spacing_mm, "translate": (float(z), float(y), float(x)), "units": UNITS, "axis_labels": AXES}


def contrast_limits(window: tuple[float, float]) -> tuple[float, float]:
    """(lowest, highest) HU of a (centre, width) window."""
    centre, width = window
    return centre - width / 2, centre + width / 2


def projection(session: Session) -> str:
    """How a picture shows the viewer's thickness: napari's own default is the mean over all of it."""
    return "max" if session.slab_mm else "none"


def layer_data(session: Session) -> list[LayerData]:
    """All layers of a session, the CT first."""
    return [ct_layer(session), *result_layers(session)]


def made(data: LayerData) -> Any:
    """The layer of its data: of maps and masks only what is not zero is drawn."""
    from napari.layers import Layer

    from pipelines.viewer import filled

    array, options, _ = data
    role = options["metadata"]["nodulus"]
    if role in HEAT_ROLES:
        return filled.Image(array, **options)
    return filled.Labels(array, **options) if role in LABEL_COLOURS else Layer.create(*data)


def ct_layer(session: Session) -> LayerData:
    """The CT at the session's window."""
    options = _options(session, "ct") | {
        "contrast_limits": contrast_limits(session.window),
        "colormap": "gray_r" if session.inverted else "gray",
        "interpolation2d": "linear",
        "rendering": "mip",
        "blending": "translucent_no_depth",
        "projection_mode": projection(session),
    }
    return session.shown.array, options, "image"


def result_layers(session: Session) -> list[LayerData]:
    """The maps and masks of the session's result and a ring a finding; nothing where there is none."""
    layers = [_layer(session, role) for role in AI_ROLES[:-1] if role in session.maps]
    return [*layers, findings_layer(session)] if session.findings else layers


def _layer(session: Session, role: str) -> LayerData:
    array = session.maps[role]
    if role in LABEL_COLOURS:
        colour = {None: LABEL_COLOURS[role], 0: "transparent"}
        options = _options(session, role) | {"opacity": 0.8, "visible": session.shows(role), "colormap": colour}
        return array, options, "labels"
    options = _options(session, role) | {
        "colormap": heat_colours(),
        "contrast_limits": (0.0, session.hottest(role)),
        "opacity": session.opacity,
        "blending": "translucent_no_depth",
        "interpolation2d": "linear",
        "projection_mode": projection(session),
        "visible": session.shows(role),
    }
    return array, options, "image"


def heat_colours() -> Any:
    """Inferno, a perceptual map, fading in from nothing so that the CT stays readable where nothing is suspicious."""
    from matplotlib import colormaps
    from napari.utils import Colormap

    colours = np.array(colormaps["inferno"](np.linspace(0, 1, 256)))
    colours[:, 3] = np.clip(np.linspace(0, 2.5, 256), 0, 1)
    return Colormap(colours, name="nodulus suspicion")


def findings_layer(session: Session) -> LayerData:
    """One ring a finding, as wide as the nodule and a margin, coloured by what was decided."""
    points, features, options = rings(session.findings)
    options |= _options(session, "findings") | {
        "features": features,
        "text": _text(),
        "projection_mode": "rescale_spherical",
        "canvas_size_limits": NO_LEAST_SIZE,
        "visible": session.shows("findings"),
    }
    del options["scale"], options["translate"]
    return points, options, "points"


def _text() -> dict[str, Any]:
    from napari.layers.utils.color_encoding import NominalColorEncoding
    from napari.utils.colormaps.categorical_colormap import CategoricalColormap

    # In the colours of the rings: white would vanish in an inverted picture.
    colour = NominalColorEncoding(feature="state", colormap=CategoricalColormap(colormap=STATE_COLOURS))
    return {"string": "{label}", "size": 11, "color": colour, "translation": (10.0, -10.0, 8.0)}


def crosshair_layer(session: Session) -> LayerData:
    """Six half-lines that leave the point itself free."""
    options = _options(session, "crosshair") | {
        "edge_color": "#4fc3f7",
        "edge_width": 1.2,
        "vector_style": "line",
        "opacity": 0.7,
        "projection_mode": "all",
    }
    del options["scale"], options["translate"]
    return crosshair(session), options, "vectors"


def crosshair(session: Session, *, gap_mm: float = 12.0) -> npt.NDArray[np.float64]:
    """(6, 2, 3): start and length of the half-lines from `gap_mm` off the point to the edge of the CT."""
    point = to_world(session.point_mm)
    grid = session.grid
    low = grid.to_mm([0, 0, 0])[::-1]
    high = grid.to_mm(np.asarray(grid.shape) - 1)[::-1]
    lines = np.zeros((6, 2, 3))
    for axis in range(3):
        for side, end in ((0, low), (1, high)):
            direction = -1.0 if side == 0 else 1.0
            room = abs(end[axis] - point[axis])
            gap, length = min(gap_mm, room), max(0.0, room - gap_mm)
            lines[2 * axis + side, 0] = point
            lines[2 * axis + side, 0, axis] += direction * gap
            lines[2 * axis + side, 1, axis] = direction * length
    return lines


def _options(session: Session, role: str) -> dict[str, Any]:
    return place(session.grid) | {"name": session.drawing_name(role), "metadata": {"nodulus": role, "session": session}}
