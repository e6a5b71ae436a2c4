"""Encoded bytes to upright sRGB pixels, or a reason why not: never a guess, never a half-gray picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from x2i.image.color import apply_profile, cmyk_to_srgb, pillow_image, to_srgb, transform_to_srgb
from x2i.image.header import ImageHeader, guard_pixels, open_with_pillow, pillow_errors, read_header, sniff
from x2i.image.jpeg import JpegHeader, decode_scaled, eighths_for, jpeg_header, orientation_of
from x2i.image.resize import scale_to

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["DEFAULT_MAX_PIXELS", "ImageHeader", "decode", "read_header"]

DEFAULT_MAX_PIXELS = 100_000_000
_PNG_BIT_DEPTH = 24
"""Where a PNG has its bits per sample: in IHDR, after width and height (RFC 2083 section 4.1.1)."""


def decode(
    data: bytes,
    *,
    header: ImageHeader | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    target_side: int | None = None,
    size: tuple[int, int] | None = None,
    fast_chroma: bool = False,
) -> np.ndarray:
    """Decodes an image file of any supported format to uint8 RGB, shape (height, width, 3), values 0..255 in sRGB.

    EXIF orientation is applied, ICC profiles are converted, alpha is flattened on white, 16-bit is scaled to 8, the
    first frame of an animation is taken. `max_pixels` guards the size that the header claims, before any decoding.

    header: what `read_header` returned, if it was called.
    target_side: a JPEG may be decoded at a reduced scale whose longest side is still at least this.
    size: the (width, height), as `read_header` counts them, that the picture is scaled to on its way.
    fast_chroma: subsampled chroma of a JPEG is repeated, not interpolated: enough for what becomes 4:2:0 again.

    Raises DroppedError: NOT_AN_IMAGE, UNSUPPORTED_FORMAT, TOO_MANY_PIXELS, IMAGE_TRUNCATED or IMAGE_CORRUPT.
    """
    image_format = header.format if header else sniff(data)
    if image_format == "jpeg":
        jpeg = (header and header.jpeg) or jpeg_header(data)
        guard_pixels(jpeg.width, jpeg.height, max_pixels)
        return _decode_jpeg(data, jpeg, target_side, size, fast_chroma)
    with pillow_errors(data, image_format):
        image = open_with_pillow(data, image_format, max_pixels)
        if image_format == "png":
            open_with_pillow(data, "png", max_pixels).verify()
        image.load()
        guard_pixels(image.width, image.height, max_pixels)
        if image_format == "png":
            _widen_transparency(image, data[_PNG_BIT_DEPTH])
        pixels = to_srgb(image)
        return orient(pixels if size is None else scale_to(pixels, size), _orientation(image))


def orient(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns and mirrors `image` (height, width, ...) as EXIF tag 0x0112 asks (1 to 8, TIFF 6.0 page 36)."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def is_plain_srgb(jpeg: JpegHeader) -> bool:
    """Whether a JPEG's own pixels are what `decode` returns: upright, not CMYK, no profile other than sRGB."""
    if jpeg.orientation != 1 or jpeg.colorspace in ("CMYK", "YCCK"):
        return False
    return not jpeg.profile or (jpeg.colorspace != "Gray" and transform_to_srgb(jpeg.profile, "RGB") is None)


def _decode_jpeg(
    data: bytes, jpeg: JpegHeader, target_side: int | None, size: tuple[int, int] | None, fast_chroma: bool
) -> np.ndarray:
    eighths = 8
    if size is not None:
        eighths = eighths_for((jpeg.width, jpeg.height), size)
    elif target_side is not None:
        side = max(jpeg.width, jpeg.height)
        eighths = eighths_for((side, side), (target_side, target_side))
    kind = "CMYK" if jpeg.colorspace in ("CMYK", "YCCK") else "GRAY" if jpeg.colorspace == "Gray" else "RGB"
    if kind == "GRAY" and not jpeg.profile:
        kind = "RGB"
    pixels = decode_scaled(data, kind, (jpeg.width, jpeg.height), eighths, fast_chroma=fast_chroma)
    if kind == "GRAY":
        pixels = pixels[..., 0]
    # Few pixels are cheaper to convert and to turn than many.
    if size is not None:
        pixels = scale_to(pixels, size)
    if kind == "CMYK":
        # Stored inverted, as Adobe does: browsers take every CMYK JPEG so, with Adobe's marker or without.
        pixels = cmyk_to_srgb(255 - pixels, jpeg.profile)
    elif jpeg.profile:
        pixels = apply_profile(pillow_image(pixels), jpeg.profile)
    return orient(pixels, jpeg.orientation)


def _widen_transparency(image: Image, bit_depth: int) -> None:
    """Pillow widens gray samples of 2 and 4 bits to 8, but not the one that tRNS says is transparent."""
    if image.mode == "L" and bit_depth < 8 and "transparency" in image.info:
        image.info["transparency"] *= 255 // (2**bit_depth - 1)


def _orientation(image: object) -> int:
    """Returns the EXIF orientation of a Pillow image; 1 where its EXIF block cannot be read, as browsers do."""
    try:
        return orientation_of(image.getexif())  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - any exception here means damaged metadata, and the pixels are fine
        return 1
