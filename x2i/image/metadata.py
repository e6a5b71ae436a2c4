"""Carrying a source's EXIF, place and camera and all, into the stored file: only when the user asked for it."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from x2i.image.header import ImageHeader, open_with_pillow, webp_size

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION_TAG = 0x0112
_MARK = b"Exif\0\0"
_LONGEST_JPEG_SEGMENT = 65533


def source_exif(data: bytes, header: ImageHeader) -> bytes | None:
    """Returns the EXIF of an image file as a TIFF block, its orientation 1 and its thumbnail dropped; None if it has
    none that can be read.
    """
    from PIL import Image

    try:
        if header.jpeg:
            exif = Image.Exif()
            exif.load(header.jpeg.exif or b"")
        else:
            exif = open_with_pillow(data, header.format).getexif()
        if header.format == "tiff":
            exif = _without_layout(exif)
        if not len(exif):
            return None
        if _ORIENTATION_TAG in exif:
            exif[_ORIENTATION_TAG] = 1
        return exif.tobytes().removeprefix(_MARK)
    except Exception:  # noqa: BLE001 - any exception here means damaged metadata, and the picture goes without it
        return None


def with_exif(stored: bytes, image_format: str, exif: bytes) -> bytes:
    """Returns a JPEG, PNG or WebP file that has no EXIF with this TIFF block in it; a JPEG holds at most 64 kB."""
    if image_format == "jpeg":
        if len(exif) + len(_MARK) > _LONGEST_JPEG_SEGMENT:
            return stored
        start = 4 + int.from_bytes(stored[4:6], "big") if stored[2:4] == b"\xff\xe0" else 2
        payload = _MARK + exif
        return stored[:start] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + stored[start:]
    if image_format == "png":
        after_header = 8 + 12 + 13
        chunk = b"eXIf" + exif
        framed = struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        return stored[:after_header] + framed + stored[after_header:]
    return _webp_with_exif(stored, exif)


def _webp_with_exif(stored: bytes, exif: bytes) -> bytes:
    """Makes a simple WebP an extended one (RFC 9649 section 2.7) that says it has EXIF."""
    width, height = webp_size(stored)
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([0x08, 0, 0, 0]) + canvas
    body = b"WEBP" + extended + stored[12:] + b"EXIF" + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _without_layout(tags: Image.Exif) -> Image.Exif:
    """Returns the descriptive tags of a TIFF, without those that say where and how its pixels lie."""
    from PIL import Image

    kept = Image.Exif()
    for tag in (0x010E, 0x010F, 0x0110, 0x0112, 0x0131, 0x0132, 0x013B, 0x8298):
        if tag in tags:
            kept[tag] = tags[tag]
    for directory in (0x8769, 0x8825):
        kept.get_ifd(directory).update(tags.get_ifd(directory))
    return kept
