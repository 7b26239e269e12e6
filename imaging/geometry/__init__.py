"""Places in space: grids, volumes, resampling and boxes, always in LPS millimetres."""

from imaging.geometry.grid import Grid
from imaging.geometry.volume import Volume

__all__ = ["Grid", "Volume"]
