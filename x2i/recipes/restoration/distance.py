"""How far things in a photograph are: from a depth column where there is one, else from a prior."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x2i.reasons import DroppedError
from x2i.recipes.base import Source
from x2i.recipes.restoration.base import strongest_channel, weakest_channel


def distance(source: Source, column: str) -> tuple[NDArray[np.float32], str]:
    """Returns distance_HW, 0 (near) to 1 (far), smoothed as in OneRestore (a window of 22 px), and what it is from.

    Without a depth map: the mean of the height in the picture (far is up) and of the color attenuation prior (Zhu et
    al., 2015), which takes bright and unsaturated places for far ones.
    """
    import cv2

    height, width = source.pixels.shape[:2]
    try:
        near = source.maps[column].values
        near = cv2.resize(near if near.ndim == 2 else near[..., 0], (width, height), interpolation=cv2.INTER_AREA)
        far, origin = 1 - near.astype(np.float32) / np.iinfo(near.dtype).max, "depth"
    except (KeyError, DroppedError):
        far, origin = _prior(source.pixels), "prior"
    window = max(3, round(22 * min(height, width) / 512))
    return cv2.blur(far, (window, window)), origin


def _prior(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    high = strongest_channel(image).astype(np.float32) / 255
    low = weakest_channel(image).astype(np.float32) / 255
    attenuation = 0.121779 + 0.959710 * high - 0.780245 * (high - low) / np.maximum(high, 1e-3)
    window = max(3, min(image.shape[:2]) // 12)
    attenuation = np.clip(cv2.blur(attenuation, (window, window)), 0, 1)
    rise = np.linspace(1, 0, image.shape[0], dtype=np.float32)[:, None]
    return (attenuation + rise) / 2
