"""What the numbers of a CT can be: a range of values that are Hounsfield units, a spacing in millimetres."""

from __future__ import annotations

#: Spacings of CTs, from an industrial micro-CT to a scout; outside of it the unit is in doubt.
PLAUSIBLE_SPACING_MM = (0.02, 60.0)


def doubt_about_range(low: float, high: float) -> tuple[bool, str | None]:
    """Whether values from `low` to `high` can be Hounsfield units, and what is strange about them, or None.

    A CT has air around or within the patient (near -1000) and soft tissue near 0. Values that never go below zero are
    stored values, labels or scaled pictures; a range of a few units is a normalised picture.

    >>> doubt_about_range(-1024.0, 3071.0)
    (True, None)
    """
    span = f"the values run from {low:g} to {high:g}"
    if low >= 0:
        return False, f"{span}: none is below 0, where air and fat would be"
    if high - low < 50:
        return False, f"{span}: too few for air and tissue"
    if low < -40000 or high > 100000:
        return False, f"{span}: far beyond the scale of HU"
    if low > -500:
        return True, f"{span}: there is no air"
    if low < -8192 or high > 32767:
        return True, f"{span}: beyond the usual scale of HU"
    return True, None


def doubt_about_spacing(spacing_mm: tuple[float, float, float]) -> str | None:
    """What is strange about voxels of this size, or None.

    >>> doubt_about_spacing((2.5, 0.7, 0.7)) is None
    True
    """
    low, high = PLAUSIBLE_SPACING_MM
    if all(low <= step <= high for step in spacing_mm):
        return None
    return f"the voxels would be {' x '.join(f'{step:g}' for step in spacing_mm)} mm"
