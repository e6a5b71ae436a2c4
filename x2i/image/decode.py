"""Encoded bytes to upright sRGB pixels, or a reason why not: never a guess, never a half-grey picture."""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from x2i.image.header import ImageHeader, broken, jpeg_header, open_with_pillow, pillow_errors, read_header, sniff
from x2i.reasons import DroppedError, Reason

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DEFAULT_MAX_PIXELS", "ImageHeader", "decode", "read_header"]

DEFAULT_MAX_PIXELS = 100_000_000
_ORIENTATION_TAG = 0x0112
_HARMLESS_JPEG_WARNING = "extraneous bytes before marker 0xd9"
"""libjpeg says this when all picture data has been read and junk stands before the end mark: the pixels are whole."""


def decode(data: bytes, *, max_pixels: int = DEFAULT_MAX_PIXELS, target_side: int | None = None) -> np.ndarray:
    """Decodes an image file of any supported format to uint8 RGB, shape (height, width, 3), values 0..255 in sRGB.

    EXIF orientation is applied, ICC profiles are converted, alpha is flattened on white, 16-bit is scaled to 8, the
    first frame of an animation is taken. `max_pixels` guards the size that the header claims, before any decoding.
    With `target_side`, a JPEG may be decoded at a reduced scale whose longest side is still at least `target_side`.

    Raises DroppedError: NOT_AN_IMAGE, UNSUPPORTED_FORMAT, TOO_MANY_PIXELS, IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    image_format = sniff(data)
    if image_format == "jpeg":
        return _decode_jpeg(data, max_pixels, target_side)
    with pillow_errors(data, image_format):
        image = open_with_pillow(data, image_format)
        _guard_pixels(image.width, image.height, max_pixels)
        if image_format == "png":
            open_with_pillow(data, "png").verify()
        image.load()
        _guard_pixels(image.width, image.height, max_pixels)
        orientation = _orientation(image)
        return orient(_to_srgb(image), orientation)


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors `image` (height, width, ...) as EXIF tag 0x0112 asks (1 to 8, TIFF 6.0 page 36)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def is_plain_srgb(jpeg: bytes) -> bool:
    """Whether a JPEG's own pixels are what `decode` returns: upright, not CMYK, no profile other than sRGB."""
    _, _, colorspace = jpeg_header(jpeg)
    orientation, profile, _ = _jpeg_metadata(jpeg)
    if orientation != 1 or colorspace in ("CMYK", "YCCK"):
        return False
    return not profile or (colorspace != "Gray" and _transform_to_srgb(profile, "RGB") is None)


def _decode_jpeg(data: bytes, max_pixels: int, target_side: int | None) -> np.ndarray:
    width, height, colorspace = jpeg_header(data)
    _guard_pixels(width, height, max_pixels)
    wanted = {}
    if target_side is not None and target_side < max(width, height):
        wanted = {"min_width": target_side} if width >= height else {"min_height": target_side}
    orientation, profile, inverted = _jpeg_metadata(data)
    if colorspace in ("CMYK", "YCCK"):
        cmyk = _turbo(data, "CMYK", wanted)
        return orient(_cmyk_to_srgb(255 - cmyk if inverted else cmyk, profile), orientation)
    if colorspace == "Gray" and profile:
        return orient(_apply_profile(_pillow(_turbo(data, "GRAY", wanted)[..., 0]), profile), orientation)
    pixels = _turbo(data, "RGB", wanted)
    if profile:
        pixels = _apply_profile(_pillow(pixels), profile)
    return orient(pixels, orientation)


def _turbo(data: bytes, colorspace: str, wanted: dict[str, int]) -> np.ndarray:
    import simplejpeg

    try:
        return simplejpeg.decode_jpeg(data, colorspace, **wanted)
    except ValueError as error:
        if _HARMLESS_JPEG_WARNING not in str(error):
            raise broken(data, "jpeg", error) from error
    return simplejpeg.decode_jpeg(data, colorspace, strict=False, **wanted)


def _jpeg_metadata(data: bytes) -> tuple[int, bytes | None, bool]:
    """Returns (EXIF orientation, ICC profile, whether CMYK values are stored inverted as Adobe does)."""
    head = data[:131072]
    if not any(mark in head for mark in (b"Exif\0\0", b"ICC_PROFILE\0", b"Adobe\0")):
        return 1, None, False
    with pillow_errors(data, "jpeg"):
        image = open_with_pillow(data, "jpeg")
        return _orientation(image), image.info.get("icc_profile"), "adobe_transform" in image.info


def _orientation(image: Any) -> int:
    """Returns the EXIF orientation; 1 where there is none or the EXIF block cannot be read, as browsers do."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - any exception here means damaged metadata, and the pixels are fine
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _to_srgb(image: Image) -> np.ndarray:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        image = _pillow(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise DroppedError(Reason.UNSUPPORTED_FORMAT, f"32-bit pixels (mode {image.mode}) have no defined white")
    if image.mode == "CMYK":
        return _cmyk_to_srgb(np.asarray(image), profile)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    if image.mode == "1":
        image = image.convert("L")
    if not (image.mode == "L" and profile):
        image = image.convert("RGB")
    pixels = _apply_profile(image, profile) if profile else np.asarray(image)
    return pixels if alpha is None else _flatten(pixels, alpha)


def _flatten(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lays RGB pixels with straight alpha (0..255) on white."""
    weight = alpha[..., None].astype(np.uint32)
    return ((pixels * weight + 255 * (255 - weight) + 127) // 255).astype(np.uint8)


def _cmyk_to_srgb(cmyk: np.ndarray, profile: bytes | None) -> np.ndarray:
    """Converts ink amounts (255 = full ink), by the profile if there is one, else by r = (1 - c)(1 - k)."""
    image = _pillow(cmyk, "CMYK")
    return _apply_profile(image, profile) if profile else np.asarray(image.convert("RGB"))


def _apply_profile(image: Image, profile: bytes) -> np.ndarray:
    """Converts `image` from its ICC profile to sRGB; a profile that is damaged or of another mode is passed over."""
    from PIL import ImageCms

    transform = _transform_to_srgb(profile, image.mode)
    if transform is None:
        return np.asarray(image.convert("RGB"))
    return np.asarray(ImageCms.applyTransform(image, transform))


@functools.lru_cache(maxsize=64)
def _transform_to_srgb(profile: bytes, mode: str) -> Any:
    """Returns a Pillow colour transform, or None where the pixels are to be taken as sRGB already."""
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower() and mode == "RGB":
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def _pillow(pixels: np.ndarray, mode: str | None = None) -> Image:
    """Wraps uint8 pixels as a Pillow image: (H, W) as L, (H, W, 3) as RGB, (H, W, 4) as `mode`."""
    from PIL import Image as PillowImage

    height, width = pixels.shape[:2]
    mode = mode or ("L" if pixels.ndim == 2 else "RGB")
    return PillowImage.frombuffer(mode, (width, height), np.ascontiguousarray(pixels).tobytes(), "raw", mode, 0, 1)


def _guard_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{width}x{height} is more than {max_pixels} pixels")
