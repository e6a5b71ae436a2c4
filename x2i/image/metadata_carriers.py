"""Where metadata lies in an image file, as bytes in one piece: JPEG segments, PNG text and GIF blocks put together."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from x2i.image.jpeg import jpeg_segments

MAX_TEXT = 4 * 2**20
"""Bytes of an unpacked PNG text that are looked at."""
_EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
_GIF_C2PA = b"\x21\xff\x0bC2PA_GIF"


def metadata_carriers(data: bytes, image_format: str) -> Iterator[bytes]:
    """Yields the bytes of a file in which XMP packets and C2PA boxes can be found by searching.

    The file itself comes first, of a JPEG what lies before its scans and after its end: in most formats both lie there
    in one piece. What its format cuts up or packs follows, put together again. Damaged metadata is passed over.
    """
    if image_format == "jpeg":
        yield from _around_scans(data)
        yield from _jpeg(data)
        return
    yield data
    if image_format == "png":
        yield from _png(data)
    elif image_format == "gif" and (start := data.find(_GIF_C2PA)) >= 0:
        yield _gif_blocks(data, start + 14)


def _around_scans(data: bytes) -> Iterator[bytes]:
    scans = next((start for marker, start, _ in jpeg_segments(data) if marker == 0xDA), None)
    if scans is None:
        yield data
    else:
        yield data[:scans]
        yield data[data.rfind(b"\xff\xd9", scans) + 2 :]


def _jpeg(data: bytes) -> Iterator[bytes]:
    """JUMBF in APP11 (ISO 19566-5 annex D) and extended XMP in APP1, each cut into segments of at most 64 kB."""
    boxes: dict[bytes, list[tuple[int, bytes]]] = {}
    packets: dict[bytes, list[tuple[int, bytes]]] = {}
    for marker, start, end in jpeg_segments(data):
        if marker == 0xEB and data.startswith(b"JP", start) and end >= start + 16:
            number = int.from_bytes(data[start + 4 : start + 8], "big")
            header = 16 if data[start + 8 : start + 12] == b"\0\0\0\1" else 8
            first = not boxes.get(data[start + 2 : start + 4])
            payload = data[start + 8 + (0 if first else header) : end]
            boxes.setdefault(data[start + 2 : start + 4], []).append((number, payload))
        elif marker == 0xE1 and data.startswith(_EXTENDED_XMP, start):
            head = start + len(_EXTENDED_XMP)
            offset = int.from_bytes(data[head + 36 : head + 40], "big")
            packets.setdefault(data[head : head + 32], []).append((offset, data[head + 40 : end]))
    for pieces in (*boxes.values(), *packets.values()):
        if len(pieces) > 1:
            yield b"".join(piece for _, piece in sorted(pieces))


def _png(data: bytes) -> Iterator[bytes]:
    """Compressed text chunks (PNG third edition, sections 11.3.3.3 and 11.3.3.4), and hexadecimal raw profiles."""
    position = 8
    while position + 12 <= len(data):
        size, kind = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        body = data[position + 8 : position + 8 + size]
        position += 12 + size
        keyword, _, rest = body.partition(b"\0")
        text = b""
        if kind == b"zTXt":
            text = _inflated(rest[1:])
        elif kind == b"iTXt" and rest[:1] == b"\1":
            text = _inflated(rest[2:].partition(b"\0")[2].partition(b"\0")[2])
        elif kind == b"tEXt":
            text = rest
        if keyword.startswith(b"Raw profile type"):
            yield _from_hex(text)
        elif text and kind != b"tEXt":
            yield text


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, MAX_TEXT)
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    """Returns the bytes of ImageMagick's raw profile: a name, a length, then hexadecimal digits in lines."""
    digits = b"".join(text.split()[2:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _gif_blocks(data: bytes, position: int) -> bytes:
    """Returns what an application extension holds: blocks of at most 255 bytes, each after its length."""
    blocks = []
    while position < len(data) and data[position]:
        blocks.append(data[position + 1 : position + 1 + data[position]])
        position += 1 + data[position]
    return b"".join(blocks)
