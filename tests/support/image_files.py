"""Image files of every kind, made from one real photograph."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import skimage.data
import tifffile
from PIL import Image


def photograph(width: int = 160, height: int = 120) -> Image.Image:
    """Returns a part of the astronaut's photograph as a Pillow image, mode RGB."""
    return Image.fromarray(skimage.data.astronaut()[:384]).resize((width, height))


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def tiled_tiff() -> bytes:
    """Returns a photograph of 64x48 pixels as a TIFF in tiles of 32x32."""
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.asarray(photograph(64, 48)), tile=(32, 32), compression="zlib", photometric="rgb")
    return stream.getvalue()


def oriented(format: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(photograph(), format, exif=exif)


def error(found: np.ndarray, expected: np.ndarray | Image.Image) -> float:
    """Returns the mean absolute difference of two pictures, in steps of 255."""
    wanted = np.asarray(expected)
    assert found.shape == wanted.shape, (found.shape, wanted.shape)
    return float(np.abs(found.astype(int) - wanted.astype(int)).mean())


def decibels(found: np.ndarray, expected: np.ndarray) -> float:
    """Returns the peak signal-to-noise ratio of two uint8 pictures of one size."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float(10 * np.log10(255**2 / max(1e-9, np.square(found.astype(float) - expected).mean())))


def gray_png(samples: np.ndarray, bits: int, transparent: int) -> bytes:
    """Returns gray samples (height, width) of 0 to 2**bits - 1 as a PNG, one of them transparent by a tRNS chunk."""
    height, width = samples.shape
    wide = np.unpackbits(samples.astype(">u2").view(np.uint8).reshape(height, width, 2), axis=2)
    rows = np.packbits(wide[..., 16 - bits :].reshape(height, -1), axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"tRNS", struct.pack(">H", transparent)), (b"IDAT", pixels), (b"IEND", b""))
    framed = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


_RED, _GREEN, _BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


def rgb_profile(name: str, gamma: float) -> bytes:
    """Returns an ICC profile (v2, matrix and curve; ICC.1:2001-04) with the primaries of sRGB."""
    return _rgb_profile(name, gamma, (_RED, _GREEN, _BLUE))


def swapped_profile() -> bytes:
    """Returns an ICC profile that is sRGB with red and blue changed round."""
    return _rgb_profile("swapped channels", 2.2, (_BLUE, _GREEN, _RED))


def gray_profile(gamma: float) -> bytes:
    """Returns an ICC profile of gray (v2, curve)."""
    return _profile("gray", b"GRAY", {b"kTRC": _curve(gamma)})


def _rgb_profile(name: str, gamma: float, primaries: Sequence[tuple[float, float, float]]) -> bytes:
    tags = {channel + b"XYZ": _xyz(*primary) for channel, primary in zip((b"r", b"g", b"b"), primaries)}
    return _profile(name, b"RGB ", tags | {channel + b"TRC": _curve(gamma) for channel in (b"r", b"g", b"b")})


def _profile(name: str, space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    text = name.encode() + b"\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78 + 3),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        **tags,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += tag + struct.pack(">II", offset + len(body), len(data))
        body += padded
    size = offset + len(body)
    header = struct.pack(">I", size) + bytes(4) + struct.pack(">I", 0x02100000) + b"mntr" + space + b"XYZ " + bytes(12)
    header += b"acsp" + bytes(28) + _xyz(0.9642, 1.0, 0.8249)[8:]
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def _curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, int(gamma * 256)) + bytes(2)


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(value * 65536) for value in (x, y, z)))
