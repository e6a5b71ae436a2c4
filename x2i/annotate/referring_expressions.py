"""Referring expressions made from measured facts alone: which color, where, which of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Box, RgbImage

MAJORITY = 0.6
CLEARLY_LARGER = 1.5
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
POSITIONS = (
    ("in the top left", "at the top", "in the top right"),
    ("on the left", "in the center", "on the right"),
    ("in the bottom left", "at the bottom", "in the bottom right"),
)
HUES = (  # name, from, to in degrees; the gaps are no one's
    ("red", 0, 8),
    ("orange", 14, 42),
    ("yellow", 48, 66),
    ("green", 72, 160),
    ("turquoise", 170, 192),
    ("blue", 200, 255),
    ("purple", 265, 295),
    ("pink", 315, 340),
    ("red", 345, 361),
)
COLORS = ("red", "orange", "yellow", "green", "turquoise", "blue", "purple", "pink", "brown", "black", "gray", "white")
UNNAMED = len(COLORS)


@dataclass(frozen=True)
class Region:
    """One object of an image: its box and, where known, its mask_HW of the image's size."""

    box: Box
    mask_HW: NDArray[np.bool_] | None = None

    @property
    def area(self) -> int:
        """Area in pixels: of the mask if there is one, else of the box."""
        return self.box.area if self.mask_HW is None else int(self.mask_HW.sum())

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) in pixels: centroid of the mask if it has any pixel, else center of the box."""
        if self.mask_HW is None or not self.mask_HW.any():
            return (self.box.x0 + self.box.x1) / 2, (self.box.y0 + self.box.y1) / 2
        y, x = np.nonzero(self.mask_HW)
        return float(x.mean()) + 0.5, float(y.mean()) + 0.5


def refer(image: RgbImage, regions: Sequence[Region], noun: str = "object") -> list[str | None]:
    """Returns a phrase for each region that no other region of this image shares; None where no fact tells two apart.

    The phrase says the color that most of the mask's pixels have (left out where none has a majority or there is no
    mask) and in which ninth of the image the region's center lies: "the red object on the left". Regions that agree in
    both are told apart by size if they are two and one is clearly larger, else counted from the left.

    noun: what all these regions are; the color is left out where the noun says one already.
    """
    colored = set(COLORS) & set(noun.split())
    traits = [("" if colored else color_name(image, r), position_name(image, r)) for r in regions]
    return [_phrase(k, regions, traits, noun) for k in range(len(regions))]


def position_name(image: RgbImage, region: Region) -> str:
    """Returns in which ninth of the image the region's center lies, as words to put after a noun."""
    height, width = image.shape[:2]
    x, y = region.center
    return POSITIONS[min(2, int(3 * y / height))][min(2, int(3 * x / width))]


def color_name(image: RgbImage, region: Region) -> str:
    """Returns the color that more than 60% of the mask's pixels have, "" if there is none or no mask."""
    if region.mask_HW is None or not region.mask_HW.any():
        return ""
    counts = np.bincount(_color_indices(image[region.mask_HW]), minlength=len(COLORS) + 1)
    best = int(counts[:UNNAMED].argmax())
    return COLORS[best] if counts[best] > MAJORITY * counts.sum() else ""


def _color_indices(pixels_N3: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Returns the index in COLORS of each pixel, UNNAMED where people would not agree on a name."""
    hsv_N3 = cv2.cvtColor(pixels_N3[None].astype(np.float32) / 255, cv2.COLOR_RGB2HSV)[0]  # degrees, 0..1, 0..1
    hue_N, saturation_N, value_N = hsv_N3[:, 0], hsv_N3[:, 1], hsv_N3[:, 2]
    index_N = np.full(len(hue_N), UNNAMED)
    for name, low, high in HUES:
        index_N[(hue_N >= low) & (hue_N < high)] = COLORS.index(name)
    index_N[(hue_N >= 10) & (hue_N < 14) & (value_N > 0.75)] = COLORS.index("orange")
    earthy_N = (hue_N >= 14) & (hue_N < 45)
    index_N[earthy_N & (value_N < 0.6)] = COLORS.index("brown")
    index_N[earthy_N & (value_N >= 0.6) & (saturation_N < 0.6)] = UNNAMED  # beige, skin, pale wood
    rosy_N = (hue_N < 8) | (hue_N >= 345)
    index_N[rosy_N & (saturation_N < 0.55)] = UNNAMED
    index_N[rosy_N & (saturation_N < 0.45) & (value_N > 0.8)] = COLORS.index("pink")
    index_N[(saturation_N < 0.2) | (saturation_N * value_N < 0.1)] = UNNAMED
    pale_N = (saturation_N < 0.12) | (saturation_N * value_N < 0.06)
    index_N[pale_N & (value_N < 0.8)] = COLORS.index("gray")
    index_N[pale_N & (value_N > 0.87)] = COLORS.index("white")
    index_N[value_N < 0.25] = UNNAMED
    index_N[value_N < 0.18] = COLORS.index("black")
    return index_N


def _phrase(k: int, regions: Sequence[Region], traits: Sequence[tuple[str, str]], noun: str) -> str | None:
    color, position = traits[k]
    noun = f"{color} {noun}".strip()
    alike = [j for j, other in enumerate(traits) if other == traits[k]]
    confusable = [j for j, (c, p) in enumerate(traits) if p == position and (c == color or not c or not color)]
    if confusable == [k]:
        return f"the {noun} {position}"
    if len(confusable) > len(alike):
        return None
    areas = [regions[j].area for j in alike]
    if len(alike) == 2 and max(areas) >= CLEARLY_LARGER * min(areas):
        return f"the {'larger' if regions[k].area == max(areas) else 'smaller'} {noun} {position}"
    columns = sorted(regions[j].center[0] for j in alike)
    rank = columns.index(regions[k].center[0])
    if len(set(columns)) < len(columns) or rank >= len(ORDINALS):
        return None
    return f"the {ORDINALS[rank]} {noun} from the left {position}"
