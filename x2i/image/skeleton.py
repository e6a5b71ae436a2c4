"""Drawings of poses: limbs as colored ellipses and joints as dots on black, as OpenPose draws them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

COCO_KEYPOINTS = 17
# OpenPose's body of 18: nose, neck, right arm, left arm, right leg, left leg, eyes, ears; its neck is between COCO's
# shoulders (5 and 6).
_BODY_FROM_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
_BODY_LIMBS = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0)),
    *((0, 14), (14, 16), (0, 15), (15, 17)),
)


def draw_poses(
    height: int,
    width: int,
    people: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    limbs: Sequence[tuple[int, int]],
    least: float,
) -> NDArray[np.uint8]:
    """Returns the poses as an RGB picture (height, width, 3) on black.

    people: (keypoints_K2 in pixels, scores_K) of each. limbs: pairs of keypoints that are joined; COCO's 17 keypoints
    are drawn as OpenPose's body of 18 instead. least: keypoints of a lower score are left out. Limbs are 4 pixels wide
    at a shorter side of 512, joints are as large.
    """
    canvas = np.zeros((height, width, 3), np.uint8)
    stick = max(1, round(4 * min(height, width) / 512))
    for keypoints_K2, scores_K in people:
        points_K2, known_K, pairs = keypoints_K2, scores_K >= least, limbs
        if len(keypoints_K2) == COCO_KEYPOINTS:
            points_K2, known_K = _body(keypoints_K2, known_K)
            pairs = _BODY_LIMBS
        for number, (start, end) in enumerate(pairs):
            if known_K[start] and known_K[end]:
                _draw_limb(canvas, points_K2[start], points_K2[end], stick, _color(number, len(pairs)))
        for number, (point, known) in enumerate(zip(points_K2, known_K)):
            if known:
                center = (round(float(point[0])), round(float(point[1])))
                cv2.circle(canvas, center, stick, _color(number, len(points_K2)), -1)
    return canvas


def _body(
    keypoints_K2: NDArray[np.float32], known_K: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    neck = (keypoints_K2[5] + keypoints_K2[6]) / 2
    points = [neck if number is None else keypoints_K2[number] for number in _BODY_FROM_COCO]
    known = [known_K[5] and known_K[6] if number is None else known_K[number] for number in _BODY_FROM_COCO]
    return np.stack(points), np.array(known)


def _draw_limb(
    canvas: NDArray[np.uint8], start: NDArray[np.float32], end: NDArray[np.float32], stick: int, color: Sequence[int]
) -> None:
    middle, along = (start + end) / 2, end - start
    angle = float(np.degrees(np.arctan2(along[1], along[0])))
    axes = (max(1, round(float(np.hypot(*along)) / 2)), stick)
    outline = cv2.ellipse2Poly((round(float(middle[0])), round(float(middle[1]))), axes, round(angle), 0, 360, 1)
    cv2.fillConvexPoly(canvas, outline, [round(0.6 * level) for level in color])


def _color(number: int, count: int) -> list[int]:
    """Returns color `number` of a wheel of `count` hues, RGB."""
    return [round(255 * level) for level in colorsys.hsv_to_rgb(number / count, 1, 1)]
