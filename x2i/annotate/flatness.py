"""flatness: how much of every image is empty: blank pictures, placeholders, logos on white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict

TILE = 16
MAX_RANGE = 8
"""Between the lightest and the darkest pixel of a flat tile, in each channel."""


@dataclass(frozen=True)
class Flatness(PixelAnnotation):
    """score: share of the 16x16 tiles that have one color, 0 to 1; a blank picture has 1, a logo on white about 0.9.

    range: from the 1st to the 99th percentile of the channel that varies most, 0 (one color) to 1. A smooth gradient
    has a high score and a wide range; near-constant pictures have a range below about 0.05.
    """

    name: ClassVar[str] = "flatness"
    title: ClassVar[str] = "Share of the image without any detail, 0 to 1"
    made_by: ClassVar[str] = "filter"
    by_default: ClassVar[bool] = True
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()), pa.field("range", pa.float32()))

    def facts(self, image: StoredImage) -> Verdict:
        return {"score": flat_share(image.pixels), "range": color_range(image.pixels)}


def flat_share(image: np.ndarray) -> float:
    """Returns the share of tiles whose channels each vary by at most MAX_RANGE levels."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 0, -height % TILE, 0, -width % TILE, cv2.BORDER_REPLICATE)
    tiles = padded.reshape(padded.shape[0] // TILE, TILE, -1, TILE, 3)
    # One axis at a time: numpy takes ten times as long over both at once.
    varies = tiles.max(axis=1).max(axis=2).astype(np.int16) - tiles.min(axis=1).min(axis=2)
    return float((varies.max(axis=2) <= MAX_RANGE).mean())


def color_range(image: np.ndarray) -> float:
    """Returns the distance of the 1st and the 99th percentile of the channel where it is largest, 0 to 1."""
    ranges = []
    for channel in range(3):
        counts = np.cumsum(cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel())
        low, high = np.searchsorted(counts, np.array([0.01, 0.99]) * counts[-1])
        ranges.append(int(high - low))
    return max(ranges) / 255
