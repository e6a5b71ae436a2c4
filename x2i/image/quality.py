"""Measures of one picture; each takes uint8 RGB (height, width, 3), or luma (height, width) if many are wanted."""

from __future__ import annotations

import numpy as np

NORMAL_SIDE = 512
"""Sharpness is measured with the longest side shrunk to this, so that it can be compared between pictures."""


def luma(image: np.ndarray) -> np.ndarray:
    """Returns uint8 luma (height, width), 0..255, by ITU-R BT.601 weights; luma is returned as it is."""
    import cv2

    return image if image.ndim == 2 else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))


def sharpness(image: np.ndarray) -> float:
    """Returns the variance of the Laplacian of luma at a longest side of at most 512 px; below about 50 looks soft.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (ICPR 2000).
    """
    import cv2

    from x2i.image.resize import ResizeMode, resize

    gray = resize(luma(image), ResizeMode.LONGEST, NORMAL_SIDE)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var(dtype=np.float64))


def exposure(image: np.ndarray) -> float:
    """Returns mean luma, 0 (black) to 1 (white)."""
    return float(luma(image).mean(dtype=np.float64)) / 255


def contrast(image: np.ndarray) -> float:
    """Returns the standard deviation of luma (RMS contrast), 0 to 0.5."""
    return float(luma(image).std(dtype=np.float64)) / 255


def clipped_share(image: np.ndarray) -> float:
    """Returns the share of pixels, 0 to 1, whose luma is 0 or 255."""
    histogram = _histogram(image)
    return float((histogram[0] + histogram[255]) / histogram.sum())


def entropy(image: np.ndarray) -> float:
    """Returns the Shannon entropy of the luma histogram, 0 (one color) to 8 bits."""
    histogram = _histogram(image)
    share = histogram[histogram > 0] / histogram.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def _histogram(image: np.ndarray) -> np.ndarray:
    return np.bincount(luma(image).ravel(), minlength=256)
