"""Whether two images with near perceptual hashes look the same: their colors, their content, and how sharp they are.

A hash of a smooth picture says nothing, and it hardly changes when a picture is blurred. Of flat pictures, such as
logos on white, nearly all pixels are equal whatever they show, so differences are measured against what stands out too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 32
SCALES = (64, 128, 256)
MEAN_DIFFERENCE = 7.0
LARGEST_DIFFERENCE = 64.0
"""Levels of 255: of the thumbnails' values on average, and of all but a hundredth of them."""
CONTENT_DIFFERENCE = 0.17
"""Share of what stands out from the image's median color. Copies at JPEG quality 15 and a third of the size differ by
up to 0.14, a disc and a square on white by 0.22 and more."""
LOCAL_SHARE, LOCAL_DIFFERENCE, LOCAL_PIXELS = 0.5, 28, 8
"""Of two flat pictures, such as pages of text, at least this share of all difference in so few thumbnail pixels, one of
which differs by so many levels, is other content. Copies at JPEG quality 15 and a third of the size have shares up to
0.28; pages with other digits 0.7 and more."""
FLAT_SHARE = 0.5
"""Share of a flat picture's thumbnail that has its median color."""
SHARPNESS_RATIO = 0.6
_QUIET = 1.5
"""Levels: the noise of compression, added to both sides of the ratio."""
_NOISE = 2
"""Levels of a thumbnail's values that compression changes without any meaning."""


@dataclass(frozen=True)
class Looks:
    """What images look like. thumbnails_NHWC: uint8 RGB, SIDE x SIDE. sharpness_NS: at each of SCALES, NaN beyond
    the image's own size.
    """

    thumbnails_NHWC: NDArray[np.uint8]
    sharpness_NS: NDArray[np.float32]

    @classmethod
    def of(cls, images: Sequence[NDArray[np.uint8]]) -> Looks:
        """Returns the looks of images, uint8 RGB (height, width, 3)."""
        import cv2

        thumbnails = [cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for image in images]
        sharpness = [[_sharpness(image, side) for side in SCALES] for image in images]
        return cls(
            np.array(thumbnails, np.uint8).reshape(-1, SIDE, SIDE, 3),
            np.array(sharpness, np.float32).reshape(-1, len(SCALES)),
        )

    @classmethod
    def joined(cls, parts: Sequence[Looks]) -> Looks:
        """Returns the looks of several calls as one."""
        parts = [cls.of([]), *parts]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def same(self, one: int, others: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Returns which of `others` look like image `one`; all are positions here."""
        here, there = self.thumbnails_NHWC[one].astype(np.int16), self.thumbnails_NHWC[others].astype(np.int16)
        difference_NV = np.abs(there - here).reshape(len(others), -1)
        close = difference_NV.mean(axis=1) <= MEAN_DIFFERENCE
        close &= np.quantile(difference_NV, 0.99, axis=1) <= LARGEST_DIFFERENCE
        content_N = np.maximum(_content(there), _content(here[None]))
        close &= np.maximum(difference_NV - _NOISE, 0).sum(axis=1) <= CONTENT_DIFFERENCE * content_N
        close &= ~(_is_flat(here[None]) & _is_flat(there) & _differs_locally(difference_NV))
        low = np.minimum(self.sharpness_NS[others], self.sharpness_NS[one]) + _QUIET
        high = np.maximum(self.sharpness_NS[others], self.sharpness_NS[one]) + _QUIET
        as_sharp = np.isnan(low) | (low >= SHARPNESS_RATIO * high)
        return close & as_sharp.all(axis=1)


def _content(thumbnails_NHWC: NDArray[np.int16]) -> NDArray[np.float64]:
    """Returns by how much the values of each thumbnail differ from its median color, summed up."""
    values_NPC = thumbnails_NHWC.reshape(len(thumbnails_NHWC), -1, 3)
    apart_NPC = np.abs(values_NPC - np.median(values_NPC, axis=1, keepdims=True))
    total_N: NDArray[np.float64] = np.maximum(apart_NPC - _NOISE, 0).sum(axis=(1, 2))
    return total_N


def _is_flat(thumbnails_NHWC: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Returns whether most of each thumbnail has its median color."""
    values_NPC = thumbnails_NHWC.reshape(len(thumbnails_NHWC), -1, 3)
    ground_NP = np.abs(values_NPC - np.median(values_NPC, axis=1, keepdims=True)).max(axis=2) <= 2 * _NOISE
    flat_N: NDArray[np.bool_] = ground_NP.mean(axis=1) >= FLAT_SHARE
    return flat_N


def _differs_locally(difference_NV: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Returns whether a few pixels hold most of the difference of each pair of thumbnails, given value by value."""
    pixels_NP = np.maximum(difference_NV - _NOISE, 0).reshape(len(difference_NV), -1, 3).sum(axis=2)
    most_N = np.sort(pixels_NP, axis=1)[:, -LOCAL_PIXELS:].sum(axis=1)
    local_N: NDArray[np.bool_] = most_N >= LOCAL_SHARE * np.maximum(pixels_NP.sum(axis=1), 1)
    return local_N & (difference_NV.max(axis=1, initial=0) >= LOCAL_DIFFERENCE)


def _sharpness(image: NDArray[np.uint8], side: int) -> float:
    """Returns the standard deviation of the Laplacian of the image shrunk to `side` x `side`; NaN if it is smaller."""
    import cv2

    if min(image.shape[:2]) < side:
        return float("nan")
    gray = cv2.cvtColor(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F).std())
