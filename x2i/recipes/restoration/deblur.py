"""deblur: a photograph blurred by defocus or by motion in, the sharp one out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from x2i.options import Option
from x2i.recipes.base import Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration, one_of
from x2i.recipes.restoration.kernels import convolve, gaussian_blur, path_kernel


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
        kind = one_of(self.kinds, random)
        strength, angle = random.uniform(size=2)
        image, side = source.pixels, min(source.pixels.shape[:2])
        if kind == "gaussian":
            sigma = round(_between(self.sigma, strength, side, self.least_sigma), 3)
            return Damaged(gaussian_blur(image, sigma), {"kind": kind, "sigma_px": sigma})
        length = round(_between(self.length, strength, side, self.least_length), 3)
        degrees = round(float(angle) * 180, 3)
        return Damaged(
            convolve(image, motion_kernel(length, degrees)),
            {"kind": kind, "length_px": length, "angle_degrees": degrees},
        )


def motion_kernel(length: float, degrees: float) -> NDArray[np.float32]:
    """Returns the square kernel_KK of a camera that moves `length` pixels in a straight line; odd K, sums to 1.

    degrees: direction, counted from the x axis towards the top of the picture.
    """
    radius = int(np.ceil(length / 2))
    steps = np.linspace(-length / 2, length / 2, 16 * radius + 1)
    return path_kernel(steps * np.cos(np.deg2rad(degrees)), -steps * np.sin(np.deg2rad(degrees)), radius)


def _between(bounds: Range, share: float, side: int, least: float) -> float:
    low, high = max(least, bounds[0] * side), max(2 * least, bounds[1] * side)
    return float(low + share * (high - low))
