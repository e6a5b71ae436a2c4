"""Color names: what a color is called, and the phrase of a thing without its color."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from x2i.recipes.base import RgbImage
from x2i.recipes.masks import Mask

COLORS = {
    "red": (200, 30, 35),
    "orange": (240, 130, 30),
    "yellow": (245, 210, 50),
    "green": (40, 140, 60),
    "turquoise": (50, 190, 180),
    "blue": (40, 80, 190),
    "purple": (120, 50, 150),
    "pink": (240, 140, 175),
    "brown": (115, 70, 40),
    "white": (240, 240, 238),
    "gray": (128, 128, 128),
    "black": (28, 28, 30),
}
SHADES = frozenset("dark light bright pale deep colored golden silver beige cyan magenta violet navy tan".split())  # noqa: SIM905
_NEAR = 32.0  # of Lab distance


def lab(image: np.ndarray) -> NDArray[np.float32]:
    """Returns L (0 to 100), a and b of an RGB image_HWC of uint8."""
    import cv2

    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)


def from_lab(values: NDArray[np.float32]) -> RgbImage:
    """Returns L, a and b as an RGB image_HWC of uint8."""
    import cv2

    return np.clip(np.rint(cv2.cvtColor(values, cv2.COLOR_LAB2RGB) * 255), 0, 255).astype(np.uint8)


@cache
def color_labs() -> dict[str, NDArray[np.float32]]:
    """Returns the L, a and b of each named color."""
    return {name: lab(np.array([[rgb]], np.uint8))[0, 0] for name, rgb in COLORS.items()}


def color_name(image: RgbImage, mask: Mask) -> str | None:
    """Returns what color the thing in mask_HW has; None where it is not mostly of one color."""
    pixels = lab(image)[mask]
    middle = np.median(pixels, axis=0)
    distances = {name: float(np.linalg.norm(middle - value)) for name, value in color_labs().items()}
    name = min(distances, key=lambda found: distances[found])
    alike = np.linalg.norm(pixels[:, 1:] - middle[1:], axis=1) < _NEAR / 2
    return name if distances[name] < _NEAR and alike.mean() > 0.7 else None


def without_color(phrase: str) -> str:
    """Returns a noun phrase without words for colors: "the dark red cup" becomes "the cup"."""
    words = phrase.split()
    kept = [word for word in words if word.lower() not in COLORS and word.lower() not in SHADES and word != "grey"]
    only_article = all(word.lower() in ("the", "a", "an") for word in kept)
    return phrase if only_article else " ".join(kept)
