"""Removing metadata from a JPEG without touching a pixel: no place, camera, name or thumbnail leaves with the image."""

from __future__ import annotations

_KEPT_SEGMENTS = frozenset({0xDB, 0xDD, 0xDA, *range(0xC0, 0xD0)})
"""Tables, frame and scan headers. Gone are APP1-13, APP15 and comments."""
_COLOR_SEGMENTS = {0xE0: (16, b"JFIF\0"), 0xEE: (14, b"Adobe")}
"""Kept too, since they tell the color transform: APP0 and APP14, if of this length and name, so with nothing else."""


def strip_jpeg(data: bytes) -> bytes | None:
    """Returns the JPEG without EXIF, XMP, IPTC, ICC, thumbnails, comments and whatever follows its end.

    The pixels decode to the same values, except that an ICC profile or EXIF orientation no longer speaks for them: call
    it only where there is none that matters. Returns None if the segments are not laid out as ITU-T T.81 annex B says.
    """
    out = bytearray(b"\xff\xd8")
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xD9:
            return bytes(out) + b"\xff\xd9"
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        end = position + 2 + length
        if length < 2 or marker <= 1 or 0xD0 <= marker <= 0xD8:
            return None
        if marker == 0xDA:
            end = _scan_end(data, end)
        name = data[position + 4 : position + 9]
        if marker == 0xEE and name == b"Adobe" and (length, name) != _COLOR_SEGMENTS[marker]:
            return None
        if marker in _KEPT_SEGMENTS or _COLOR_SEGMENTS.get(marker) == (length, name):
            out += data[position:end]
        position = end
    return bytes(out) + b"\xff\xd9" if data[position : position + 2] == b"\xff\xd9" else None


def _scan_end(data: bytes, position: int) -> int:
    """Returns where the entropy-coded data that starts at `position` meets a marker that is no restart."""
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 1 >= len(data):
            return len(data)
        if data[position + 1] != 0 and not 0xD0 <= data[position + 1] <= 0xD7 and data[position + 1] != 0xFF:
            return position
        position += 1 if data[position + 1] == 0xFF else 2
