"""`classic:saliency`: the regions whose color stands out from what surrounds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import Box, Detection, RgbImage
from x2i.models.backend import Backend

WORKING_SIDE = 256
MIN_AREA, MAX_AREA = 0.015, 0.6
MAX_BOX = 0.92
MIN_CONTRAST = 12.0


@dataclass(frozen=True)
class Saliency(Backend):
    """Maximum symmetric surround saliency (Achanta and Suesstrunk, ICIP 2010), cut by Otsu's threshold.

    max_objects: regions kept per image, those with the most saliency in sum. A region holds 1.5% to 60% of the image,
    its box at most 92%; an image in which no color stands out (Lab distance below 12) has none. A detection's score is
    the mean saliency inside the region, as a share of the image's most salient point. phrase is None: color contrast
    cannot name a thing.
    """

    title: ClassVar[str] = "Regions whose color stands out; no weights"

    max_objects: int = 3

    def detect(self, images: Sequence[RgbImage], phrases: Sequence[Sequence[str]]) -> list[list[Detection]]:
        """Returns the salient regions of each image, best score first, whatever the phrases."""
        return [self._detect(image) for image in images]

    def _detect(self, image: RgbImage) -> list[Detection]:
        height, width = image.shape[:2]
        scale = min(1.0, WORKING_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        saliency_HW = saliency_map(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        peak = float(saliency_HW.max())
        if peak < MIN_CONTRAST:
            return []
        share_HW = saliency_HW / peak
        levels_HW = np.round(share_HW * 255).astype(np.uint8)
        threshold, _ = cv2.threshold(levels_HW, 0, 255, cv2.THRESH_OTSU)
        regions = _regions((levels_HW > threshold).astype(np.uint8))
        regions.sort(key=lambda region: -float(share_HW[region[1]].sum()))
        found = [
            Detection(_enlarge(box, size, (width, height)), float(share_HW[mask_HW].mean()))
            for box, mask_HW in regions[: self.max_objects]
        ]
        return sorted(found, key=lambda d: (-d.score, d.box.y0, d.box.x0))


def saliency_map(image: RgbImage) -> NDArray[np.float64]:
    """Returns for each pixel the Lab distance between its blurred color and the mean of its symmetric surround.

    The surround of a pixel is the largest rectangle centerd on it that fits in the image (equation 2 of the paper), so
    a background cut by the border is not mistaken for an object.
    """
    lab_HW3 = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    blurred_HW3 = cv2.GaussianBlur(lab_HW3, (5, 5), 0)
    height, width = lab_HW3.shape[:2]
    y, x = np.arange(height)[:, None], np.arange(width)[None, :]
    dy, dx = np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)
    y0, y1, x0, x1 = y - dy, y + dy + 1, x - dx, x + dx + 1
    total = np.pad(lab_HW3.astype(np.float64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0), (0, 0)))
    surround_HW3 = total[y1, x1] - total[y0, x1] - total[y1, x0] + total[y0, x0]
    surround_HW3 /= ((y1 - y0) * (x1 - x0))[..., None]
    return np.linalg.norm(blurred_HW3 - surround_HW3, axis=-1)


def _regions(salient_HW: NDArray[np.uint8]) -> list[tuple[Box, NDArray[np.bool_]]]:
    side = max(3, round(max(salient_HW.shape) / 40)) | 1
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = cv2.morphologyEx(cv2.morphologyEx(salient_HW, cv2.MORPH_CLOSE, brush), cv2.MORPH_OPEN, brush)
    count, labels_HW, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    regions = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[label])
        if MIN_AREA <= area / salient_HW.size <= MAX_AREA and width * height <= MAX_BOX * salient_HW.size:
            regions.append((Box(x, y, x + width, y + height), labels_HW == label))
    return regions


def _enlarge(box: Box, small: tuple[int, int], full: tuple[int, int]) -> Box:
    """Returns the smallest box in pixels of the full image that covers `box` of the shrunken one."""
    (w, h), (width, height) = small, full
    return Box(box.x0 * width // w, box.y0 * height // h, -(-box.x1 * width // w), -(-box.y1 * height // h))
