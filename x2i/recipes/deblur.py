"""deblur: a photograph blurred by defocus or by motion in, the sharp one out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.reasons import Dropped
from x2i.recipes.base import OneInputRecipe, Pair, RgbImage, restoration
from x2i.sample import Task

GAUSSIAN_SIGMA = (0.005, 0.015)  # of the shorter side, and at least 1 pixel: visible from 64 px on
MOTION_LENGTH = (0.03, 0.09)  # of the shorter side, and at least 5 pixels


class Deblur(OneInputRecipe):
    """Strengths are drawn relative to the shorter side, so that a picture looks as blurred at 64 px as at 1024."""

    name = "deblur"
    task = Task.DEBLUR
    operation = "removing the blur"
    bytes_per_pixel = 0.7

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        import cv2

        kind = ("gaussian", "motion")[int(random.integers(2))]
        strength, angle = random.uniform(size=2)
        side = min(image.shape[:2])
        if kind == "gaussian":
            sigma = round(_between(GAUSSIAN_SIGMA, strength, side, 1.0), 3)
            blurred = cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
            return restoration(blurred, image, {"kind": kind, "sigma_px": sigma})
        length = round(_between(MOTION_LENGTH, strength, side, 5.0), 3)
        degrees = round(float(angle) * 180, 3)
        blurred = cv2.filter2D(image, -1, motion_kernel(length, degrees), borderType=cv2.BORDER_REFLECT_101)
        return restoration(blurred, image, {"kind": kind, "length_px": length, "angle_degrees": degrees})


def motion_kernel(length: float, degrees: float) -> NDArray[np.float32]:
    """Returns the square kernel_KK of a camera that moves `length` pixels in a straight line; odd K, sums to 1.

    degrees: direction, counted from the x axis towards the top of the picture.
    """
    radius = int(np.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, 16 * radius + 1)
    x = radius + steps * np.cos(np.deg2rad(degrees))
    y = radius - steps * np.sin(np.deg2rad(degrees))
    kernel = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):  # bilinear: each step falls on four pixels
        column = np.minimum(np.floor(x).astype(int) + dx, 2 * radius)
        row = np.minimum(np.floor(y).astype(int) + dy, 2 * radius)
        share = np.abs(1 - dx - (x - np.floor(x))) * np.abs(1 - dy - (y - np.floor(y)))
        np.add.at(kernel, (row, column), share)
    return kernel / kernel.sum()


def _between(bounds: tuple[float, float], share: float, side: int, least: float) -> float:
    low, high = max(least, bounds[0] * side), max(2 * least, bounds[1] * side)
    return float(low + share * (high - low))
