"""Pictures small enough to look at many of: encoded bytes in, a picture that fits a box out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from x2i.reasons import DroppedError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

THUMBNAIL_QUALITY = 86


@dataclass(frozen=True)
class Broken:
    """Stands for an image that does not decode, with the reason to show in its place."""

    why: str


def fit(data: bytes, width: int, height: int) -> Image | Broken:
    """Decodes `data` and returns it scaled to fit (width, height) pixels, aspect kept, never enlarged past 4 times."""
    from PIL import Image as PillowImage

    pixels = decoded(data)
    if isinstance(pixels, Broken):
        return pixels
    image = PillowImage.fromarray(pixels)
    scale = min(width / image.width, height / image.height, 4.0)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    method = PillowImage.Resampling.NEAREST if scale >= 2 else PillowImage.Resampling.LANCZOS
    return image.resize(size, method)


def thumbnail_bytes(data: bytes, side: int) -> bytes | None:
    """Returns `data` as a JPEG whose longest side is at most `side` pixels; None if it does not decode."""
    from x2i.image import ResizeMode, encode, resize

    pixels = decoded(data)
    if isinstance(pixels, Broken):
        return None
    return encode(resize(pixels, ResizeMode.LONGEST, side), "jpeg", THUMBNAIL_QUALITY)


def decoded(data: bytes) -> np.ndarray | Broken:
    """Returns the pixels of an encoded image, uint8 RGB (height, width, 3), or why there are none."""
    from x2i.image import decode

    try:
        return decode(data)
    except DroppedError as error:
        return Broken(str(error))
