"""Whether the camera stood still between two frames, and how much changed before it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.models.abilities import RgbImage

SIDE, BLOCKS, BINS = 256, 8, 16
SAME_BLOCK = 0.85


def still_blocks(one: RgbImage, other: RgbImage) -> NDArray[np.bool_]:
    """Returns which of 8 x 8 blocks hold the same colors in both frames: (8, 8).

    Most do where the camera stood still, whatever moves before it; hardly any where it turned.
    """
    histograms = [_block_histograms(_small(image)) for image in (one, other)]
    shared = np.minimum(*histograms).sum(axis=-1)
    return np.asarray(shared >= SAME_BLOCK)


def changed_share(one: RgbImage, other: RgbImage, least: float = 18.0) -> float:
    """Returns the share of the pixels that differ by more than `least` levels after a slight blur."""
    small = [cv2.GaussianBlur(_small(image), (5, 5), 0) for image in (one, other)]
    return float((cv2.absdiff(*small).max(axis=2) > least).mean())


def _small(image: RgbImage) -> RgbImage:
    return np.asarray(cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _block_histograms(image: RgbImage) -> NDArray[np.float64]:
    """Returns the shares of luma's and chroma's BINS in each block: (8, 8, 3 * BINS), each summing to 1."""
    side = image.shape[0] // BLOCKS
    planes = (cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb) // (256 // BINS)).reshape(BLOCKS, side, BLOCKS, side, 3)
    onehot = planes[..., None] == np.arange(BINS, dtype=np.uint8)
    counts = onehot.sum(axis=(1, 3)).reshape(BLOCKS, BLOCKS, 3 * BINS)
    return np.asarray(counts / (3 * side * side))
