"""colorize: a grey photograph in, the colour photograph out."""

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
    """Grey is not always the same grey: the weights of the channels are one of FILMS."""

    name = "colorize"
    task = Task.COLORIZE
    operation = "adding color"
    bytes_per_pixel = 0.8

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        film = list(FILMS)[int(random.integers(len(FILMS)))]
        colourfulness = chroma(image)
        if colourfulness < MIN_CHROMA:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the photograph is grey itself (chroma {colourfulness:.1f})")
        grey_HW = np.rint(image @ np.array(FILMS[film], np.float32)).clip(0, 255).astype(np.uint8)
        grey_HWC = np.repeat(grey_HW[..., None], 3, axis=2)
        scores = {"chroma": round(colourfulness, 3)}
        return Pair(Picture(grey_HWC), Picture(image), {"film": film}, scores)


def chroma(image: RgbImage) -> float:
    """Returns the mean distance between the strongest and the weakest channel, 0 (grey) to 255."""
    return float(np.mean(image.max(axis=2).astype(np.float32) - image.min(axis=2)))
