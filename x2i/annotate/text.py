"""text: the lines of text in every image, where they are and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.models.abilities import RgbImage, TextDetector, TextLine
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class Text(ModelAnnotation):
    """Read the text in every image.

    line: number of the line in its image, from top to bottom. text: what it says. score: of the reader, 0 to 1.
    x0, y0, x1, y1: upright box around it in pixels of the stored image, half-open. polygon: x and y of its four
    corners, clockwise from the text's top left. share: of the image's area that the polygon covers.
    """

    name: ClassVar[str] = "text"
    title: ClassVar[str] = "Lines of text: polygons and strings"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("line", pa.int32()),
        pa.field("text", pa.string()),
        pa.field("score", pa.float32()),
        *(pa.field(side, pa.int32()) for side in ("x0", "y0", "x1", "y1")),
        pa.field("polygon", pa.list_(pa.float32())),
        pa.field("share", pa.float32()),
    )
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.TEXT_DETECTOR}

    model: Annotated[str, Option("What finds and reads the text.")] = "rapidocr"

    def load(self) -> Annotator:
        return TextReader(self.backends()["model"].load())


class TextReader:
    def __init__(self, detector: TextDetector) -> None:
        self._detector = detector

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        pixels = [image.pixels for image in images]
        return [_verdict(image, lines) for image, lines in zip(pixels, self._detector.read(pixels), strict=True)]


def _verdict(image: RgbImage, lines: Sequence[TextLine]) -> Verdict:
    if not lines:
        return Dropped(Reason.NOTHING_FOUND)
    return Found(tuple(_row(number, line, *image.shape[:2]) for number, line in enumerate(lines)))


def _row(number: int, line: TextLine, height: int, width: int) -> dict[str, Any]:
    low, high = line.polygon_42.min(axis=0), line.polygon_42.max(axis=0)
    x0, y0 = (int(v) for v in np.clip(np.floor(low), 0, [width - 1, height - 1]))
    x1, y1 = (int(v) for v in np.clip(np.ceil(high), [x0 + 1, y0 + 1], [width, height]))
    share = min(1.0, cv2.contourArea(line.polygon_42) / (width * height))
    facts = {"line": number, "text": line.text, "score": line.score, "x0": x0, "y0": y0, "x1": x1, "y1": y1}
    return {**facts, "polygon": line.polygon_42.ravel(), "share": share}
