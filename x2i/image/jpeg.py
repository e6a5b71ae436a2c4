"""JPEG: what its markers say, and decoding at its full size or at an eighth, a quarter or a half of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from x2i.image.damage import broken
from x2i.image.strip import strip_jpeg
from x2i.reasons import DroppedError, Reason

MAX_SCANS = 100
"""A progressive JPEG repeats its whole decoding once per scan; a few kB can ask for thousands. Cameras write ten."""
EIGHTHS = (1, 2, 4, 8)
"""The scales for which libjpeg-turbo has SIMD code. 3 takes a third longer than 4, and 5, 6 and 7 longer than 8."""
_ORIENTATION_TAG = 0x0112
_HEADROOM = 1.15
_HARMLESS_WARNING = "extraneous bytes before marker 0xd9"
"""libjpeg says this when all picture data has been read and junk stands before the end mark: the pixels are whole."""


@dataclass(frozen=True)
class JpegHeader:
    """width, height: pixels as stored. colorspace: "RGB", "YCbCr", "Gray", "CMYK" or "YCCK". orientation: of EXIF, 1 to
    8. profile: ICC. exif: as in APP1, from "Exif" on.
    """

    width: int
    height: int
    colorspace: str
    orientation: int = 1
    profile: bytes | None = None
    exif: bytes | None = None


def jpeg_header(data: bytes) -> JpegHeader:
    """Reads the markers before the first scan. Metadata that is damaged is passed over.

    Raises DroppedError: IMAGE_TRUNCATED, IMAGE_CORRUPT or UNSUPPORTED_FORMAT.
    """
    import simplejpeg

    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except (ValueError, KeyError) as error:  # KeyError: the header ends before it names a color space
        raise broken(data, "jpeg", error) from error
    exif, one_scan, chunks = None, False, dict[int, bytes]()
    frame_components = 0
    for marker, start, end in jpeg_segments(data):
        if marker == 0xE1 and exif is None and data.startswith(b"Exif\0\0", start):
            exif = data[start:end]
        elif marker == 0xE2 and end > start + 14 and data.startswith(b"ICC_PROFILE\0", start):
            chunks.setdefault(data[start + 12], data[start + 14 : end])
        elif marker in (0xC0, 0xC1) and end > start + 5:
            frame_components = data[start + 5]
        elif marker == 0xDA and end > start:
            one_scan = data[start] == frame_components
    if not one_scan:
        _guard_scans(data)
    profile = b"".join(chunks[number] for number in sorted(chunks)) or None
    orientation = exif_orientation(exif) if exif else 1
    return JpegHeader(int(width), int(height), str(colorspace), orientation, profile, exif)


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields (marker, first byte after its length, end) of the segments to the first scan's header (ITU-T T.81, B.1).

    ICC profiles (ICC.1:2022 annex B.4) are in APP2, EXIF in APP1.
    """
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xD9 or end > len(data) or end < position + 4:
            return
        yield marker, position + 4, end
        if marker == 0xDA:
            return
        position = end


def _guard_scans(data: bytes) -> None:
    # A baseline picture in one scan is not asked: libjpeg reads no second one, and counting reads the whole file.
    scans = data.count(b"\xff\xda")
    if scans > MAX_SCANS:  # is it the picture that has them, or the film that a phone wrote after it?
        scans = (strip_jpeg(data) or data).count(b"\xff\xda")
    if scans > MAX_SCANS:
        raise DroppedError(Reason.IMAGE_CORRUPT, f"{scans} scans; at most {MAX_SCANS} are decoded")


def exif_orientation(exif: bytes) -> int:
    """Returns the orientation that an EXIF block tells; 1 if it tells none or cannot be read, as browsers do."""
    from PIL import Image

    try:
        block = Image.Exif()
        block.load(exif)
        return orientation_of(block)
    except Exception:  # noqa: BLE001 - any exception here means damaged metadata, and the pixels are fine
        return 1


def orientation_of(exif: Any) -> int:
    """Returns the orientation in a `PIL.Image.Exif`, 1 to 8; 1 where it has none that is valid."""
    value = exif.get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def decode_scaled(
    data: bytes, colorspace: str, size: tuple[int, int], eighths: int = 8, *, fast_chroma: bool = False
) -> np.ndarray:
    """Decodes a JPEG of `size` (width, height) to uint8 (height, width, channels), each side times `eighths` / 8 (of
    `EIGHTHS`) and rounded up.

    colorspace: "RGB", "GRAY" or "CMYK". With `fast_chroma`, subsampled chroma is repeated instead of interpolated.
    """
    import simplejpeg

    wanted = {}
    if eighths < 8:
        side = _scaled(max(size), eighths)
        wanted = {"min_width": side} if size[0] >= size[1] else {"min_height": side}
    try:
        return simplejpeg.decode_jpeg(data, colorspace, fastupsample=fast_chroma, **wanted)
    except ValueError as error:
        if _HARMLESS_WARNING not in str(error):
            raise broken(data, "jpeg", error) from error
    return simplejpeg.decode_jpeg(data, colorspace, strict=False, fastupsample=fast_chroma, **wanted)


def eighths_for(full: tuple[int, int], wanted: tuple[int, int]) -> int:
    """Returns how many eighths (of `EIGHTHS`) a picture of size `full` is decoded at that is then scaled to `wanted`.

    They leave at least `wanted`, and either just that or clearly more: scaling by 1.05 what holds detail up to the last
    pixel blurs some of it and not the rest.
    """
    for eighths in EIGHTHS:
        ratios = [_scaled(side, eighths) / goal for side, goal in zip(full, wanted)]
        if min(ratios) >= 1 and (min(ratios) == 1 or min(ratios) >= _HEADROOM):
            return eighths
    return 8


def _scaled(side: int, eighths: int) -> int:
    return -(-side * eighths // 8)
