"""colorfulness: how vivid the colors of every image are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict

_OPPONENT = np.array([[1, -1, 0], [0.5, 0.5, -1]], np.float32)
"""Red against green, and yellow against blue."""


@dataclass(frozen=True)
class Colorfulness(PixelAnnotation):
    """How colorful an image is: 0 is gray, 15 slightly, 45 quite, 82 highly colorful.

    Equation 5 of Hasler and Suesstrunk, "Measuring colorfulness in natural images" (SPIE 2003), in whose experiment
    people used these words.
    """

    name: ClassVar[str] = "colorfulness"
    title: ClassVar[str] = "Colorfulness, 0 (gray) to about 110"
    made_by: ClassVar[str] = "filter"
    by_default: ClassVar[bool] = True
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()),)

    def facts(self, image: StoredImage) -> Verdict:
        return {"score": colorfulness(image.pixels)}


def colorfulness(image: np.ndarray) -> float:
    """Returns the colorfulness of uint8 RGB pixels: spread of the opponent colors plus 0.3 of their mean."""
    mean, spread = cv2.meanStdDev(cv2.transform(image.astype(np.float32), _OPPONENT))
    return float(np.linalg.norm(spread) + 0.3 * np.linalg.norm(mean))
