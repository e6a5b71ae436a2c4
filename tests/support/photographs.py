"""Real photographs for tests: those that come with scikit-image, and detail shots made of them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray

from x2i.image import decode, encode
from x2i.seeding import generator

Pixels = NDArray[np.uint8]

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
    "text.png",
)


@cache
def photograph(name: str, max_side: int = 512) -> Pixels:
    """Returns a bundled photograph as the crawl would store it: shrunk to `max_side`, JPEG quality 95."""
    image = decode((files("skimage") / "data" / name).read_bytes())
    scale = max_side / max(image.shape[:2])
    if scale < 1:
        size = round(image.shape[1] * scale), round(image.shape[0] * scale)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return decode(encode(image, "jpeg", 95))


def detail_shot(image: Pixels, *name: str | int) -> Pixels:
    """Returns 35% to 60% of `image` seen from another place in another light, as a JPEG of another quality."""
    random = generator("detail", *name)
    height, width = image.shape[:2]
    side = float(np.sqrt(random.uniform(0.35, 0.6)))
    w, h = int(width * side), int(height * side)
    x, y = int(random.integers(0, width - w + 1)), int(random.integers(0, height - h + 1))
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)
    corners += (random.uniform(-0.08, 0.08, (4, 2)) * [w, h]).astype(np.float32)
    corners = np.clip(corners, 0, [width - 1, height - 1]).astype(np.float32)
    zoom = random.uniform(0.8, 1.4)
    size = int(w * zoom), int(h * zoom)
    frame = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float32)
    seen = cv2.warpPerspective(image, cv2.getPerspectiveTransform(corners, frame), size).astype(np.float32)
    seen = (seen - 128) * random.uniform(0.75, 1.25) + 128 + random.uniform(-30, 30)
    seen *= random.uniform(0.9, 1.1, 3)
    return decode(encode(np.clip(seen, 0, 255).astype(np.uint8), "jpeg", int(random.integers(70, 93))))
