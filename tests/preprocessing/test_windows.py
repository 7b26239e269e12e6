"""The window table against the DICOM formula."""

from __future__ import annotations

import numpy as np
import pytest

from imaging.errors import UsageError
from imaging.preprocessing.windows import WINDOWS, apply_window, window_limits_hu


@pytest.mark.parametrize("name", WINDOWS)
def test_grey_is_linear_between_the_ends_and_clipped_outside(name):
    centre, width = WINDOWS[name]
    hu = np.array([-5000, centre - width / 2, centre - width / 4, centre, centre + width / 2, 5000])
    grey = apply_window(hu, name)
    assert grey.dtype == np.float32
    np.testing.assert_allclose(grey, [0, 0, 0.25, 0.5, 1, 1], atol=1e-6)


def test_the_source_is_left_alone():
    hu = np.zeros(3, np.float32)
    apply_window(hu)
    assert hu.tolist() == [0, 0, 0]


def test_an_unknown_window_is_refused_with_the_names_there_are():
    with pytest.raises(UsageError, match="mediastinum") as refusal:
        window_limits_hu("brain")
    assert refusal.value.code == "usage.option"
