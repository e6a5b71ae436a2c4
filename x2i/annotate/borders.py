"""borders: bars of one color at the sides of every image, such as those of letterboxed films and of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.options import Option

UNIFORM_SHARE = 0.98
"""Of a line's pixels: rests of JPEG's ringing and dust are forgiven."""


@dataclass(frozen=True)
class Borders(PixelAnnotation):
    """top, bottom, left, right: width in pixels of the bar of one color at that side, 0 if there is none.

    share: of the image's area that the bars cover, 0 to 1. The margins of a page and a cut-out on white count too. An
    image of one color is all bar: its height is `top`.
    """

    name: ClassVar[str] = "borders"
    title: ClassVar[str] = "Bars of one color at the sides"
    made_by: ClassVar[str] = "filter"
    by_default: ClassVar[bool] = True
    fields: ClassVar[tuple[pa.Field, ...]] = (
        *(pa.field(side, pa.int32()) for side in ("top", "bottom", "left", "right")),
        pa.field("share", pa.float32()),
    )

    tolerance: Annotated[
        int, Option("By how much of 255 a channel of a bar's pixel may differ from the bar's color.", ge=0, le=128)
    ] = 10

    def facts(self, image: StoredImage) -> Verdict:
        height, width = image.pixels.shape[:2]
        top, bottom = _bars(image.pixels, self.tolerance)
        inside = image.pixels[top : height - bottom]
        left, right = _bars(np.swapaxes(inside, 0, 1), self.tolerance) if len(inside) else (0, 0)
        share = 1 - len(inside) * (width - left - right) / (height * width)
        return {"top": top, "bottom": bottom, "left": left, "right": right, "share": share}


def _bars(lines: np.ndarray, tolerance: int) -> tuple[int, int]:
    """Returns how many of lines (count, length, 3) from the first and from the last on have that line's one color."""
    first = _bar(lines, tolerance)
    return (first, 0) if first == len(lines) else (first, _bar(lines[::-1], tolerance))


def _bar(lines: np.ndarray, tolerance: int) -> int:
    color = np.median(lines[0], axis=0)
    for number, line in enumerate(lines):
        if (np.abs(line - color).max(axis=1) <= tolerance).mean() < UNIFORM_SHARE:
            return number
    return len(lines)
