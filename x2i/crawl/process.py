"""The bytes of an image file become the bytes that are stored, or a reason why not. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from x2i.image import ImageHeader, ResizeMode, decode, encode, phash, read_header, resize
from x2i.image.decode import DEFAULT_MAX_PIXELS, is_plain_srgb
from x2i.image.resize import resized_size
from x2i.image.strip import strip_jpeg
from x2i.reasons import DroppedError, Reason


class StoredFormat(StrEnum):
    """keep: the format that came in, where it can be stored, and its own bytes where nothing has to change."""

    KEEP = "keep"
    JPEG = "jpeg"
    WEBP = "webp"
    PNG = "png"


KEPT_FORMATS = {"jpeg": "jpeg", "avif": "jpeg", "webp": "webp", "png": "png", "gif": "png", "bmp": "png", "tiff": "png"}
"""What --format keep stores for each format that comes in."""
LONGEST_SIDE = {"jpeg": 65500, "webp": 16383, "png": 2**31 - 1}
_SCALING_MARGIN = 8


@dataclass(frozen=True)
class StoragePolicy:
    """How images are stored. max_side: pixels, by `resize_mode`; pictures are never enlarged. min_side: a picture whose
    shorter side has fewer pixels is dropped (too_small). format: see `make_image` for "keep".
    """

    max_side: int = 1024
    min_side: int = 0
    resize_mode: ResizeMode = ResizeMode.LONGEST
    format: StoredFormat = StoredFormat.JPEG
    quality: int = 95
    max_pixels: int = DEFAULT_MAX_PIXELS


@dataclass(frozen=True)
class StoredImage:
    """data: the encoded bytes, without metadata; width, height: of these; phash: of the pixels they were made from."""

    data: bytes
    format: str
    width: int
    height: int
    phash: int
    header: ImageHeader


def make_image(data: bytes, policy: StoragePolicy) -> StoredImage:
    """Checks, decodes, resizes and encodes an image file. Raises DroppedError for what cannot or may not be stored.

    With format "keep", a picture that need not be resized keeps its own compression: a JPEG that is upright sRGB is
    copied without its metadata segments, a plain lossy WebP as it is. Everything else is encoded anew, in its own
    format where that can be stored (BMP, GIF and TIFF become PNG, AVIF becomes JPEG). No EXIF survives in any case.
    """
    header = read_header(data)
    if header.pixels > policy.max_pixels:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{header.width}x{header.height}; at most {policy.max_pixels}")
    if min(header.width, header.height) < policy.min_side:
        raise DroppedError(Reason.TOO_SMALL, f"{header.width}x{header.height}; --min-side {policy.min_side}")
    full = (header.width, header.height)
    target = resized_size(*full, policy.resize_mode, policy.max_side)
    margin = 0 if policy.resize_mode is ResizeMode.LONGEST else _SCALING_MARGIN
    pixels = decode(data, max_pixels=policy.max_pixels, target_side=_decode_side(full, target) + margin)
    resized = resize(pixels, policy.resize_mode, policy.max_side)
    stored_format = KEPT_FORMATS[header.format] if policy.format is StoredFormat.KEEP else str(policy.format)
    if max(resized.shape) > LONGEST_SIDE[stored_format]:
        raise DroppedError(Reason.TOO_MANY_PIXELS, f"{target[0]}x{target[1]} does not fit into {stored_format}")
    stored = None
    if policy.format is StoredFormat.KEEP and resized.shape == pixels.shape and target == full:
        stored = _kept(data, header.format)
    if stored is None:
        stored = encode(resized, stored_format, policy.quality)
    height, width = resized.shape[:2]
    return StoredImage(stored, stored_format, width, height, phash(resized), header)


def _decode_side(full: tuple[int, int], target: tuple[int, int]) -> int:
    """Returns the longest side to decode at so that neither side falls below its target (which may be a square)."""
    scale = max(target[0] / full[0], target[1] / full[1])
    return int(np.ceil(max(full) * scale))


def _kept(data: bytes, image_format: str) -> bytes | None:
    """Returns the file's own bytes without metadata, or None if it has to be encoded anew."""
    if image_format == "jpeg" and is_plain_srgb(data):
        return strip_jpeg(data)
    if image_format == "webp" and data[12:16] == b"VP8 ":
        return data[: int.from_bytes(data[4:8], "little") + 8]
    return None
