"""Image files of every kind, made from one real photograph."""

from __future__ import annotations

import io
import struct
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


def swapped_profile() -> bytes:
    """Returns an ICC profile (v2, matrix and curve; ICC.1:2001-04) that is sRGB with red and blue changed round."""
    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, int(2.2 * 256)) + bytes(2)
    text = b"swapped channels\0"
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78 + 3),
        b"cprt": b"text" + bytes(4) + b"CC0\0",
        b"wtpt": _xyz(0.9642, 1.0, 0.8249),
        b"rXYZ": _xyz(*blue),
        b"gXYZ": _xyz(*green),
        b"bXYZ": _xyz(*red),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += padded
    size = offset + len(body)
    header = struct.pack(">I", size) + bytes(4) + struct.pack(">I", 0x02100000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    header += bytes(28) + _xyz(0.9642, 1.0, 0.8249)[8:]
    return header + bytes(128 - len(header)) + struct.pack(">I", len(tags)) + table + body


def _xyz(x: float, y: float, z: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(value * 65536) for value in (x, y, z)))
