"""The readers' marks of LIDC-IDRI: one XML file a CT series, up to four reading sessions, outlines slice by slice.

An outline of three points or more is of a nodule of 3 mm or more; a single point marks a smaller nodule; non-nodules
have a single point too. Outlines run along the first pixels outside the nodule.

Source: Armato et al. 2011, doi:10.1118/1.3528204; https://wiki.cancerimagingarchive.net/display/Public/LIDC-IDRI
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

#: Ratings that say something about how a nodule looks.
RATINGS = ("subtlety", "calcification", "sphericity", "margin", "lobulation", "spiculation", "texture", "malignancy")
CT_ROOT, RADIOGRAPH_ROOT = "LidcReadMessage", "IdriReadMessage"


@dataclass(frozen=True)
class Outline:
    """One closed line (or one point) on one image, as (column, row) pixels; a hole where `inside` is False."""

    image: str
    points: tuple[tuple[int, int], ...]
    inside: bool = True


@dataclass(frozen=True)
class Mark:
    """What one reader marked at one place.

    Args:
        reader: number of the reading session.
        outlines: on each image it touches.
        ratings: 1 to 5 (calcification 1 to 6); empty for small nodules and non-nodules.
        is_nodule: as opposed to a non-nodule.
    """

    reader: int
    outlines: tuple[Outline, ...]
    ratings: Mapping[str, int]
    is_nodule: bool

    @property
    def is_outlined(self) -> bool:
        """Whether it is a nodule of 3 mm or more: smaller ones have one point only."""
        return self.is_nodule and any(len(outline.points) >= 3 for outline in self.outlines)


@dataclass(frozen=True)
class Reading:
    """All marks of one CT series."""

    seriesuid: str
    marks: tuple[Mark, ...]
    sessions: int


def read_reading(path: Path) -> Reading | None:
    """The marks of a file; None for one of a radiograph.

    Raises:
        ValueError: if it is not such a file.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"not XML: {error}") from error
    name = _plain(root.tag)
    if name == RADIOGRAPH_ROOT:
        return None
    if name != CT_ROOT:
        raise ValueError(f"its root is {name}, not {CT_ROOT}")
    for element in root.iter():
        element.tag = _plain(element.tag)
    uid = (root.findtext("ResponseHeader/SeriesInstanceUid") or "").strip()
    sessions = root.findall("readingSession")
    if not uid or not sessions:
        raise ValueError("it names no series or holds no reading session")
    marks = tuple(mark for number, session in enumerate(sessions) for mark in _marks(session, number))
    return Reading(uid, marks, len(sessions))


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _marks(session: ElementTree.Element, reader: int) -> Iterator[Mark]:
    for nodule in session.findall("unblindedReadNodule"):
        outlines = tuple(_outline(roi, "edgeMap") for roi in nodule.findall("roi"))
        given = {name: nodule.findtext(f"characteristics/{name}") for name in RATINGS}
        ratings = {name: int(value) for name, value in given.items() if value and value.strip().isdigit()}
        yield Mark(reader, outlines, ratings, is_nodule=True)
    for other in session.findall("nonNodule"):
        yield Mark(reader, (_outline(other, "locus"),), {}, is_nodule=False)


def _outline(roi: ElementTree.Element, points: str) -> Outline:
    """One region; refuses a place that is no number."""
    image = (roi.findtext("imageSOP_UID") or "").strip()
    places = tuple((int(p.findtext("xCoord") or ""), int(p.findtext("yCoord") or "")) for p in roi.findall(points))
    if not image or not places:
        raise ValueError("a region names no image or has no point")
    return Outline(image, places, (roi.findtext("inclusion") or "TRUE").strip().upper() != "FALSE")
