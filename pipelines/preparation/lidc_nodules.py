"""From the outlines of several readers to nodules: which outlines are of one nodule, its place, size and ratings.

Two readers mean the same nodule where their outlines share a pixel of one image. Places are LPS mm by the images' own
headers; a diameter is that of the sphere of the outlined volume; both are means over the readers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.preparation.lidc_xml import Mark, Outline

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Place:
    """Where one image lies: `to_mm` (3, 3) takes (row, column, 1) to LPS mm; the area of a pixel."""

    to_mm: Floats
    pixel_mm2: float


@dataclass(frozen=True)
class Nodule:
    """One nodule, or one mark that is none.

    Args:
        centre_mm: LPS.
        diameter_mm: -1 for a point.
        readers: how many outlined it.
        ratings: means over its readers.
        what: ``nodule``, ``small nodule`` or ``non-nodule``.
    """

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    readers: int
    ratings: Mapping[str, float]
    what: str


def nodules_of(marks: Sequence[Mark], places: Mapping[str, Place], *, spacing_mm: float) -> list[Nodule]:
    """Outlined nodules, one entry each however many readers saw it, then small nodules and non-nodules as points.

    Args:
        marks: of one series.
        places: SOP Instance UID -> where that image lies.
        spacing_mm: between images.

    Raises:
        KeyError: if a mark names an image that is not there.
    """
    outlined = [mark for mark in marks if mark.is_outlined]
    filled = [{image: _filled(mark, image) for image in _images(mark)} for mark in outlined]
    found = [_nodule([(outlined[i], filled[i]) for i in group], places, spacing_mm) for group in _groups(filled)]
    points = [_point(mark, places) for mark in marks if not mark.is_outlined]
    return sorted(found, key=lambda n: (-n.readers, n.centre_mm)) + points


def _images(mark: Mark) -> list[str]:
    return list(dict.fromkeys(outline.image for outline in mark.outlines))


def _filled(mark: Mark, image: str) -> Pixels:
    """Pixels (n, 2) as (row, column) that lie inside a mark's outlines on one image."""
    inside: set[tuple[int, int]] = set()
    holes: set[tuple[int, int]] = set()
    for outline in mark.outlines:
        if outline.image == image:
            (inside if outline.inside else holes).update(_interior(outline))
    return np.array(sorted(inside - holes), np.int64).reshape(-1, 2)


def _interior(outline: Outline) -> set[tuple[int, int]]:
    """The pixels that an outline encloses; the outline itself, outside the nodule, only where it encloses none."""
    from skimage.draw import polygon

    line = {(y, x) for x, y in outline.points}
    fill: Any = polygon
    rows, columns = fill([y for _, y in outline.points], [x for x, _ in outline.points])
    enclosed = set(zip(rows.tolist(), columns.tolist(), strict=True)) - line
    return enclosed or line


def _groups(filled: Sequence[Mapping[str, Pixels]]) -> list[list[int]]:
    """Marks that share a pixel, directly or through others."""
    owner: dict[tuple[str, int, int], int] = {}
    leader = list(range(len(filled)))

    def lead(i: int) -> int:
        while leader[i] != i:
            i = leader[i]
        return i

    for i, images in enumerate(filled):
        for image, pixels in images.items():
            for row, column in pixels.tolist():
                first = owner.setdefault((image, row, column), i)
                leader[lead(i)] = lead(first)
    groups: dict[int, list[int]] = {}
    for i in range(len(filled)):
        groups.setdefault(lead(i), []).append(i)
    return list(groups.values())


def _nodule(
    members: Sequence[tuple[Mark, Mapping[str, Pixels]]], places: Mapping[str, Place], spacing_mm: float
) -> Nodule:
    """One nodule of its readers; outlines of one reader that belong to it count as one."""
    readers = sorted({mark.reader for mark, _ in members})
    centres, diameters = [], []
    for reader in readers:
        pieces = [(image, p) for mark, images in members if mark.reader == reader for image, p in images.items()]
        centre, volume = _measured(pieces, places, spacing_mm)
        centres.append(centre)
        diameters.append(float(np.cbrt(6.0 * volume / np.pi)))
    ratings = {
        name: float(np.mean([mark.ratings[name] for mark, _ in members if name in mark.ratings]))
        for name in sorted({name for mark, _ in members for name in mark.ratings})
    }
    return Nodule(_point_of(np.mean(centres, axis=0)), float(np.mean(diameters)), len(readers), ratings, "nodule")


def _measured(
    pieces: Sequence[tuple[str, Pixels]], places: Mapping[str, Place], spacing_mm: float
) -> tuple[Floats, float]:
    """Centre of mass (LPS mm) and volume (mm^3) of the pixels on all images."""
    moment, volume = np.zeros(3), 0.0
    for image, pixels in pieces:
        place = places[image]
        part = len(pixels) * place.pixel_mm2 * spacing_mm
        moment += part * _mm(pixels.mean(axis=0), place)
        volume += part
    return moment / volume, volume


def _mm(pixel: Floats, place: Place) -> Floats:
    """LPS mm of a (row, column)."""
    where: Floats = place.to_mm @ np.array([pixel[0], pixel[1], 1.0])
    return where


def _point(mark: Mark, places: Mapping[str, Place]) -> Nodule:
    outline = mark.outlines[0]
    column, row = np.mean(outline.points, axis=0)
    where = _mm(np.array([row, column]), places[outline.image])
    return Nodule(_point_of(where), -1.0, 1, mark.ratings, "small nodule" if mark.is_nodule else "non-nodule")


def _point_of(values: Floats) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
