"""One compiled shader for a mesh, however often it moves.

vispy gives a mesh a new piece of shader code each time that its corners change, although the code is the same, and
compiles the whole program again: 5 to 10 ms where the processor draws, for the crosshair and for the shade behind a
text that grows. `reuse` lets it keep the piece that it has. Nothing else of vispy changes; without the names that it
looks for it leaves all as it is.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np


@cache
def reuse() -> bool:
    """Teach vispy's meshes once; whether they could be taught."""
    from vispy.visuals.mesh import MeshVisual

    build = getattr(MeshVisual, "_build_color_transform", None)
    if build is None:
        return False
    passing = build(None, np.zeros(4))  # passes colours on; the piece that maps values to colours differs by mesh

    def kept(mesh: Any, colours: Any) -> Any:
        maps_values = colours.ndim == 2 and colours.shape[1] == 1
        return build(mesh, colours) if maps_values else passing

    MeshVisual._build_color_transform = kept
    return True
