"""Text on photographs: watermarks and captions that are drawn here, known to the letter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, draw, to_uint8

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MARKS = "SAMPLE|PREVIEW|DRAFT|DO NOT COPY|PROOF|Copyright|All rights reserved|photo stock|www.example.com|Studio 27"
LINES = (
    "New season, new look|Breaking news|Thank you for watching!|See you next week|Chapter 3: The river|Only $9.99"
    "|Opening hours 9 am - 6 pm|Follow us for more|To be continued...|I never said that.|Wait, what happened here?"
    "|SUMMER SALE|Live|Happy birthday!|24 March 1987|Where are we going?|Don't forget to subscribe|Best of the year"
)
COLORS = {"white": (255, 255, 255), "black": (0, 0, 0), "yellow": (255, 225, 0), "red": (220, 20, 20)}


@dataclass(frozen=True)
class RemoveWatermark(Restoration):
    """A see-through text over the picture, once or tiled, turned; opacity .3 to .7, as in watermark sets (CLWD)."""

    name = "remove_watermark"
    title = "Photograph with a watermark to clean photograph"
    operation = "removing the watermark"
    damage_noun = "watermark"
    mirrorable = False
    no_damage = {"opacity": (0.0, 0.0)}

    opacity: Annotated[Range, Option("Of the letters.", ge=0, le=1)] = (0.3, 0.7)
    size: Annotated[Range, Option("Height of the letters as a share of the shorter side.", gt=0, le=0.5)] = (0.06, 0.16)
    max_psnr: Annotated[
        float, Option("Samples are dropped whose mark shows less: input and output closer than this, in dB.", gt=0)
    ] = 48.0
    tiled: Annotated[float, Option("Chance that the text is repeated all over the picture.", ge=0, le=1)] = 0.5

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        opacity, size = draw(self.opacity, random), draw(self.size, random)
        words = MARKS.split("|")
        text, degrees = words[int(random.integers(len(words)))], draw((-45, 45), random, 1)
        tiled = bool(random.random() < self.tiled)
        place = random.uniform(0.1, 0.9, 2)
        cover = watermark(source.pixels.shape[:2], text, size, degrees, place, tiled)
        image = source.pixels.astype(np.float32)
        under = float((image.mean(2) * cover).sum() / max(float(cover.sum()), 1))
        color = "white" if under < 150 else "black"
        weight = (cover * np.float32(opacity))[..., None]
        pixels = to_uint8(image + weight * (np.array(COLORS[color], np.float32) - image))
        parameters = {"text": text, "opacity": opacity, "size": size, "angle_degrees": degrees, "tiled": tiled}
        return Damaged(pixels, {**parameters, "color": color})


@dataclass(frozen=True)
class RemoveText(Restoration):
    """One to three lines of opaque text somewhere on the picture; what they say and where they stand is recorded."""

    name = "remove_text"
    title = "Photograph with text over it to clean photograph"
    operation = "removing the text"
    damage_noun = "text"
    phrasings = "remove_text"
    mirrorable = False

    lines: Annotated[tuple[int, int], Option("Number of lines.", ge=1, le=10)] = (1, 3)
    size: Annotated[Range, Option("Height of the letters as a share of the shorter side.", gt=0, le=0.5)] = (0.05, 0.12)

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        from PIL import Image, ImageDraw

        height, width = source.pixels.shape[:2]
        picture = Image.fromarray(source.pixels)
        pen = ImageDraw.Draw(picture)
        choices, drawn = LINES.split("|"), []
        count = int(random.integers(self.lines[0], self.lines[1] + 1))
        for number in random.choice(len(choices), count, replace=False):
            text, size = choices[int(number)], draw(self.size, random)
            color, outlined = list(COLORS)[int(random.integers(len(COLORS)))], bool(random.random() < 0.6)
            font = typeface(max(8, round(size * min(height, width))))
            wide = font.getlength(text)
            if wide > 0.95 * width:
                font = typeface(max(6, int(font.size * 0.95 * width / wide)))
            stroke = max(1, round(font.size / 14)) if outlined else 0
            x0, y0, x1, y1 = pen.textbbox((0, 0), text, font=font, stroke_width=stroke)
            x = int(random.uniform() * max(0, width - (x1 - x0))) - int(x0)
            y = int(random.uniform() * max(0, height - (y1 - y0))) - int(y0)
            edge = "white" if color == "black" else "black"
            pen.text((x, y), text, fill=COLORS[color], font=font, stroke_width=stroke, stroke_fill=edge)
            box = [max(0, int(x + x0)), max(0, int(y + y0)), min(width, int(x + x1)), min(height, int(y + y1))]
            drawn.append({"text": text, "box": box, "color": color, "size_px": round(float(font.size))})
        return Damaged(np.array(picture), {"lines": drawn})


def watermark(
    shape: tuple[int, ...], text: str, size: float, degrees: float, place: NDArray[np.float64], tiled: bool
) -> NDArray[np.float32]:
    """Returns how much letters cover each pixel, 0 to 1, of a picture of `shape` (height, width).

    size: height of the letters as a share of the shorter side. place: of the middle, as shares; of the grid if tiled.
    """
    import cv2
    from PIL import Image, ImageDraw

    height, width = shape
    font = typeface(max(8, round(size * min(shape))))
    wide = font.getlength(text)
    if wide > 0.9 * width:
        font = typeface(max(6, int(font.size * 0.9 * width / wide)))
    stamp = Image.new("L", (int(font.getlength(text)) + 4, round(font.size * 1.4)))
    ImageDraw.Draw(stamp).text((2, 0), text, fill=255, font=font)
    letters = np.asarray(stamp)
    if tiled:
        cell = np.pad(letters, ((font_gap := round(1.2 * font.size), font_gap), (font_gap, font_gap)))
        across = int(np.ceil(1.5 * max(shape) / min(cell.shape[1], max(shape)))) + 1
        down = int(np.ceil(1.5 * max(shape) / cell.shape[0])) + 1
        letters = np.tile(cell, (down, across))
    x, y = (width / 2, height / 2) if tiled else (float(place[0] * width), float(place[1] * height))
    turn = cv2.getRotationMatrix2D((letters.shape[1] / 2, letters.shape[0] / 2), degrees, 1)
    turn[:, 2] += x - letters.shape[1] / 2, y - letters.shape[0] / 2
    return cv2.warpAffine(letters, turn, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32) / 255


@lru_cache(maxsize=64)
def typeface(size: int) -> FreeTypeFont:
    """Returns DejaVu Sans at `size` pixels."""
    from PIL import ImageFont

    with resources.as_file(resources.files("x2i.inspect.sheet") / "fonts" / "DejaVuSans.ttf") as path:
        return ImageFont.truetype(path, size)
