"""text_area: how much of every image is covered by text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.options import Option


@dataclass(frozen=True)
class TextArea(PixelAnnotation):
    """score: share of the image's area that lines of text cover, 0 to 1. lines: how many there are.

    It reads the column `text`, no pixels. Lines of one character, and those that were read with little certainty, do
    not count: detectors of text take cups, coins and galaxies for an O or an 8.
    """

    name: ClassVar[str] = "text_area"
    title: ClassVar[str] = "Share of the image covered by text, 0 to 1"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()), pa.field("lines", pa.int32()))
    image_fields: ClassVar[tuple[str, ...]] = ("width", "height")

    text: Annotated[str, Option("The column of text lines.")] = "text"
    min_score: Annotated[float, Option("Lines of a lower score do not count.", ge=0, le=1)] = 0.85
    min_characters: Annotated[int, Option("Lines of fewer characters do not count.", ge=1)] = 2

    @property
    def pixels(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.text,)

    def facts(self, image: StoredImage) -> Verdict:
        polygons = [line["polygon"] for line in image.columns[self.text] if self._counts(line)]
        return {"score": covered_share(image.row["width"], image.row["height"], polygons), "lines": len(polygons)}

    def _counts(self, line: Mapping[str, Any]) -> bool:
        return line["score"] >= self.min_score and len(line["text"].strip()) >= self.min_characters


def covered_share(width: int, height: int, polygons: Iterable[Sequence[float]]) -> float:
    """Returns the share of an image's pixels that lie in any polygon (x and y of its corners, in pixels)."""
    covered_HW = np.zeros((height, width), np.uint8)
    for polygon in polygons:
        cv2.fillPoly(covered_HW, [np.rint(np.reshape(polygon, (-1, 2))).astype(np.int32)], 1)
    return float(covered_HW.mean())
