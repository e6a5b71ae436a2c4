"""colorize: a gray photograph in, the color photograph out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from x2i.reasons import Dropped, Reason
from x2i.recipes.base import OneInputRecipe, Pair, Picture, RgbImage
from x2i.sample import Task

MIN_CHROMA = 8.0
FILMS = {
    "luma": (0.299, 0.587, 0.114),  # ITU-R BT.601
    "mean": (1 / 3, 1 / 3, 1 / 3),
    "orthochromatic": (0.05, 0.5, 0.45),  # old film, blind to red
}


class Colorize(OneInputRecipe):
    """Gray is not always the same gray: the weights of the channels are one of FILMS."""

    name = "colorize"
    task = Task.COLORIZE
    operation = "adding color"
    bytes_per_pixel = 0.8

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        film = list(FILMS)[int(random.integers(len(FILMS)))]
        colorfulness = chroma(image)
        if colorfulness < MIN_CHROMA:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the photograph is gray itself (chroma {colorfulness:.1f})")
        gray_HW = np.rint(image @ np.array(FILMS[film], np.float32)).clip(0, 255).astype(np.uint8)
        gray_HWC = np.repeat(gray_HW[..., None], 3, axis=2)
        scores = {"chroma": round(colorfulness, 3)}
        return Pair(Picture(gray_HWC), Picture(image), {"film": film}, scores)


def chroma(image: RgbImage) -> float:
    """Returns the mean distance between the strongest and the weakest channel, 0 (gray) to 255."""
    return float(np.mean(image.max(axis=2).astype(np.float32) - image.min(axis=2)))
