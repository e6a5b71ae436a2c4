"""Pixels to file bytes: the same pixels and settings give the same bytes, without a word of metadata."""

from __future__ import annotations

import numpy as np

FORMATS = ("jpeg", "png", "webp")


def encode(image: np.ndarray, format: str = "jpeg", quality: int = 95) -> bytes:
    """Encodes uint8 pixels, RGB (height, width, 3) or gray (height, width).

    format: "jpeg" (4:2:0 chroma, libjpeg-turbo), "png" (lossless, `quality` unused) or "webp" (lossy).
    quality: 1 to 100. Raises ValueError on another dtype, shape, format or quality.
    """
    if image.dtype != np.uint8 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise ValueError(f"expected uint8 pixels (H, W, 3) or (H, W), found {image.dtype} {image.shape}")
    if not 1 <= quality <= 100:
        raise ValueError(f"quality: expected 1 to 100, found {quality}")
    if format == "jpeg":
        return _encode_jpeg(np.ascontiguousarray(image), quality)
    if format in ("png", "webp"):
        return _encode_with_cv2(image, format, quality)
    raise ValueError(f"format: expected one of {', '.join(FORMATS)}, found {format!r}")


def _encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    import simplejpeg

    if image.ndim == 2:
        return bytes(simplejpeg.encode_jpeg(image[..., None], quality, "GRAY", "Gray"))
    return bytes(simplejpeg.encode_jpeg(image, quality, "RGB", "420"))


def _encode_with_cv2(image: np.ndarray, format: str, quality: int) -> bytes:
    import cv2

    bgr = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 6] if format == "png" else [cv2.IMWRITE_WEBP_QUALITY, quality]
    done, buffer = cv2.imencode(f".{format}", bgr, settings)
    assert done, f"OpenCV was built without {format}"
    return bytes(buffer)
