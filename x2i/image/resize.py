"""Resizing by rule: which side is brought to which length."""

from __future__ import annotations

from enum import StrEnum

import numpy as np


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
    return max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))


def resize(image: np.ndarray, mode: ResizeMode, max_side: int, only_if_bigger: bool = True) -> np.ndarray:
    """Resizes uint8 pixels (height, width[, 3]): area averaging downwards, bicubic upwards.

    With `only_if_bigger` no picture is enlarged; a crop then takes the central square of at most `max_side`.
    """
    if max_side < 1:
        raise ValueError(f"max_side: expected at least 1, found {max_side}")
    height, width = image.shape[:2]
    size = resized_size(width, height, mode, max_side, only_if_bigger)
    if size != (width, height):
        image = _scale(image, size)
    if mode is ResizeMode.CROP:
        side = min(max_side, *image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = np.ascontiguousarray(image[top : top + side, left : left + side])
    return image


def _scale(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    import cv2

    smaller = size[0] <= image.shape[1] and size[1] <= image.shape[0]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC))
