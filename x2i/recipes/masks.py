"""Holes and objects: masks of drawn boxes and strokes, and masks that a detector found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def boxes(height: int, width: int, random: np.random.Generator) -> Mask:
    """Returns a mask_HW of one to three rectangles with sides of 15 to 45 per cent of the picture's."""
    mask = np.zeros((height, width), bool)
    for _ in range(int(random.integers(1, 4))):
        tall, wide, top, left = random.uniform(size=4)
        box_height = max(4, int(height * (0.15 + 0.3 * tall)))
        box_width = max(4, int(width * (0.15 + 0.3 * wide)))
        y, x = int(top * (height - box_height)), int(left * (width - box_width))
        mask[y : y + box_height, x : x + box_width] = True
    return mask


def strokes(height: int, width: int, random: np.random.Generator) -> Mask:
    """Returns a mask_HW of two to five brush strokes, each a path of six bends, 4 to 9 per cent of the side thick."""
    import cv2

    canvas = np.zeros((height, width), np.uint8)
    scale = np.array([width - 1, height - 1])
    for _ in range(int(random.integers(2, 6))):
        thickness = max(3, int(min(height, width) * random.uniform(0.04, 0.09)))
        turns = random.uniform(0, 2 * np.pi) + np.cumsum(random.uniform(-1, 1, 6))
        steps = random.uniform(0.05, 0.15, 6)[:, None] * np.stack([np.cos(turns), np.sin(turns)], 1)
        points = np.vstack([start := random.uniform(0.1, 0.9, (1, 2)), start + np.cumsum(steps, 0)])
        path = np.rint(np.clip(points, 0, 1) * scale).astype(np.int32)
        cv2.polylines(canvas, [path.reshape(-1, 1, 2)], False, 255, thickness)
        for x, y in path.tolist():
            cv2.circle(canvas, (x, y), thickness // 2, 255, -1)
    return canvas > 0


SHAPES: dict[str, Callable[[int, int, np.random.Generator], Mask]] = {"boxes": boxes, "strokes": strokes}


def entity_mask(metadata: Mapping[str, Any], height: int, width: int) -> Mask:
    """Returns the mask_HW of an entity, brought to the size of the picture at hand.

    metadata: `mask_size` [height, width] and `mask_counts` (COCO RLE), as in the column `entities`.
    """
    import cv2

    from x2i.image.rle import decode_mask

    mask = decode_mask(metadata["mask_counts"], *metadata["mask_size"])
    if mask.shape == (height, width):
        return mask
    share = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return share >= 0.5
