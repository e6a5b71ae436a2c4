"""jpeg_blockiness: how clearly the 8x8 blocks of a strong JPEG compression show in every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.image.quality import luma

BLOCK = 8
MIN_SIDE = 4 * BLOCK
MAX_STEP = 20
"""In gray levels: a larger step is an edge of the picture, not of a block."""


@dataclass(frozen=True)
class JpegBlockiness(PixelAnnotation):
    """score: by how many gray levels, on average, luma jumps at the lines of an 8x8 grid beyond the steps beside them.

    The grid may start anywhere, so crops of a JPEG are seen; a JPEG that was resized is not. Most photographs score
    below 0.3 at JPEG quality 90 and above, 1 to 2 at quality 60, 2 to 4 at quality 20. Null if a side is under 32 px.
    """

    name: ClassVar[str] = "jpeg_blockiness"
    title: ClassVar[str] = "Visible JPEG blocks, in gray levels"
    made_by: ClassVar[str] = "filter"
    by_default: ClassVar[bool] = True
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()),)

    def facts(self, image: StoredImage) -> Verdict:
        if min(image.pixels.shape[:2]) < MIN_SIDE:
            return {"score": None}
        return {"score": blockiness(luma(image.pixels))}


def blockiness(gray: np.ndarray) -> float:
    """Returns by how much the lines of the best-fitting grid exceed those of the next best, mean of both directions."""
    return (_along_rows(gray) + _along_rows(gray.T)) / 2


def _along_rows(gray: np.ndarray) -> float:
    steps = np.abs(np.diff(np.ascontiguousarray(gray).astype(np.int16), axis=0)).astype(np.float32)
    beyond = np.clip(steps[1:-1] - (steps[:-2] + steps[2:]) / 2, 0, MAX_STEP).mean(axis=1)
    by_phase = beyond[: len(beyond) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=0)
    second, best = np.partition(by_phase, BLOCK - 2)[-2:]
    return float(best - second)
