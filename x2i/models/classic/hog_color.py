"""`classic:hog-color`: what an image looks like from afar, as gradient directions beside color counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage
from x2i.models.backend import Backend

SIDE, CELL, BINS = 96, 16, 9
CELLS = SIDE // CELL
HUES, SATURATIONS, VALUES = 12, 4, 4
CLIP = 0.2


@dataclass(frozen=True)
class HogColor(Backend):
    """Two unit vectors of equal weight, joined and normalized again.

    Shape: histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of the image squeezed to 96x96: 6x6 cells of 9
    undirected bins, 2x2 blocks with clipped L2 norm. Color: a hue, saturation, value histogram, square-rooted so that
    the dot product is the Bhattacharyya coefficient.
    """

    title: ClassVar[str] = "Gradient directions and color counts; no weights"

    dimensions = (CELLS - 1) ** 2 * 4 * BINS + HUES * SATURATIONS * VALUES

    def embed(self, images: Sequence[RgbImage]) -> NDArray[np.float32]:
        """Returns embeddings_ND: one L2-normalized row of `dimensions` float32 per image."""
        if not images:
            return np.zeros((0, self.dimensions), np.float32)
        return np.stack([_unit(np.concatenate([_unit(_hog(i)), _unit(_color(i))])) for i in images]).astype(np.float32)


def _hog(image: RgbImage) -> NDArray[np.float64]:
    luma_HW = cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY) / 255.0
    padded = np.pad(luma_HW, 1, mode="edge")
    dx_HW = padded[1:-1, 2:] - padded[1:-1, :-2]
    dy_HW = padded[2:, 1:-1] - padded[:-2, 1:-1]
    magnitude_HW = np.hypot(dx_HW, dy_HW)
    position_HW = (np.arctan2(dy_HW, dx_HW) % np.pi) / np.pi * BINS - 0.5
    lower_HW = np.floor(position_HW).astype(int)
    share_HW = position_HW - lower_HW  # of the upper of the two neighboring bins
    cell_HW = (np.arange(SIDE)[:, None] // CELL) * CELLS + np.arange(SIDE)[None, :] // CELL
    histogram = np.zeros(CELLS * CELLS * BINS)
    for bin_HW, weight_HW in ((lower_HW, 1 - share_HW), (lower_HW + 1, share_HW)):
        index = cell_HW * BINS + bin_HW % BINS
        histogram += np.bincount(index.ravel(), (weight_HW * magnitude_HW).ravel(), minlength=histogram.size)
    cells = histogram.reshape(CELLS, CELLS, BINS)
    blocks = np.concatenate([cells[:-1, :-1], cells[:-1, 1:], cells[1:, :-1], cells[1:, 1:]], axis=-1)
    blocks /= np.linalg.norm(blocks, axis=-1, keepdims=True) + 1e-3
    blocks = np.minimum(blocks, CLIP)
    return (blocks / (np.linalg.norm(blocks, axis=-1, keepdims=True) + 1e-3)).ravel()


def _color(image: RgbImage) -> NDArray[np.float64]:
    hsv = cv2.cvtColor(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2HSV).astype(int)
    hue = hsv[..., 0] * HUES // 180
    saturation, value = hsv[..., 1] * SATURATIONS // 256, hsv[..., 2] * VALUES // 256
    index = (hue * SATURATIONS + saturation) * VALUES + value
    return np.sqrt(np.bincount(index.ravel(), minlength=HUES * SATURATIONS * VALUES) / index.size)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
