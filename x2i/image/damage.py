"""What is wrong with a file that failed to decode: its end is missing, it is damaged, or it is of a kind not read."""

from __future__ import annotations

import re
from typing import Literal

from x2i.reasons import DroppedError, Reason


def broken(data: bytes, image_format: str, error: Exception) -> DroppedError:
    """Returns the DroppedError for a file that failed to decode: truncated if its end is missing, else corrupt."""
    # A memory address in a message would make two runs differ.
    detail = re.sub(r" at 0x[0-9a-f]+", "", f"{image_format}: {error}")[:200]
    if not _has_its_end(data, image_format) or "truncated" in str(error).lower():
        return DroppedError(Reason.IMAGE_TRUNCATED, detail)
    unsupported = any(words in str(error) for words in ("nsupported", "unknown pixel mode"))
    return DroppedError(Reason.UNSUPPORTED_FORMAT if unsupported else Reason.IMAGE_CORRUPT, detail)


def _has_its_end(data: bytes, image_format: str) -> bool:
    """Whether the file reaches the end that its own format promises; True where the format has no such mark."""
    if image_format == "jpeg":
        return b"\xff\xd9" in data[-4096:]
    if image_format == "png":
        return b"IEND\xae\x42\x60\x82" in data
    if image_format == "gif":
        return data.rstrip(b"\0").endswith(b";")
    if image_format == "webp":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if image_format == "bmp":
        return len(data) >= int.from_bytes(data[2:6], "little")
    if image_format in ("avif", "heif"):
        return _boxes_fit(data)
    return _directory_fits(data)


def _directory_fits(tiff: bytes) -> bool:
    """Whether the first image file directory of a TIFF, with the values it points to, lies within the file.

    TIFF 6.0, section 2: an entry has tag, type, count and, if its value takes more than 4 bytes, the value's offset.
    """
    order: Literal["little", "big"] = "little" if tiff[:2] == b"II" else "big"

    def number(position: int, size: int) -> int:
        return int.from_bytes(tiff[position : position + size], order)

    start = number(4, 4)
    entries = range(start + 2, start + 2 + 12 * number(start, 2), 12)
    if len(tiff) < 8 or entries.stop + 4 > len(tiff):
        return False
    sizes = [(entry, number(entry + 4, 4) * _TIFF_TYPE_BYTES.get(number(entry + 2, 2), 1)) for entry in entries]
    return all(size <= 4 or number(entry + 8, 4) + size <= len(tiff) for entry, size in sizes)


def _boxes_fit(data: bytes) -> bool:
    """Whether the top-level boxes of an ISO base media file (ISO/IEC 14496-12 section 4.2) end within `data`."""
    position = 0
    while position + 8 <= len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        if size == 0:
            return True
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        if size < 8:
            return True
        position += size
    return position == len(data)


_TIFF_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
