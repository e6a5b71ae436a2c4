"""Colors of missing regions: flat colors that a photograph hardly has, so that the region can be told from it."""

from __future__ import annotations

import numpy as np

from x2i.recipes.base import RgbImage

NEAR, RARE = 96, 0.01  # gray levels in each channel; share of the pixels
COLORS = {
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "magenta": (255, 0, 255),
    "green": (0, 255, 0),
    "red": (255, 0, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
}


def rare_color(image: RgbImage, random: np.random.Generator) -> str:
    """Returns a random name out of COLORS: the first, in random order, that less than RARE of the picture is near."""
    pixels = image[::4, ::4].reshape(-1, 3).astype(np.int16)
    order = [list(COLORS)[number] for number in random.permutation(len(COLORS))]
    shares = {name: float(np.mean(np.abs(pixels - COLORS[name]).max(axis=1) < NEAR)) for name in order}
    return next((name for name in order if shares[name] < RARE), min(order, key=lambda name: shares[name]))
