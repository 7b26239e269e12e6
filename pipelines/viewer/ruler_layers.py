"""Rulers as napari layers: lines, and their lengths as texts at their ends, off what is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from pipelines.viewer.axes import to_world
from pipelines.viewer.layers import LayerData
from pipelines.viewer.rings import NO_LEAST_SIZE

if TYPE_CHECKING:
    from pipelines.viewer.rulers import Ruler
    from pipelines.viewer.session import Session

ROLES: Final = ("rulers", "ruler_lengths")
COLOUR: Final = "#ffee58"


def ruler_layers(session: Session, drawn: tuple[Ruler, ...], said: dict[str, list[str]]) -> list[LayerData]:
    """The layer of the lines, and that of the texts: what `features` said of the rulers before they were laid flat."""
    common = {"units": ("mm",) * 3, "axis_labels": ("z", "y", "x"), "projection_mode": "all"}
    lines = {"name": "rulers", "edge_color": COLOUR, "edge_width": 1.0, "vector_style": "line", "opacity": 1.0}
    texts = {
        "name": "lengths",
        "size": 1.0,
        "canvas_size_limits": NO_LEAST_SIZE,
        "face_color": "transparent",
        "border_color": "transparent",
        "features": said,
        "text": {"string": "{label}", "size": 12, "color": COLOUR, "anchor": "upper_left"},
    }
    told = [{"metadata": {"nodulus": role, "session": session}} for role in ROLES]
    return [
        (vectors(drawn), common | lines | told[0], "vectors"),
        (ends(drawn), common | texts | told[1], "points"),
    ]


def vectors(rulers: tuple[Ruler, ...]) -> npt.NDArray[np.float64]:
    """(rulers, 2, 3): where each begins, and where it goes from there, in world order (z, y, x)."""
    starts = to_world([ruler.start_mm for ruler in rulers]).reshape(-1, 3)
    ends = to_world([ruler.end_mm for ruler in rulers]).reshape(-1, 3)
    return np.stack([starts, ends - starts], axis=1)


def ends(rulers: tuple[Ruler, ...]) -> npt.NDArray[np.float64]:
    """(rulers, 3): where the texts stand, in world order."""
    return to_world([ruler.end_mm for ruler in rulers]).reshape(-1, 3)


def features(rulers: tuple[Ruler, ...]) -> dict[str, list[str]]:
    """What the texts say."""
    return {"label": [ruler.label for ruler in rulers]}
