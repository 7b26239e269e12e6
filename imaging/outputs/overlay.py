"""`overlay.png`: each finding in three planes through its centre, at lung window, with a close-up and its heat.

One row a finding: axial, coronal (head up) and sagittal (head up, seen from the left) at one scale, a ring around the
finding; beside them the axial plane close up, bare, and below it the same with the heat map and the outline.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import ceil
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from imaging.findings import Finding, Point
from imaging.io.atomic import write_bytes
from imaging.outputs.case import CaseResult
from imaging.outputs.drawing import (
    CANVAS,
    INK,
    ORANGE,
    QUIET,
    clean,
    draw_letters,
    draw_ring,
    draw_scale,
    draw_text,
    font,
    grey,
    heat_colours,
    with_heat,
    with_outline,
)
from imaging.outputs.planes import AXIAL, CORONAL, SAGITTAL, Field, Plane, View, field_of, sample
from imaging.outputs.words import NO_MARK, NOT_FOR_DIAGNOSIS, case_line, finding_line, operating_line

FILE_NAME: Final = "overlay.png"
#: The most suspicious ones; the others are in the table.
MOST_FINDINGS: Final = 10
ROW_HEIGHT: Final = 404
GAP: Final = 8
MARGIN: Final = 24
_MOST_MM: Final = 380.0
_CLOSE_UP_MM: Final = 44.0
#: Room between the lesion and the ring around it.
_RING_MM: Final = 7.0


def field_of_view(result: CaseResult) -> Field:
    """The lungs and what surrounds them, or the whole CT where no lung mask was made."""
    mask = None if result.lungs is None else result.lungs.mask
    return field_of(result.volume.grid, mask, margin_mm=30.0)


def draw_planes(result: CaseResult, point_mm: Point, field: Field, finding: Finding | None = None) -> Image.Image:
    """The three planes through a point side by side at one scale, marked if there is a finding."""
    part = field.around(point_mm, most_mm=_MOST_MM)
    x_mm, y_mm, z_mm = part.size_mm
    scale = max(x_mm / 440, y_mm / ROW_HEIGHT, z_mm / ROW_HEIGHT)
    panels = []
    for view, wide, high in ((AXIAL, x_mm, y_mm), (CORONAL, x_mm, z_mm), (SAGITTAL, y_mm, z_mm)):
        width, height = max(48, round(wide / scale)), max(48, round(high / scale))
        panels.append(_panel(result, Plane(view, _through(point_mm, part, view), width, height, scale), finding))
    return _side_by_side(panels, ROW_HEIGHT)


def _through(point_mm: Point, part: Field, view: View) -> Point:
    """The middle of the field, moved along the line of sight into the point's plane."""
    sight = np.cross(view.right, view.down)
    middle = np.asarray(part.centre_mm)
    x, y, z = middle + sight * (sight @ (np.asarray(point_mm) - middle))
    return float(x), float(y), float(z)


def _panel(result: CaseResult, plane: Plane, finding: Finding | None) -> Image.Image:
    image = Image.fromarray(grey(sample(result.volume.array, result.volume.grid, plane)))
    if finding is not None:
        image = draw_ring(image, plane, finding.centre_mm, (finding.diameter_mm or 0.0) / 2 + _RING_MM)
    draw_letters(image, plane)
    draw_scale(image, plane, 50 if plane.width * plane.mm_per_pixel > 120 else 10)
    draw_text(image, (10, 9), plane.view.name, size=12, anchor="lt", colour=QUIET)
    return image


def _side_by_side(panels: Sequence[Image.Image], height: int) -> Image.Image:
    width = sum(panel.width for panel in panels) + GAP * (len(panels) - 1)
    row, x = Image.new("RGB", (width, height), CANVAS), 0
    for panel in panels:
        row.paste(panel, (x, (height - panel.height) // 2))
        x += panel.width + GAP
    return row


def draw_close_up(result: CaseResult, finding: Finding) -> Image.Image:
    """The axial plane around a finding, bare; below it the same with heat and outline."""
    size = (ROW_HEIGHT - GAP) // 2
    field_mm = max(_CLOSE_UP_MM, 2.0 * (finding.long_axis_mm or finding.diameter_mm or 0.0))
    plane = Plane(AXIAL, finding.centre_mm, size, size, field_mm / size)
    bare = grey(sample(result.volume.array, result.volume.grid, plane))
    tiles = Image.new("RGB", (size, ROW_HEIGHT), CANVAS)
    upper = Image.fromarray(bare)
    draw_scale(upper, plane, 10)
    draw_text(upper, (8, 7), "axial, close up", size=12, anchor="lt", colour=QUIET)
    tiles.paste(upper, (0, 0))
    tiles.paste(_heat_tile(result, finding, plane, bare), (0, ROW_HEIGHT - size))
    return tiles


def _heat_tile(result: CaseResult, finding: Finding, plane: Plane, bare: npt.NDArray[np.uint8]) -> Image.Image:
    grid = result.volume.grid
    heat, name = (result.grad_cam, "Grad-CAM")
    if heat is None:
        heat, name = result.similarity, clean(f"similarity: {result.similarity_prompt or 'nodule'}", most=26)
    pixels = bare
    if heat is not None:
        most = float(heat.max(initial=0.0)) or 1.0
        pixels = with_heat(bare, sample(heat, grid, plane, fill=0.0) / most)
    inside = sample(result.nodules, grid, plane, order=0, fill=0.0) == finding.number
    tile = Image.fromarray(with_outline(pixels, inside, INK))
    if heat is not None:
        _draw_colour_bar(tile)
    draw_text(tile, (8, 7), name if heat is not None else "outline", size=12, anchor="lt", colour=INK)
    return tile


def _draw_colour_bar(tile: Image.Image) -> None:
    """What the colours mean: from none to the strongest value of this scan."""
    width, height = 64, 6
    colours = heat_colours(np.linspace(0, 1, width, dtype=np.float32))
    bar = np.broadcast_to(colours.astype(np.uint8), (height, width, 3))
    tile.paste(Image.fromarray(np.ascontiguousarray(bar)), (10, tile.height - 14))
    draw_text(tile, (10, tile.height - 18), "low", size=10, anchor="lb")
    draw_text(tile, (10 + width, tile.height - 18), "high", size=10, anchor="rb")


def draw_finding(result: CaseResult, finding: Finding, field: Field) -> Image.Image:
    """The row of one finding, without words around it."""
    return _side_by_side(
        [draw_planes(result, finding.centre_mm, field, finding), draw_close_up(result, finding)], ROW_HEIGHT
    )


def middle(result: CaseResult) -> tuple[Point, str]:
    """A place worth showing where nothing was found, and its name: where most of the right lung is, if one is known."""
    grid = result.volume.grid
    right = None if result.lungs is None else result.lungs.labels == 1
    if right is None or not right.any():
        return grid.centre_mm, "the middle of the CT"
    weights = [right.sum(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
    index = [float(np.average(np.arange(len(w)), weights=w)) for w in weights]
    x, y, z = (float(v) for v in grid.to_mm(index))
    return (x, y, z), "the middle of the right lung"


def draw_case(result: CaseResult) -> Image.Image:
    """The whole picture: what it is, a row for each finding (or the statement that there is none), what it is not."""
    field = field_of_view(result)
    shown = result.report.findings[:MOST_FINDINGS]
    rows = [draw_finding(result, finding, field) for finding in shown]
    rows = rows or [draw_planes(result, middle(result)[0], field)]
    captions = [finding_line(finding) for finding in shown] or [""]
    written = (34 + ceil(font(15).getlength(caption)) for caption in captions)
    width = max(1100, *(row.width for row in rows), *written) + 2 * MARGIN
    caption_height = 34 if shown else 0
    head, foot = (96 if shown else 150), 46
    height = head + sum(caption_height + row.height + 14 for row in rows) + foot
    canvas = Image.new("RGB", (width, height), CANVAS)
    _draw_head(canvas, result)
    y = head
    for number, (row, caption) in enumerate(zip(rows, captions, strict=True)):
        if shown:
            _draw_caption(canvas, y, shown[number].number, caption)
        canvas.paste(row, (MARGIN, y + caption_height))
        y += caption_height + row.height + 14
    _draw_foot(canvas, result, len(shown))
    return canvas


def _draw_head(canvas: Image.Image, result: CaseResult) -> None:
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 22), "Lung nodule candidates", fill=INK, font=font(22, bold=True), anchor="lt")
    draw.text((canvas.width - MARGIN, 25), NOT_FOR_DIAGNOSIS, fill=ORANGE, font=font(15, bold=True), anchor="rt")
    draw.text((MARGIN, 58), clean(case_line(result.report), most=150), fill=QUIET, font=font(13), anchor="lt")
    if not result.report.findings:
        draw.text((MARGIN, 96), NO_MARK, fill=INK, font=font(17, bold=True), anchor="lt")
        below = f"Below: three planes through {middle(result)[1]}."
        draw.text((MARGIN, 122), below, fill=QUIET, font=font(13), anchor="lt")


def _draw_caption(canvas: Image.Image, y: int, number: int, caption: str) -> None:
    draw = ImageDraw.Draw(canvas)
    draw.ellipse((MARGIN, y + 3, MARGIN + 24, y + 27), fill=ORANGE)
    draw.text((MARGIN + 12, y + 15), str(number), fill=CANVAS, font=font(13, bold=True), anchor="mm")
    draw.text((MARGIN + 34, y + 15), caption, fill=INK, font=font(15), anchor="lm")


def _draw_foot(canvas: Image.Image, result: CaseResult, shown: int) -> None:
    more = len(result.report.findings) - shown
    words = operating_line(result.report.operating_point)
    if more > 0:
        words = f"{more} further findings are in findings.csv. {words}"
    at = (MARGIN, canvas.height - 30)
    ImageDraw.Draw(canvas).text(at, clean(words, most=170), fill=QUIET, font=font(13), anchor="lt")


def png_bytes(image: Image.Image) -> bytes:
    """The picture as PNG without a time in it: the same picture gives the same bytes."""
    content = BytesIO()
    image.save(content, "PNG", compress_level=4)
    return content.getvalue()


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `overlay.png`; it never shows an identifier of the patient, whatever `show_identifiers` says."""
    path = folder / FILE_NAME
    write_bytes(path, png_bytes(draw_case(result)))
    return {FILE_NAME: path}
