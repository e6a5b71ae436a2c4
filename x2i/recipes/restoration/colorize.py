"""colorize: a gray photograph in, the color photograph out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Restoration, one_of, strongest_channel, weakest_channel

FILMS = {
    "luma": (0.299, 0.587, 0.114),  # ITU-R BT.601
    "mean": (1 / 3, 1 / 3, 1 / 3),
    "orthochromatic": (0.05, 0.5, 0.45),  # old film, blind to red
}


@dataclass(frozen=True)
class Colorize(Restoration):
    """Gray is not always the same gray: the weights of the channels are one of FILMS."""

    name = "colorize"
    title = "Gray photograph to color photograph"
    operation = "adding color"

    films: Annotated[
        tuple[Literal["luma", "mean", "orthochromatic"], ...],
        Option("Weights of the channels, with equal chance: luma, mean, orthochromatic."),
    ] = ("luma", "mean", "orthochromatic")
    min_chroma: Annotated[float, Option("Photographs of less color are left out, 0 (gray) to 255.", ge=0, le=255)] = 8.0

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged | Dropped:
        film = one_of(self.films, random)
        image = source.pixels
        colorfulness = chroma(image)
        if colorfulness < self.min_chroma:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the photograph is gray itself (chroma {colorfulness:.1f})")
        gray_HW = np.rint(image @ np.array(FILMS[film], np.float32)).clip(0, 255).astype(np.uint8)
        gray_HWC = np.repeat(gray_HW[..., None], 3, axis=2)
        return Damaged(gray_HWC, {"film": film}, scores={"chroma": round(colorfulness, 3)})


def chroma(image: RgbImage) -> float:
    """Returns the mean distance between the strongest and the weakest channel, 0 (gray) to 255."""
    return float(np.mean(strongest_channel(image) - weakest_channel(image)))
