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


def lama_boxes(height: int, width: int, random: np.random.Generator) -> Mask:
    """Returns a mask_HW of one to four boxes as LaMa draws them at 256 px: margin 10, sides 30 to 150."""
    scale = min(height, width) / 256
    margin, mask = round(10 * scale), np.zeros((height, width), bool)
    for _ in range(int(random.integers(1, 5))):
        box_height, box_width = (max(4, round(side * scale)) for side in random.uniform(30, 150, 2))
        y = margin + int(random.uniform() * max(0, height - 2 * margin - box_height))
        x = margin + int(random.uniform() * max(0, width - 2 * margin - box_width))
        mask[y : y + box_height, x : x + box_width] = True
    return mask


def lama_strokes(height: int, width: int, random: np.random.Generator) -> Mask:
    """Returns a mask_HW of one to five zigzags as LaMa draws them at 256 px.

    Turns of up to 4 radians, to and fro; segments of up to 200 px; brushes up to 100 px wide.
    """
    import cv2

    scale, canvas = min(height, width) / 256, np.zeros((height, width), np.uint8)
    for _ in range(int(random.integers(1, 6))):
        x, y = random.uniform(0, width), random.uniform(0, height)
        thickness = max(2, round(random.uniform(5, 105) * scale))
        for number in range(int(random.integers(1, 6))):
            angle, length = random.uniform(0, 4), random.uniform(10, 210) * scale
            angle = 2 * np.pi - angle if number % 2 == 0 else angle
            end_x = float(np.clip(x + length * np.sin(angle), 0, width))
            end_y = float(np.clip(y + length * np.cos(angle), 0, height))
            cv2.line(canvas, (int(x), int(y)), (int(end_x), int(end_y)), 255, thickness)
            x, y = end_x, end_y
    return canvas > 0


LAMA_SHAPES: dict[str, Callable[[int, int, np.random.Generator], Mask]] = {
    "lama_boxes": lama_boxes,
    "lama_strokes": lama_strokes,
}
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


def example_entity(image: NDArray[np.uint8]) -> dict[str, Any]:
    """Returns the row of an entity in the middle of a picture_HWC, as in the column `entities`; for examples."""
    from x2i.image.rle import encode_mask

    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    box = {"x0": width // 4, "y0": height // 4, "x1": 3 * width // 4, "y1": 3 * height // 4}
    row = {"entity": 0, "phrase": "a thing", "score": 0.5, "model": "example", "segmenter": "box"}
    return {**row, **box, "mask_size": [height, width], "mask_counts": encode_mask(mask)}
