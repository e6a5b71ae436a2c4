"""Reading targets back: from the pixels of a map and the parameters of its sample to what the map was made from.

For lossless images this is exact. Pixels that a model made are taken for the nearest color, so that a score needs no
other model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.image.rle import decode_mask
from x2i.recipes.base import RgbImage

NONE = -1


def nearest_colors(pixels: RgbImage, colors: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """Returns for each pixel of an image_HWC the number of the nearest color, NONE where black is nearer: (H, W)."""
    palette_C3 = np.array([(0, 0, 0), *colors], np.int32)
    best_HW = np.full(pixels.shape[:2], NONE, np.int64)
    least_HW = np.full(pixels.shape[:2], np.iinfo(np.int32).max, np.int32)
    for number, color in enumerate(palette_C3):
        distance_HW = ((pixels.astype(np.int32) - color) ** 2).sum(axis=2)
        closer = distance_HW < least_HW
        best_HW[closer], least_HW[closer] = number - 1, distance_HW[closer]
    return best_HW


def decode_classes(pixels: RgbImage, parameters: Mapping[str, Any]) -> NDArray[np.int64]:
    """Returns the class number of each pixel, NONE where there is none. parameters: of image_to_segmentation."""
    listed = parameters["classes"]
    numbers = np.array([*(entry["id"] for entry in listed), NONE])
    return np.asarray(numbers[nearest_colors(pixels, [entry["rgb"] for entry in listed])], np.int64)


def decode_instances(pixels: RgbImage, parameters: Mapping[str, Any]) -> list[NDArray[np.bool_]]:
    """Returns the mask_HW of each object of the parameters. parameters: of image_to_instances."""
    found_HW = nearest_colors(pixels, [entry["rgb"] for entry in parameters["objects"]])
    return [found_HW == number for number in range(len(parameters["objects"]))]


def true_instances(parameters: Mapping[str, Any]) -> list[NDArray[np.bool_]]:
    """Returns the mask_HW of each object as the parameters hold it."""
    return [decode_mask(entry["mask_counts"], *parameters["mask_size"]) for entry in parameters["objects"]]


def decode_normals(pixels: RgbImage) -> NDArray[np.float32]:
    """Returns vectors of length 1, (H, W, 3)."""
    vectors = pixels.astype(np.float32) / np.float32(127.5) - 1
    length = np.linalg.norm(vectors, axis=2, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6), np.float32)


def decode_depth(pixels: RgbImage, parameters: Mapping[str, Any]) -> NDArray[np.float32]:
    """Returns the inverse depth of each pixel in the estimator's own unit, larger is nearer: (H, W).

    parameters: of image_to_depth; `low` and `high` are the values at 0 and at 65535 of the stored map.
    """
    share_HW = pixels[..., 0].astype(np.float32) / 255
    return np.asarray(parameters["low"] + share_HW * (parameters["high"] - parameters["low"]), np.float32)


def decode_palette(pixels: RgbImage, parameters: Mapping[str, Any]) -> list[str]:
    """Returns the colors of the tiles, row by row, as "#rrggbb". parameters: of image_to_palette."""
    tiles = parameters["tiles"]
    rows, columns = (((np.arange(tiles) + 0.5) * side / tiles).astype(int) for side in pixels.shape[:2])
    return ["#" + pixels[row, column].tobytes().hex() for row in rows for column in columns]


def decode_dots(pixels: RgbImage, parameters: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Returns the centers (x, y) of the dots in a picture of count_objects, by the size and the color of the dots."""
    import cv2

    wanted = np.array(parameters["rgb"])
    alike_HW = (np.abs(pixels.astype(np.int32) - wanted).max(axis=2) < 40).astype(np.uint8)
    radius = int(parameters["radius"])
    dot = cv2.circle(np.zeros((2 * radius + 1, 2 * radius + 1), np.uint8), (radius, radius), radius - 1, 1, -1)
    centers = cv2.erode(alike_HW, dot)
    _, _, _, found = cv2.connectedComponentsWithStats(centers, connectivity=8)
    return [(float(x), float(y)) for x, y in found[1:]]
