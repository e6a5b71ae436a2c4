"""`classic:xdog`: thick strokes where a difference of Gaussians says that it gets darker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage
from x2i.models.backend import Backend
from x2i.options import Option


@dataclass(frozen=True)
class Xdog(Backend):
    """Thresholded difference of Gaussians (Winnemoeller, XDoG, NPAR 2011) as ControlNet's scribbles use it.

    A pixel is a stroke where, in every channel, the picture blurred widely is brighter than the picture blurred
    slightly by at least half the threshold.
    """

    title: ClassVar[str] = "Scribbles by a difference of Gaussians; no weights"

    fine: Annotated[float, Option("Standard deviation of the fine Gaussian in pixels.", gt=0, le=20)] = 0.5
    coarse: Annotated[float, Option("Standard deviation of the coarse one.", gt=0, le=100)] = 5.0
    threshold: Annotated[float, Option("Twice the difference in levels that makes a stroke.", ge=1, le=255)] = 32

    def edges(self, images: Sequence[RgbImage]) -> list[NDArray[np.uint8]]:
        """Returns an edge map_HW per image: 255 on strokes, 0 elsewhere."""
        return [self._strokes(image) for image in images]

    def _strokes(self, image: RgbImage) -> NDArray[np.uint8]:
        levels_HW3 = image.astype(np.float32)
        fine_HW3, coarse_HW3 = (cv2.GaussianBlur(levels_HW3, (0, 0), sigma) for sigma in (self.fine, self.coarse))
        darker_HW = (coarse_HW3 - fine_HW3).min(axis=2)
        return np.where(2 * darker_HW > self.threshold, np.uint8(255), np.uint8(0))
