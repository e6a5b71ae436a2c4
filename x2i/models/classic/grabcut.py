"""`classic:grabcut`: cuts an object out of its box by the colors inside against the colors around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Box, RgbImage, Segment
from x2i.models.backend import Backend
from x2i.models.classic.outline import outline_of
from x2i.options import Option

WORKING_SIDE = 320
MARGIN = 0.01
MIN_FILL, MAX_FILL = 0.08, 0.98


@dataclass(frozen=True)
class GrabCut(Backend):
    """GrabCut (Rother, Kolmogorov and Blake, SIGGRAPH 2004) at a longest side of 320 px, largest piece, holes filled.

    A mask that fills less than 8% or more than 98% of its box means that the colors did not tell the object from its
    surroundings; then there is no mask. The same goes for a box that leaves nothing around it, and for a mask whose
    outline runs through one color or along the edge of the image: half an orange, a patch of sky. A segment's score is
    the share of the outline that divides two colors.
    """

    title: ClassVar[str] = "Cuts an object out of its box by its colors; no weights"

    code_version: ClassVar[str] = "2"

    iterations: Annotated[int, Option("Rounds of the optimization.", ge=1)] = 4
    min_separation: Annotated[float, Option("Share of an outline that divides two colors.", ge=0, le=1)] = 0.8
    max_frame: Annotated[float, Option("Share of an outline that the image's edge may cut off.", ge=0, le=1)] = 0.4

    def segment(self, images: Sequence[RgbImage], boxes: Sequence[Sequence[Box]]) -> list[list[Segment | None]]:
        """Returns the object in each box of each image, or None where it could not be told apart."""
        return [[self._segment(i, box) for box in found] for i, found in zip(images, boxes, strict=True)]

    def _segment(self, image: RgbImage, box: Box) -> Segment | None:
        height, width = image.shape[:2]
        scale = min(1.0, WORKING_SIDE / max(height, width))
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        x_margin, y_margin = MARGIN * (box.x1 - box.x0), MARGIN * (box.y1 - box.y0)
        x0, x1 = (int(np.clip(round(v * w / width), 0, w)) for v in (box.x0 - x_margin, box.x1 + x_margin))
        y0, y1 = (int(np.clip(round(v * h / height), 0, h)) for v in (box.y0 - y_margin, box.y1 + y_margin))
        if (x1 - x0) * (y1 - y0) > 0.95 * w * h or min(x1 - x0, y1 - y0) < 4:
            return None
        small = cv2.cvtColor(cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        cv2.setRNGSeed(0)  # the color models start from k-means, which draws from OpenCV's generator of this thread
        labels_HW = np.zeros((h, w), np.uint8)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(small, labels_HW, (x0, y0, x1 - x0, y1 - y0), *models, self.iterations, cv2.GC_INIT_WITH_RECT)
        mask_HW = _largest_piece(((labels_HW == cv2.GC_FGD) | (labels_HW == cv2.GC_PR_FGD)).astype(np.uint8))
        fill = float(mask_HW.sum()) / ((x1 - x0) * (y1 - y0))
        if not MIN_FILL <= fill <= MAX_FILL:
            return None
        outline = outline_of(cv2.cvtColor(small, cv2.COLOR_BGR2RGB), mask_HW > 0)
        if outline.separation < self.min_separation or outline.frame > self.max_frame:
            return None
        full = cv2.resize(mask_HW.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return Segment(full >= 0.5, outline.separation)


def _largest_piece(mask_HW: NDArray[np.uint8]) -> NDArray[np.uint8]:
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    mask_HW = cv2.morphologyEx(mask_HW, cv2.MORPH_OPEN, brush)
    count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(mask_HW, connectivity=8)
    if count == 1:
        return mask_HW
    piece = (labels_HW == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    outlines, _ = cv2.findContours(piece, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(piece), outlines, -1, 1, cv2.FILLED)
