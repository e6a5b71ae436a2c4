"""deblur: a photograph blurred by defocus or by motion in, the sharp one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, one_of


@dataclass(frozen=True)
class Deblur(Restoration):
    """Strengths are relative to the shorter side, so that a picture looks as blurred at 64 pixels as at 1024."""

    name = "deblur"
    title = "Blurred photograph to sharp photograph"
    operation = "removing the blur"
    damage_noun = "blur"
    no_damage = {"kinds": ("gaussian",), "sigma": (0.0, 0.0), "least_sigma": 0.0}
    bytes_per_pixel = 0.7

    kinds: Annotated[
        tuple[Literal["gaussian", "motion"], ...], Option("Kinds of blur, with equal chance: gaussian, motion.")
    ] = ("gaussian", "motion")
    sigma: Annotated[Range, Option("Gaussian: standard deviation, as a share of the shorter side.", ge=0, le=0.2)] = (
        0.005,
        0.015,
    )
    least_sigma: Annotated[float, Option("Gaussian: standard deviation of at least so many pixels.", ge=0)] = 1.0
    length: Annotated[Range, Option("Motion: length, as a share of the shorter side.", ge=0, le=0.5)] = (0.03, 0.09)
    least_length: Annotated[float, Option("Motion: length of at least so many pixels.", ge=1)] = 5.0

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        import cv2

        kind = one_of(self.kinds, random)
        strength, angle = random.uniform(size=2)
        image, side = source.pixels, min(source.pixels.shape[:2])
        if kind == "gaussian":
            sigma = round(_between(self.sigma, strength, side, self.least_sigma), 3)
            return Damaged(gaussian_blur(image, sigma), {"kind": kind, "sigma_px": sigma})
        length = round(_between(self.length, strength, side, self.least_length), 3)
        degrees = round(float(angle) * 180, 3)
        blurred = cv2.filter2D(image, -1, motion_kernel(length, degrees), borderType=cv2.BORDER_REFLECT_101)
        return Damaged(blurred, {"kind": kind, "length_px": length, "angle_degrees": degrees})


def gaussian_blur(image: RgbImage, sigma: float) -> RgbImage:
    """Returns `image` after a Gaussian of `sigma` pixels; unchanged for sigma 0."""
    import cv2

    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101) if sigma > 0 else image.copy()


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


def _between(bounds: Range, share: float, side: int, least: float) -> float:
    low, high = max(least, bounds[0] * side), max(2 * least, bounds[1] * side)
    return float(low + share * (high - low))
