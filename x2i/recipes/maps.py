"""Images that columns hold: read from a row, and brought to the size of a photograph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.image.maps import decode_map
from x2i.reasons import DroppedError, Reason
from x2i.recipes.base import ImageMap, RgbImage


def read_map(column: str, row: Mapping[str, Any] | None) -> ImageMap:
    """Returns the first image in a row of `column`. Raises DroppedError if the row holds none, or a damaged one."""
    fields = dict(row or {})
    images = {name: value for name, value in fields.items() if isinstance(value, Mapping) and "bytes" in value}
    encoded = next((value["bytes"] for value in images.values() if value["bytes"]), None)
    if encoded is None:
        raise DroppedError(Reason.UNSUITABLE_IMAGE, f"column {column} holds no image about this one")
    try:
        values = decode_map(encoded)
    except ValueError as error:
        raise DroppedError(Reason.IMAGE_CORRUPT, f"column {column}: {error}") from error
    values.setflags(write=False)
    others = {name: value for name, value in fields.items() if name not in images and name != "key"}
    return ImageMap(values, others)


def to_rgb8(values: NDArray[Any], height: int, width: int, *, exact: bool = False) -> RgbImage:
    """Returns a map as uint8 RGB_HWC of this size; 16 bits become 8 by division by 257, so that white stays white.

    exact: values are labels or vectors, which must not be mixed: the nearest one is taken.
    """
    import cv2

    if values.shape[:2] != (height, width):
        shrinks = values.shape[0] > height
        smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        values = cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT if exact else smooth)
    if values.dtype == np.uint16:
        values = np.rint(values / 257).astype(np.uint8)
    return values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
