"""The HU windows: which attenuation is black and which is white, as one table."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from imaging.errors import UsageError

#: Name -> (centre, width) in HU; the usual settings of a reading room.
WINDOWS: Final = MappingProxyType(
    {
        "lung": (-600.0, 1500.0),
        "mediastinum": (40.0, 400.0),
        "bone": (400.0, 1800.0),
    }
)


def window_limits_hu(name: str) -> tuple[float, float]:
    """The HU that turn black and white in a window of the table.

    Raises:
        UsageError: ``usage.option`` for a name that is not in the table.

    >>> window_limits_hu("lung")
    (-1350.0, 150.0)
    """
    if name not in WINDOWS:
        raise UsageError("usage.option", f"there is no window {name!r}; there are {', '.join(WINDOWS)}")
    centre, width = WINDOWS[name]
    return centre - width / 2, centre + width / 2


def apply_window(array_hu: npt.NDArray[Any], name: str = "lung") -> npt.NDArray[np.float32]:
    """HU to grey in [0, 1], float32, clipped at both ends; same shape as the array.

    Raises:
        UsageError: ``usage.option`` for a name that is not in the table.

    Source: the linear exact function of DICOM PS3.3 C.11.2.1.3.2.

    >>> apply_window(np.array([-2000, -600, 3000])).tolist()
    [0.0, 0.5, 1.0]
    """
    low, high = window_limits_hu(name)
    grey = array_hu.astype(np.float32)
    grey -= np.float32(low)
    grey /= np.float32(high - low)
    clipped: npt.NDArray[np.float32] = np.clip(grey, 0.0, 1.0, out=grey)
    return clipped
