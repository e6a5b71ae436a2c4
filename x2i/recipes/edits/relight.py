"""Relighting after the Retinex model, in which an image is surface times light: the light is exchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.edits.base import Edit, Edited
from x2i.recipes.restoration.base import Range, draw, one_of

SIDES = {"the left": (-1.0, 0.0), "the right": (1.0, 0.0), "above": (0.0, -1.0), "below": (0.0, 1.0)}
TINTS = {
    "warm evening light": (1.12, 0.98, 0.72),
    "golden sunlight": (1.15, 1.0, 0.66),
    "cold moonlight": (0.55, 0.72, 1.05),
    "cool morning light": (0.88, 0.98, 1.1),
    "red neon light": (1.25, 0.55, 0.6),
    "blue neon light": (0.5, 0.7, 1.3),
    "green stage light": (0.6, 1.15, 0.65),
    "soft white light": (1.0, 1.0, 1.0),
}
DARK = frozenset({"cold moonlight", "red neon light", "blue neon light", "green stage light"})


@dataclass(frozen=True)
class Relight(Edit):
    """A photograph in another light: from one side, of another color. Bright parts of the scene stay the brightest.

    The light of the photograph is its luminance, blurred over an eighth of its side; a part of it is evened out before
    the new light falls on the scene. Way back: "even, natural light" gives the photograph.
    """

    name = "relight"
    title = "Photograph to the photograph in another light"
    operation = "relighting the scene"
    requests = (
        "light the scene with {light}",
        "change the lighting to {light}",
        "relight it with {light}",
        "show the scene in {light}",
        "let {light} fall on the scene",
        "make it look as if taken in {light}",
    )

    changed: Annotated[Range, Option("Share of the pixels that the edit changes visibly.", ge=0, le=1)] = (0.2, 1.0)
    strength: Annotated[Range, Option("Contrast between the lit and the unlit side.", ge=0, le=1)] = (0.45, 0.85)
    natural_output: Annotated[float, Option("Chance that the photograph is the output.", ge=0, le=1)] = 0.3

    def edit(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Edited:
        tint, side = one_of(tuple(TINTS), random), one_of(tuple(SIDES), random)
        strength = draw(self.strength, random)
        relit = relighted(source.pixels, tint, side, strength)
        everywhere = np.ones(source.pixels.shape[:2], bool)
        back = bool(random.random() < self.natural_output)
        light = "even, natural light" if back else f"{tint} from {side}"
        sides = (relit, source.pixels) if back else (source.pixels, relit)
        parameters = {"light": tint, "side": side, "strength": strength, "photograph": "output" if back else "input"}
        sideways = not back and side in ("the left", "the right")
        request = self.said(random, light=light)
        return Edited(*sides, everywhere, everywhere, request, {"light": light}, parameters, mirrorable=not sideways)


def relighted(image: RgbImage, tint: str, side: str, strength: float) -> RgbImage:
    """Returns the photograph_HWC in a light of TINTS from one of SIDES. strength: 0 even, 1 the far side is dark."""
    import cv2

    linear = (image.astype(np.float32) / 255) ** 2.2
    luma = (linear @ np.array([0.2126, 0.7152, 0.0722])).astype(np.float32)
    own = _blurred(luma, 8) + 0.02
    evened = linear * ((float(np.median(own)) / own) ** 0.4)[..., None]
    height, width = luma.shape
    ys, xs = np.indices(luma.shape, np.float32)
    x, y = SIDES[side]
    toward = x * (2 * xs / max(width - 1, 1) - 1) + y * (2 * ys / max(height - 1, 1) - 1)
    # what faces the light is lit more: the slope of the blurred luminance stands in for the surface
    relief = _blurred(luma, 40)
    slope = x * cv2.Sobel(relief, cv2.CV_32F, 1, 0) + y * cv2.Sobel(relief, cv2.CV_32F, 0, 1)
    facing = np.clip(-slope / (np.abs(slope).mean() * 4 + 1e-6), -1, 1)
    light = 1 + strength * (0.95 * toward + 0.3 * facing)
    level = 0.55 if tint in DARK else 1.0
    lit = evened * (np.clip(light, 0.05, 2) * level)[..., None] * np.array(TINTS[tint], np.float32)
    shoulder = np.where(lit > 0.8, 0.8 + 0.2 * np.tanh((lit - 0.8) / 0.2), lit)  # highlights roll off
    return np.clip(np.rint(255 * np.maximum(shoulder, 0) ** (1 / 2.2)), 0, 255).astype(np.uint8)


def _blurred(values: NDArray[np.float32], parts: int) -> NDArray[np.float32]:
    import cv2

    return np.asarray(cv2.GaussianBlur(values, (0, 0), max(1.0, min(values.shape) / parts)), np.float32)
