"""Candidates that become readable in another way: volumes that are copies of one another, stacks that are not even."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from imaging.errors import InputError
from imaging.io.dicom_frames import read_frames
from imaging.io.dicom_geometry import Stack, place
from imaging.io.dicom_pixels import PixelLayout, Stored, to_hu
from imaging.io.dicom_uneven import place_evenly
from imaging.io.series_index import Candidate, with_geometry

#: Refusals that lie in the steps along the stack alone.
UNEVEN = frozenset({"geometry.gap", "geometry.irregular"})


def as_copies(candidates: Sequence[Candidate]) -> Candidate | None:
    """One candidate in place of several of one series that lie image on image, or None if they do not.

    The first pair is compared here, so that two phases are told apart at the cost of two images; the others are
    compared when the volume is read (``geometry.conflict`` where they differ).
    """
    first = candidates[0]
    one_series = {(one.info.seriesuid, one.info.patient_key) for one in candidates}
    if len(one_series) > 1 or any(one.stack is None for one in candidates):
        return None
    try:
        stack = place([one for candidate in candidates for one in candidate.slices])
        everywhere = [len(stack.copies.get(plane, ())) for plane in range(len(stack.slices))]
        if min(everywhere) < len(candidates) - 1 or not _first_are_equal(stack):
            return None
    except InputError:
        return None
    notices = tuple(notice for notice in first.info.notices if notice.code != "series.group")
    files = tuple(dict.fromkeys(name for one in candidates for name in one.info.files))
    info = replace(first.info, group="", files=files, instances=sum(one.info.instances for one in candidates))
    info = with_geometry(info, stack, notices)
    numbers = first.numbers  # of the whole series: a copy that bears another slice's number makes both doubtful
    return Candidate(info, stack=stack, derived=first.derived, numbers=numbers, stands_for=tuple(candidates))


def _first_are_equal(stack: Stack) -> bool:
    images = (stack.slices[0], *stack.copies[0])
    values: dict[int, np.ndarray] = {}

    def keep(number: int, stored: Stored, form: PixelLayout) -> None:
        values[number] = np.empty((form.rows, form.columns), dtype=np.float32)
        to_hu(stored, images[number], form, values[number])

    read_frames(images, keep)
    return all(np.array_equal(values[0], other) for other in values.values())


def evened(candidate: Candidate) -> Candidate:
    """A candidate refused for its steps, with an even grid laid through it; any other as it is.

    Raises:
        InputError: those of `dicom_uneven.place_evenly`.
    """
    if candidate.problem is None or candidate.problem.code not in UNEVEN or not candidate.slices:
        return candidate
    stack, filling = place_evenly(candidate.slices)
    info = with_geometry(candidate.info, stack, candidate.info.notices + stack.notices)
    info = replace(info, usable=True, code=None, reason=None)
    return replace(candidate, info=info, stack=stack, filling=filling, problem=None, stands_for=(candidate,))
