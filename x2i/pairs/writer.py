"""A writer of instructions for pairs: any captioner backend, shown both images side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Caption, Captioner, PageText

RgbImage = NDArray[np.uint8]

PAIR_PROMPT = (
    "The left half of this picture is a photo, the right half is the same photo after an edit. Write the one "
    "instruction that leads from the left half to the right half, in at most 20 words, as a person would give it. "
    "Name sides as they are within one half. Write the instruction alone."
)
GAP = 16


class PairWriter:
    """Asks a captioner that was made with the prompt PAIR_PROMPT about both images of a pair, side by side."""

    def __init__(self, captioner: Captioner) -> None:
        self._captioner = captioner

    def write(self, pairs: Sequence[tuple[RgbImage, RgbImage]]) -> list[str | None]:
        sheets = [side_by_side(*pair) for pair in pairs]
        found = self._captioner.caption(sheets, [PageText()] * len(sheets))
        return [answer.text if isinstance(answer, Caption) else None for answer in found]


def side_by_side(first: RgbImage, second: RgbImage) -> RgbImage:
    """Returns both images, of the height of the first, with a white gap between them."""
    height = first.shape[0]
    width = max(1, round(second.shape[1] * height / second.shape[0]))
    scaled = cv2.resize(second, (width, height), interpolation=cv2.INTER_AREA)
    return np.hstack([first, np.full((height, GAP, 3), 255, np.uint8), scaled])
