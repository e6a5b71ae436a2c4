"""Pixels of any kind to sRGB: ICC profiles, CMYK, palettes, 16 bits, gray, and alpha laid on white."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    from PIL.Image import Image

_BLOCK_PIXELS = 1 << 20
_LARGEST_KEPT_PROFILE = 2 << 20
"""Bytes. Transforms are kept by profile; an image may bring one of 30 MB, which no other image will have."""
_NEARLY_SRGB = 12
"""Levels of 255. A plain gamma of 2.2 stays below it (9), the linear sRGB of image editors does not (73)."""


def to_srgb(image: Image) -> np.ndarray:
    """Returns a loaded Pillow image of any mode as uint8 sRGB (height, width, 3).

    Raises DroppedError UNSUPPORTED_FORMAT for 32-bit pixels.
    """
    profile = image.info.get("icc_profile")
    alpha = None
    if image.mode.startswith("I;16"):
        gray = np.asarray(image)
        if "transparency" in image.info:
            alpha = np.where(gray == image.info["transparency"], np.uint8(0), np.uint8(255))
        image = pillow_image(_in_blocks(_narrow, gray))
    if image.mode in ("I", "F"):
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, f"32-bit pixels (mode {image.mode}) have no defined white")
    if image.mode == "CMYK":
        return cmyk_to_srgb(np.asarray(image), profile)
    if image.has_transparency_data:
        color = "L" if image.mode in ("1", "L", "LA") else "RGB"
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert(color)
    if image.mode == "1":
        image = image.convert("L")
    if not (image.mode == "L" and profile):
        image = image.convert("RGB")
    pixels = apply_profile(image, profile) if profile else np.asarray(image)
    return pixels if alpha is None else _in_blocks(_on_white, pixels, alpha)


def _in_blocks(function: Callable[..., np.ndarray], *images: np.ndarray) -> np.ndarray:
    """Applies a function of pixels to blocks of rows, so that its wide temporaries stay small; returns uint8."""
    out = np.empty(images[0].shape, np.uint8)
    rows = max(1, _BLOCK_PIXELS // images[0].shape[1])
    for top in range(0, len(out), rows):
        out[top : top + rows] = function(*(image[top : top + rows] for image in images))
    return out


def _narrow(gray: np.ndarray) -> np.ndarray:
    """Scales 16-bit values to 0..255."""
    return (gray.astype(np.uint32) * 255 + 32767) // 65535


def _on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lays RGB pixels with straight alpha (0..255) on white."""
    weight = alpha[..., None].astype(np.uint32)
    return (pixels * weight + 255 * (255 - weight) + 127) // 255


def cmyk_to_srgb(cmyk: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Converts ink amounts (255 = full ink), by the profile if there is one, else by r = (1 - c)(1 - k)."""
    image = pillow_image(cmyk, "CMYK")
    return apply_profile(image, profile) if profile else np.asarray(image.convert("RGB"))


def apply_profile(image: Image, profile: bytes) -> np.ndarray:
    """Converts `image` from its ICC profile to sRGB; a profile that is damaged or of another mode is passed over."""
    from PIL import ImageCms

    transform = transform_to_srgb(profile, image.mode)
    if transform is None:
        return np.asarray(image.convert("RGB"))
    return np.asarray(ImageCms.applyTransform(image, transform))


def transform_to_srgb(profile: bytes, mode: str) -> Any:
    """Returns a Pillow color transform, or None where the pixels are to be taken as sRGB already."""
    build = _build_transform if len(profile) <= _LARGEST_KEPT_PROFILE else _build_transform.__wrapped__
    return build(profile, mode)


@functools.lru_cache(maxsize=32)
def _build_transform(profile: bytes, mode: str) -> Any:
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        is_named_srgb = "srgb" in ImageCms.getProfileDescription(source).lower() and mode == "RGB"
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        return None if is_named_srgb and _changes_little(transform) else transform
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _changes_little(transform: Any) -> bool:
    """Whether a transform of RGB leaves grays as they are: "Linear sRGB" is sRGB by name alone."""
    from PIL import ImageCms

    ramp = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    changed = np.asarray(ImageCms.applyTransform(pillow_image(ramp), transform))
    return bool(np.abs(changed.astype(int) - ramp).max() <= _NEARLY_SRGB)


def pillow_image(pixels: np.ndarray, mode: str | None = None) -> Image:
    """Wraps uint8 pixels as a Pillow image: (H, W) as L, (H, W, 3) as RGB, (H, W, 4) as `mode`."""
    from PIL import Image as PillowImage

    height, width = pixels.shape[:2]
    mode = mode or ("L" if pixels.ndim == 2 else "RGB")
    return PillowImage.frombuffer(mode, (width, height), np.ascontiguousarray(pixels).tobytes(), "raw", mode, 0, 1)
