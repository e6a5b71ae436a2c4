"""Resizing by rule: which side is brought to which length."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

_ONE_POINT_IS_ENOUGH = 1.3
"""Up to this ratio, linear interpolation is at least 43 dB like area averaging on photographs, in a quarter of its
time; above it, the mean of four points is 47 dB like it, in a third.
"""
_SAME_RATIO = 1.05


class ResizeMode(StrEnum):
    """longest, shortest: that side becomes `max_side`, aspect kept. crop: shortest side, then the central square.
    exact: a square, aspect not kept. none: the picture stays as it is."""

    LONGEST = "longest"
    SHORTEST = "shortest"
    CROP = "crop"
    EXACT = "exact"
    NONE = "none"


def resized_size(
    width: int, height: int, mode: ResizeMode, max_side: int, only_if_bigger: bool = True
) -> tuple[int, int]:
    """Returns the (width, height) that a picture is scaled to, before the crop of ResizeMode.CROP."""
    if mode is ResizeMode.NONE:
        return width, height
    if mode is ResizeMode.EXACT:
        return (width, height) if only_if_bigger and max(width, height) <= max_side else (max_side, max_side)
    side = max(width, height) if mode is ResizeMode.LONGEST else min(width, height)
    if side == max_side or (only_if_bigger and side < max_side):
        return width, height
    scale = max_side / side
    return max(1, round(width * scale)), max(1, round(height * scale))


def resize(image: np.ndarray, mode: ResizeMode, max_side: int, only_if_bigger: bool = True) -> np.ndarray:
    """Resizes uint8 pixels (height, width[, channels]) by rule; see `scale_to` for how.

    With `only_if_bigger` no picture is enlarged; a crop then takes the central square of at most `max_side`.
    """
    if max_side < 1:
        raise ValueError(f"max_side: expected at least 1, found {max_side}")
    height, width = image.shape[:2]
    image = scale_to(image, resized_size(width, height, mode, max_side, only_if_bigger))
    return central_square(image, max_side) if mode is ResizeMode.CROP else image


def central_square(image: np.ndarray, max_side: int) -> np.ndarray:
    """Returns the square of at most `max_side` pixels in the middle of `image`."""
    side = min(max_side, *image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


def scale_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scales uint8 pixels (height, width[, channels]) to `size` (width, height): bicubic upwards, averaging downwards.

    Area averaging is slow where its windows cut pixels. Up to a ratio of 2.6 it is replaced by the mean of 2x2 linearly
    interpolated points for each pixel, or by one such point where the ratio is below 1.3.
    """
    import cv2

    width, height = size
    ratios = image.shape[1] / width, image.shape[0] / height
    if ratios == (1, 1):
        return image
    if min(ratios) < 1:
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC))
    if ratios == (2, 2) or max(ratios) > min(2 * _ONE_POINT_IS_ENOUGH, _SAME_RATIO * min(ratios)):
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    if max(ratios) > _ONE_POINT_IS_ENOUGH:
        points = cv2.resize(image, (2 * width, 2 * height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.resize(points, size, interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
