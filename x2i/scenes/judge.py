"""What is seen in a picture that should show a scene: judged from its pixels by the exact truth, without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.scenes.draw import template
from x2i.scenes.scene import COLORS, GROUNDS, PLACES, SHAPES

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
LEAST_SHARE = 0.01
"""Of the picture's area: what is smaller is no thing."""
FAR = 25.0
"""Distance in CIELAB from the ground at which a pixel belongs to a thing; 2.3 is just seen."""
SIZES = (0.55, 1.15)
"""Of a silhouette that is tried, as shares of the thing's longer side: specks beside a thing make it look larger."""


@dataclass(frozen=True)
class Seen:
    """The largest thing in a picture. color, place, kind, ground: the nearest of the names of a scene.

    share: of the picture's area. likeness: IoU of what has its color with its kind's silhouette where that fits best.
    """

    color: str
    place: str
    kind: str
    ground: str
    share: float
    likeness: float


def see(pixels_HWC: Pixels, kinds: tuple[str, ...] = SHAPES) -> Seen | None:
    """Returns the largest thing in an RGB picture of one ground, None if there is nothing."""
    lab = _lab(pixels_HWC)
    border = np.concatenate([lab[:2].reshape(-1, 3), lab[-2:].reshape(-1, 3), *(lab[:, x] for x in (0, 1, -2, -1))])
    ground = np.median(border, 0)
    is_thing = np.linalg.norm(lab - ground, axis=-1) > FAR
    count, labels, statistics, middles = cv2.connectedComponentsWithStats(is_thing.astype(np.uint8))
    if count < 2:
        return None
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    mask = labels == largest
    height, width = mask.shape
    if mask.mean() < LEAST_SHARE:
        return None
    color = np.median(lab[_inner(mask)], 0)
    x, y = (middles[largest] + 0.5) / (width, height)
    painted = _cut(_paint(lab, ground, color), *statistics[largest, :4])
    likeness = {kind: _best_overlap(painted, kind, max(statistics[largest, 2:4])) for kind in kinds}
    kind = max(likeness, key=likeness.__getitem__)
    place = min(PLACES, key=lambda name: float(np.hypot(*(np.array(PLACES[name]) - (x, y)))))
    return Seen(_nearest(color, COLORS), place, kind, _nearest(ground, GROUNDS), float(mask.mean()), likeness[kind])


def color_mask(pixels_HWC: Pixels, color: str) -> Mask:
    """Returns where an RGB picture has `color`: where no other name of a color or a ground is nearer."""
    names, labs = _palette()
    distances = np.linalg.norm(_lab(pixels_HWC)[:, :, None] - labs, axis=-1)
    return np.asarray(distances.argmin(-1) == names.index(color))


def nearer_mask(pixels_HWC: Pixels, paint: tuple[int, int, int], before_HWC: Pixels) -> Mask:
    """Returns where an RGB picture is nearer to one color, `paint`, than to another picture of its size."""
    lab, painted = _lab(pixels_HWC), _lab(np.array([[paint]], np.uint8))
    far_from_paint, far_from_before = (np.linalg.norm(lab - other, axis=-1) for other in (painted, _lab(before_HWC)))
    return np.asarray(far_from_paint < far_from_before)


def iou(one: Mask, other: Mask) -> float:
    """Returns intersection over union of two masks, 0 where both are empty."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else 0.0


def _paint(
    lab_HW3: NDArray[np.float32], ground: NDArray[np.float32], color: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Returns how far each pixel is from the ground to the color, 0 to 1; faint shades of both are cut off."""
    way = color - ground
    return np.asarray(np.clip(((lab_HW3 - ground) @ way / (way @ way) - 0.25) / 0.5, 0, 1), np.float32)


def _cut(paint_HW: NDArray[np.float32], x: int, y: int, width: int, height: int) -> NDArray[np.float32]:
    """Returns the part around a box, a fifth of its longer side wider on each side, in a margin of nothing."""
    around, margin = max(width, height) // 5 + 1, round(0.6 * max(width, height))
    top, left = max(0, y - around), max(0, x - around)
    part = paint_HW[top : y + height + around, left : x + width + around]
    return cv2.copyMakeBorder(part, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=0)


def _best_overlap(paint_HW: NDArray[np.float32], kind: str, side: int) -> float:
    """Returns the IoU of paint with a kind's silhouette in the place and size of SIZES where it is largest."""
    best, whole = 0.0, float(paint_HW.sum())
    for size in range(max(4, round(SIZES[0] * side)), round(SIZES[1] * side) + 1):
        silhouette = _silhouette(kind, size)
        shared = cv2.matchTemplate(paint_HW, silhouette, cv2.TM_CCORR)
        best = max(best, float((shared / (whole + float(silhouette.sum()) - shared)).max()))
    return best


_silhouette = lru_cache(maxsize=1024)(template)


def _inner(mask: Mask) -> Mask:
    """Returns a mask without its edge, where colors mix; the mask itself if nothing else is left."""
    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    return inner if inner.any() else mask


def _lab(pixels_HWC: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(pixels_HWC.astype(np.float32) / 255, cv2.COLOR_RGB2LAB))


def _nearest(color: NDArray[np.float32], names: Mapping[str, tuple[int, int, int]]) -> str:
    labs = _lab(np.array([list(names.values())], np.uint8))[0]
    return list(names)[int(np.linalg.norm(labs - color, axis=-1).argmin())]


@lru_cache(maxsize=1)
def _palette() -> tuple[list[str], NDArray[np.float32]]:
    both = {**COLORS, **GROUNDS}
    return list(both), _lab(np.array([list(both.values())], np.uint8))[0]
