"""Marks on pictures of a CT: rings, letters, scale bars, heat. Colours are safe for colour-blind readers.

Source: M. Okabe, K. Ito, "Color Universal Design" (2008), for the two accents; the heat's colours rise in lightness, so
that they also read in grey.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from imaging.outputs.planes import Plane
from imaging.preprocessing.windows import apply_window

Colour = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]

CANVAS: Final[Colour] = (13, 17, 23)
OUTSIDE: Final[Colour] = (24, 29, 38)
INK: Final[Colour] = (240, 243, 246)
QUIET: Final[Colour] = (157, 167, 179)
ORANGE: Final[Colour] = (230, 159, 0)
SKY: Final[Colour] = (86, 180, 233)
_SHADOW: Final[Colour] = (0, 0, 0)
#: From no heat to the most, dark to light.
_HEAT: Final = np.array([[30, 12, 69], [120, 28, 109], [206, 66, 71], [249, 142, 9], [252, 255, 164]], np.float32)


@lru_cache(maxsize=16)
def font(size: int, *, bold: bool = False) -> Any:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine."""
    spec = find_spec("matplotlib")
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    places = spec.submodule_search_locations if spec else None
    for place in places or ():
        path = Path(place) / "mpl-data" / "fonts" / "ttf" / name
        if path.is_file():
            return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
    return ImageFont.load_default(size)


def clean(text: str, *, most: int) -> str:
    """Text from outside as it can be drawn: one line, no control characters, at most so many characters."""
    flat = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+", " ", text).strip()
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def grey(values_hu: npt.NDArray[np.float32], window: str = "lung") -> Pixels:
    """HU as RGB grey at a window; what is not a number (outside the CT) gets the colour of nothing."""
    outside = np.isnan(values_hu)
    shades = apply_window(np.where(outside, -1000.0, values_hu), window)
    pixels = np.repeat(np.rint(shades * 255).astype(np.uint8)[..., None], 3, axis=2)
    pixels[outside] = OUTSIDE
    return pixels


def with_heat(pixels: Pixels, heat: npt.NDArray[np.float32]) -> Pixels:
    """Heat in [0, 1] laid over a picture, the stronger the less transparent."""
    level = np.clip(np.nan_to_num(heat), 0.0, 1.0)
    colours = heat_colours(level)
    weight = (0.75 * np.sqrt(level))[..., None]
    return np.rint(pixels * (1.0 - weight) + colours * weight).astype(np.uint8)


def heat_colours(level: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """RGB of heat in [0, 1]; shape (..., 3)."""
    stops = np.linspace(0.0, 1.0, len(_HEAT))
    return np.stack([np.interp(level, stops, _HEAT[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def with_outline(pixels: Pixels, inside: npt.NDArray[np.bool_], colour: Colour) -> Pixels:
    """A line one pixel wide just outside a region."""
    padded = np.pad(inside, 1)
    grown = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    outlined = pixels.copy()
    outlined[grown & ~inside] = colour
    return outlined


def draw_ring(image: Image.Image, plane: Plane, centre_mm: tuple[float, float, float], radius_mm: float) -> Image.Image:
    """A ring with four ticks outside it; nothing is drawn on what lies inside. Drawn at four times the size, smooth."""
    scale = 4
    x, y = (scale * (v + 0.5) for v in plane.to_pixel(centre_mm))
    radius = scale * max(radius_mm / plane.mm_per_pixel, 9.0)
    layer = Image.new("L", (image.width * scale, image.height * scale), 0)
    shadow = Image.new("L", layer.size, 0)
    for target, extra in ((layer, 0), (shadow, 3)):
        draw = ImageDraw.Draw(target)
        width = 2 * scale + 2 * extra
        outer = radius + width / 2
        draw.ellipse((x - outer, y - outer, x + outer, y + outer), outline=255, width=width)
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            near, far = radius + 2 * scale, radius + 9 * scale
            draw.line((x + dx * near, y + dy * near, x + dx * far, y + dy * far), fill=255, width=width)
    result = image.copy()
    result.paste(_SHADOW, mask=shadow.resize(image.size, Image.Resampling.BOX).point(lambda v: v * 6 // 10))
    result.paste(ORANGE, mask=layer.resize(image.size, Image.Resampling.BOX))
    return result


def draw_text(
    image: Image.Image, at: tuple[float, float], text: str, *, size: int, anchor: str, colour: Colour = INK
) -> None:
    """Text with a dark edge, readable on bone and on air."""
    draw = ImageDraw.Draw(image)
    draw.text(at, text, fill=colour, font=font(size), anchor=anchor, stroke_width=2, stroke_fill=_SHADOW)


def draw_letters(image: Image.Image, plane: Plane, *, size: int = 15) -> None:
    """What each edge of the picture is: R L A P S I of the patient."""
    left, right, top, bottom = plane.view.letters
    middle_x, middle_y = image.width / 2, image.height / 2
    draw_text(image, (7, middle_y), left, size=size, anchor="lm", colour=SKY)
    draw_text(image, (image.width - 7, middle_y), right, size=size, anchor="rm", colour=SKY)
    draw_text(image, (middle_x, 6), top, size=size, anchor="mt", colour=SKY)
    draw_text(image, (middle_x, image.height - 6), bottom, size=size, anchor="mb", colour=SKY)


def draw_scale(image: Image.Image, plane: Plane, length_mm: int) -> None:
    """A bar of so many millimetres in the lower right corner, its length written above it."""
    pixels = length_mm / plane.mm_per_pixel
    right, low = image.width - 10, image.height - 10
    draw = ImageDraw.Draw(image)
    draw.rectangle((right - pixels - 1, low - 4, right + 1, low + 1), fill=_SHADOW)
    draw.rectangle((right - pixels, low - 3, right, low), fill=INK)
    draw_text(image, (right, low - 8), f"{length_mm} mm", size=12, anchor="rb")
