"""From a path to a volume: list what it holds, choose one series, read it.

Nothing is guessed: one usable series is read, of several none is (``series.ambiguous``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from imaging.errors import InputError, Notice, UsageError
from imaging.geometry.volume import Volume
from imaging.io.limits import Limits
from imaging.io.series_index import Candidate, Listing, folder_of, index
from imaging.io.series_info import SeriesInfo
from imaging.io.series_repair import as_copies, evened
from imaging.io.sources import open_source

Progress = Callable[[int, int], None]
Uneven = Literal["refuse", "interpolate"]

#: Reasons that lie in what a series is, not in a fault of it.
_BY_NATURE = frozenset(
    {"series.no_volume", "series.not_ct", "series.perfusion", "series.derived", "series.single_slice"}
)


def list_series(path: str | Path, *, limits: Limits | None = None) -> list[SeriesInfo]:
    """What a file, a folder or a zip holds, from headers alone.

    Raises:
        InputError: only if the path as a whole cannot be looked into (``input.*``, ``archive.*``); whatever is wrong
            with a series is said in its line.
    """
    with open_source(path, limits=limits) as source:
        return [candidate.info for candidate in index(source).candidates]


def read_volume(
    path: str | Path,
    *,
    series: str | SeriesInfo | None = None,
    uneven: Uneven = "refuse",
    limits: Limits | None = None,
    on_progress: Progress | None = None,
) -> Volume:
    """The CT at a path in Hounsfield units, with a notice for everything that was repaired, dropped or is in doubt.

    Args:
        path: a file, a folder (at any depth) or a zip.
        series: which one, if there are several: a line of `list_series`, a series UID, or ``UID#group``.
        uneven: what becomes of missing slices and of uneven steps along a stack: refused (``geometry.gap``,
            ``geometry.irregular``), or filled by linear interpolation between the measured slices and told
            (``geometry.filled``). Nothing is known of what lies in a gap.
        limits: caps on sizes; by default those of the environment.
        on_progress: called as (slices read, slices); may raise to cancel.

    Raises:
        InputError: ``series.ambiguous`` if several could be meant; a code of `imaging.errors.CODES` that names
            attribute, value and file if the series cannot be read right.
        UsageError: ``series.unknown`` if `series` names none.
    """
    with open_source(path, limits=limits) as source:
        listing = index(source)
        chosen = choose(listing, series, uneven=uneven)
        volume = _read(chosen, on_progress)
        return volume.with_warnings(*listing.notices, *_others(listing, chosen))


def _read(chosen: Candidate, on_progress: Progress | None) -> Volume:
    if chosen.file is not None:
        from imaging.io.files import read_volume as read_file

        return read_file(chosen.file)
    from imaging.io.dicom_volume import read_stack

    assert chosen.stack is not None
    try:
        return read_stack(
            chosen.stack, chosen.info, filling=chosen.filling, numbers=chosen.numbers, on_progress=on_progress
        )
    except InputError as error:
        if error.code == "geometry.conflict" and len(chosen.stands_for) > 1:  # no copies after all, but phases
            _ambiguous(list(chosen.stands_for))
        raise


def choose(listing: Listing, series: str | SeriesInfo | None, *, uneven: Uneven = "refuse") -> Candidate:
    """The one candidate that is meant.

    Raises:
        InputError: ``series.ambiguous``, ``series.none_usable``, or the candidate's own refusal.
        UsageError: ``series.unknown``.
    """
    chosen = _only(listing) if series is None else _named(listing, series)
    if uneven == "interpolate":
        chosen = evened(chosen)
    if chosen.problem is not None and not (series is not None and chosen.problem.code == "series.derived"):
        raise chosen.problem
    for stray in listing.strays:
        if series is None or _beside(stray.where or "", chosen.info.files):
            raise stray
    return chosen


def _beside(name: str, files: Sequence[str]) -> bool:
    """Whether a file lies in the folder of one of the others."""
    return folder_of(name) in {folder_of(file) for file in files}


def _named(listing: Listing, series: str | SeriesInfo) -> Candidate:
    name = series.name if isinstance(series, SeriesInfo) else series
    found = [one for one in listing.candidates if name and one.info.name == name]
    found = found or [one for one in listing.candidates if name and one.info.seriesuid == name]
    if isinstance(series, SeriesInfo):
        found = [one for one in found if one.info.patient_key == series.patient_key]
    if not found:
        raise UsageError("series.unknown", f"{name or 'no series UID'} is not among {_lines(listing.candidates)}")
    return found[0] if len(found) == 1 else as_copies(found) or _ambiguous(found)


def _only(listing: Listing) -> Candidate:
    usable = [one for one in listing.candidates if one.info.usable]
    if len(usable) > 1:
        usable = [as_copies(usable) or _ambiguous(usable)]
    faulty = [one for one in listing.candidates if not one.info.usable and one.info.code not in _BY_NATURE]
    if usable:
        patient = usable[0].info.patient_key
        others = [one for one in faulty if one.info.patient_key not in ("", patient)]
        return _ambiguous([*usable, *others]) if others else usable[0]
    remaining = faulty or listing.candidates
    if len(remaining) == 1:
        return remaining[0]
    codes = {one.info.code for one in remaining}
    if len(codes) == 1 and (problem := remaining[0].problem) is not None:
        return remaining[0] if len({one.info.seriesuid for one in remaining}) == 1 else _none_usable(remaining, problem)
    return _none_usable(remaining, None)


def _none_usable(candidates: list[Candidate], problem: InputError | None) -> Candidate:
    code = problem.code if problem is not None else "series.none_usable"
    raise InputError(code, f"none of {len(candidates)} series can be read: {_lines(candidates)}")


def _ambiguous(candidates: list[Candidate]) -> Candidate:
    raise InputError("series.ambiguous", f"{len(candidates)} could be meant: {_lines(candidates)}")


def _lines(candidates: list[Candidate]) -> str:
    return "; ".join(_line(one.info) for one in candidates)


def _line(info: SeriesInfo) -> str:
    words = [info.name or ", ".join(info.files[:1])]
    words.append(f"({', '.join(word for word in (info.description, f'{info.instances} images') if word)})")
    if not info.usable:
        words.append(f"{info.code}: {info.reason}")
    return " ".join(words)


def _others(listing: Listing, chosen: Candidate) -> list[Notice]:
    read = (chosen, *chosen.stands_for)
    others = [one for one in listing.candidates if all(one is not other for other in read)]
    return [Notice("series.others", f"{len(others)} not read: {_lines(others)}")] if others else []
