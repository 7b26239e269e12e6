"""`explanation.png`: what the heat maps mark, close up, bare beside coloured, with numbers on the colours.

One row a finding: the axial plane bare, the same with Grad-CAM and with similarity to the prompt, then Grad-CAM in the
coronal and sagittal plane. A last row shows the place most similar to the prompt if it lies in no finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from imaging.findings import Finding, Point
from imaging.io.atomic import write_bytes
from imaging.outputs import words
from imaging.outputs.case import CaseResult
from imaging.outputs.drawing import (
    CANVAS,
    INK,
    ORANGE,
    QUIET,
    clean,
    draw_letters,
    draw_scale,
    draw_text,
    font,
    grey,
    heat_colours,
    with_heat,
    with_outline,
)
from imaging.outputs.overlay import middle, png_bytes
from imaging.outputs.planes import AXIAL, CORONAL, SAGITTAL, Plane, View, sample

FILE_NAME: Final = "explanation.png"
#: The most suspicious ones; the others are in the maps.
MOST_FINDINGS: Final = 10
TILE: Final = 264
GAP, MARGIN = 8, 24
HEAD, CAPTION, FOOT = 118, 40, 62
#: Side of a close-up, at least, and in diameters of the finding.
CLOSE_UP_MM, DIAMETERS = 60.0, 2.2
#: The most similar place is told from this similarity on, and where it is so far from every finding's outline, mm.
LEAST_SIMILARITY, APART_MM = 0.05, 10.0

Heat = npt.NDArray[np.float32]


def draw_explanation(result: CaseResult) -> Image.Image:
    """The whole picture."""
    rows = [(_caption(finding), finding.centre_mm, _field_mm(finding)) for finding in _shown(result)]
    rows += _similar_row(result)
    if not rows:
        place, name = middle(result)
        rows = [(f"No finding; {name}", place, CLOSE_UP_MM)]
    width = 5 * TILE + 4 * GAP + 2 * MARGIN
    canvas = Image.new("RGB", (width, HEAD + len(rows) * (CAPTION + TILE + 12) + FOOT), CANVAS)
    _draw_head(canvas, result)
    for number, (caption, place, field_mm) in enumerate(rows):
        top = HEAD + number * (CAPTION + TILE + 12)
        ImageDraw.Draw(canvas).text((MARGIN, top + 20), caption, fill=INK, font=font(15), anchor="lm")
        for column, tile in enumerate(_tiles(result, place, field_mm)):
            canvas.paste(tile, (MARGIN + column * (TILE + GAP), top + CAPTION))
    _draw_foot(canvas)
    return canvas


def _shown(result: CaseResult) -> Sequence[Finding]:
    return result.report.findings[:MOST_FINDINGS]


def _caption(finding: Finding) -> str:
    return f"Finding {finding.number}:   {words.finding_line(finding)}"


def _field_mm(finding: Finding) -> float:
    return max(CLOSE_UP_MM, DIAMETERS * (finding.long_axis_mm or finding.diameter_mm or 0.0))


def _similar_row(result: CaseResult) -> list[tuple[str, Point, float]]:
    """The place most similar to the prompt, if one was asked for and it lies apart from every finding."""
    if result.similarity is None or not result.similarity_prompt:
        return []
    index = np.unravel_index(int(result.similarity.argmax()), result.similarity.shape)
    most = float(result.similarity[index])
    x, y, z = (float(v) for v in result.volume.grid.to_mm(index))
    apart = [
        np.linalg.norm(np.subtract(f.centre_mm, (x, y, z))) - (f.diameter_mm or 0.0) / 2 for f in result.report.findings
    ]
    if most < LEAST_SIMILARITY or min(apart, default=np.inf) < APART_MM:
        return []
    place = f"LPS ({words.number(x)}, {words.number(y)}, {words.number(z)}) mm"
    return [(f"Most similar place, not a finding:   similarity {most:.2f}   ·   {place}", (x, y, z), CLOSE_UP_MM)]


def _tiles(result: CaseResult, place: Point, field_mm: float) -> list[Image.Image]:
    cam, similar = result.grad_cam, result.similarity
    return [
        _tile(result, place, field_mm, AXIAL, None, "CT"),
        _tile(result, place, field_mm, AXIAL, cam, "Grad-CAM"),
        _tile(result, place, field_mm, AXIAL, similar, "similarity"),
        _tile(result, place, field_mm, CORONAL, cam, "Grad-CAM"),
        _tile(result, place, field_mm, SAGITTAL, cam, "Grad-CAM"),
    ]


def _tile(result: CaseResult, place: Point, field_mm: float, view: View, heat: Heat | None, name: str) -> Image.Image:
    grid, plane = result.volume.grid, Plane(view, place, TILE, TILE, field_mm / TILE)
    pixels = grey(sample(result.volume.array, grid, plane))
    if heat is not None:
        level = sample(heat, grid, plane, fill=0.0)
        pixels = with_heat(pixels, level / max(float(heat.max(initial=0.0)), 1e-9))
        pixels = with_outline(pixels, sample(result.nodules, grid, plane, order=0, fill=0.0) > 0, INK)
    tile = Image.fromarray(pixels)
    draw_letters(tile, plane, size=13)
    draw_scale(tile, plane, 10)
    missing = "" if heat is not None or name == "CT" else " not computed"
    draw_text(tile, (8, 7), f"{view.name}, {name}{missing}", size=12, anchor="lt", colour=INK)
    if heat is not None:
        _draw_legend(tile, float(heat.max(initial=0.0)))
    return tile


def _draw_legend(tile: Image.Image, most: float) -> None:
    """A colour bar from 0 to the largest value in the scan, both written beside it; a map of zeros says so."""
    if most <= 0:
        draw_text(tile, (10, tile.height - 10), "empty: 0 everywhere", size=11, anchor="lb")
        return
    width, height, left = 64, 7, 20
    colours = heat_colours(np.linspace(0, 1, width, dtype=np.float32)).astype(np.uint8)
    bar = Image.fromarray(np.ascontiguousarray(np.broadcast_to(colours, (height, width, 3))))
    tile.paste(bar, (left, tile.height - 17))
    draw_text(tile, (left - 4, tile.height - 9), "0", size=11, anchor="rb")
    draw_text(tile, (left + width + 5, tile.height - 9), f"{most:.2g}", size=11, anchor="lb")


def _draw_head(canvas: Image.Image, result: CaseResult) -> None:
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, 22), "What the model looked at", fill=INK, font=font(22, bold=True), anchor="lt")
    draw.text((canvas.width - MARGIN, 25), words.NOT_FOR_DIAGNOSIS, fill=ORANGE, font=font(15, bold=True), anchor="rt")
    draw.text((MARGIN, 56), clean(words.case_line(result.report), most=150), fill=QUIET, font=font(13), anchor="lt")
    asked = clean(f"Similarity to {words.prompt(result.similarity_prompt)}", most=110)
    draw.text((MARGIN, 80), asked, fill=INK, font=font(14, bold=True), anchor="lt")
    doubts = [n.message for n in result.report.notices if n.code == "prompt.untrained"]
    text = "Do not rely on this similarity: " + "; ".join(doubts) if doubts else ""
    if not result.report.findings:
        text = f"{words.NO_MARK} {text}"
    draw.text((MARGIN, 102), clean(text, most=170), fill=ORANGE, font=font(13, bold=True), anchor="lt")


def _draw_foot(canvas: Image.Image) -> None:
    lines = (
        "Grad-CAM: what raises the model's suspicion; its highest value is the score of the window. Similarity: how "
        "like the text each place is. White line: outline of the finding.",
        "Colours run from 0 to the highest value in this scan, written beside each bar. Only places the model looked "
        "at have colour: none says nothing of what lies there.",
    )
    for number, line in enumerate(lines):
        at = (MARGIN, canvas.height - FOOT + 12 + 20 * number)
        ImageDraw.Draw(canvas).text(at, line, fill=QUIET, font=font(13), anchor="lt")


def write(result: CaseResult, folder: Path, *, show_identifiers: bool = False) -> dict[str, Path]:
    """Write `explanation.png`; it never shows an identifier of the patient, whatever `show_identifiers` says."""
    path = folder / FILE_NAME
    write_bytes(path, png_bytes(draw_explanation(result)))
    return {FILE_NAME: path}
