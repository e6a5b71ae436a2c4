"""super_resolution: a photograph of low resolution, enlarged again, in; the photograph in full resolution out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.recipes.base import RgbImage, Source
from x2i.recipes.restoration.base import Damaged, Range, Restoration
from x2i.recipes.restoration.kernels import gaussian_blur


@dataclass(frozen=True)
class SuperResolution(Restoration):
    """Blur, reduction by a factor, and enlargement to the first size by bicubic interpolation.

    The blur before the reduction is that of the lens and of the coarser sensor, so it grows with the factor.
    """

    name = "super_resolution"
    title = "Low-resolution photograph to full resolution"
    operation = "raising the resolution"
    no_damage = {"factors": (1.0,), "sigma": (0.0, 0.0)}
    bytes_per_pixel = 0.65

    factors: Annotated[tuple[float, ...], Option("Factors of reduction, with equal chance.", ge=1, le=16)] = (
        2.0,
        3.0,
        4.0,
    )
    sigma: Annotated[Range, Option("Standard deviation of the blur in pixels of the reduced picture.", ge=0, le=5)] = (
        0.2,
        0.6,
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged:
        factor = self.factors[int(random.integers(len(self.factors)))]
        sigma = round(float(random.uniform(*self.sigma)) * factor, 3)
        pixels = reduce_and_enlarge(gaussian_blur(source.pixels, sigma), factor)
        return Damaged(pixels, {"factor": factor, "sigma_px": sigma})


def reduce_and_enlarge(image: RgbImage, factor: float) -> RgbImage:
    """Returns `image` made smaller by `factor` (area averaging) and enlarged to its size again (bicubic)."""
    import cv2

    height, width = image.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC)
