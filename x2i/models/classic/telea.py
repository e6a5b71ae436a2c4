"""`classic:telea`: inpainting by fast marching from the edge of the hole inwards."""

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
class Telea(Backend):
    """Telea, "An image inpainting technique based on the fast marching method" (2004). radius: in pixels."""

    title: ClassVar[str] = "Fast-marching inpainting; no weights"

    radius: Annotated[float, Option("Pixels around a hole that are looked at.", gt=0)] = 5.0

    def inpaint(self, images: Sequence[RgbImage], masks: Sequence[NDArray[np.bool_]]) -> list[RgbImage]:
        """Returns each image with the masked pixels replaced. Raises ValueError if a mask leaves no pixel to use."""
        return [self._inpaint(image, mask) for image, mask in zip(images, masks, strict=True)]

    def _inpaint(self, image: RgbImage, mask: NDArray[np.bool_]) -> RgbImage:
        if mask.shape != image.shape[:2] or mask.all():
            raise ValueError(f"a mask of shape {image.shape[:2]} that leaves some pixels is needed, got {mask.shape}")
        filled = cv2.inpaint(image, mask.astype(np.uint8), self.radius, cv2.INPAINT_TELEA)
        return np.where(mask[..., None], filled, image)
