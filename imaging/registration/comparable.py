"""Whether two studies may be compared, and what makes their measurements differ although the nodule did not change."""

from __future__ import annotations

from typing import Any, Final

from imaging.errors import InputError, Notice
from imaging.geometry.volume import Volume
from imaging.registration.growth import days_between

#: Slices whose thickness differs by more give other volumes of small nodules, mm.
THICKNESS_MM: Final = 0.5


def comparability(first: Volume, second: Volume) -> tuple[Notice, ...]:
    """The doubts about comparing two studies; never holds a name or a patient's number.

    ``compare.thickness``, ``compare.kernel``: the scans differ in what volumes depend on. ``compare.patient_unknown``:
    one of them does not say whose it is. ``compare.no_dates``: there is no doubling time.

    Raises:
        InputError: ``compare.same_series`` for one series twice; ``compare.other_patient`` where both name a patient
            and not the same.

    Source: Fleischner Society 2017, doi:10.1148/radiol.2017162894, on thin slices and the same technique.
    """
    if first.seriesuid and first.seriesuid == second.seriesuid:
        raise InputError("compare.same_series", "both studies are the same series", where=first.seriesuid)
    return (*_patients(first, second), *_thickness(first, second), *_kernels(first, second), *_dates(first, second))


def _patients(first: Volume, second: Volume) -> tuple[Notice, ...]:
    ids = [_patient_id(volume) for volume in (first, second)]
    if not all(ids):
        return (Notice("compare.patient_unknown", "one of the studies does not say which patient it shows"),)
    if ids[0] != ids[1]:
        message = "the Patient IDs (0010,0020) of the two studies differ"
        raise InputError("compare.other_patient", message, where=second.seriesuid or None)
    return ()


def _patient_id(volume: Volume) -> str:
    header: Any = volume.origin.header if volume.origin else None
    return "" if header is None else str(header.get("PatientID", "") or "").strip()


def _thickness(first: Volume, second: Volume) -> tuple[Notice, ...]:
    here, other = _thickness_mm(first), _thickness_mm(second)
    if abs(here - other) <= THICKNESS_MM:
        return ()
    message = (
        f"slices are {here:.4g} mm thick in one study and {other:.4g} mm in the other; small volumes differ by that"
    )
    return (Notice("compare.thickness", message),)


def _thickness_mm(volume: Volume) -> float:
    """The larger of what the header claims and the spacing of the slices."""
    claimed = volume.origin.slice_thickness_mm if volume.origin else None
    return max(claimed or 0.0, volume.grid.spacing_mm[0])


def _kernels(first: Volume, second: Volume) -> tuple[Notice, ...]:
    names = [(volume.origin.convolution_kernel if volume.origin else None) or "" for volume in (first, second)]
    if names[0] == names[1]:
        return ()
    words = " and ".join(name or "an unnamed one" for name in names)
    return (Notice("compare.kernel", f"the reconstruction kernels differ ({words}); small volumes differ by that"),)


def _dates(first: Volume, second: Volume) -> tuple[Notice, ...]:
    dates = [volume.origin.study_date if volume.origin else None for volume in (first, second)]
    if days_between(dates[0], dates[1]) is not None:
        return ()
    return (Notice("compare.no_dates", "the studies have no two different dates, so there is no doubling time"),)
