"""`classic:canny`: Canny edges with thresholds set from the image's own brightness."""

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
class Canny(Backend):
    """Canny, "A computational approach to edge detection" (PAMI 1986), after a 5x5 Gaussian.

    spread: the hysteresis thresholds are (1 - spread) and (1 + spread) times the median luma. The median is taken
    between 32 and 224, since the thresholds of a nearly black or white picture would keep its noise or nothing.
    """

    title: ClassVar[str] = "Canny edges; no weights"

    spread: Annotated[float, Option("Hysteresis: (1 - spread) and (1 + spread) times the median luma.", ge=0, lt=1)] = (
        0.33
    )

    def edges(self, images: Sequence[RgbImage]) -> list[NDArray[np.uint8]]:
        """Returns an edge map_HW per image: 255 on edges, 0 elsewhere."""
        return [self._edges(image) for image in images]

    def _edges(self, image: RgbImage) -> NDArray[np.uint8]:
        luma_HW = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (5, 5), 0)
        middle = float(np.clip(np.median(luma_HW), 32, 224))
        low, high = (1 - self.spread) * middle, min(255.0, (1 + self.spread) * middle)
        return cv2.Canny(luma_HW, low, high, L2gradient=True)
