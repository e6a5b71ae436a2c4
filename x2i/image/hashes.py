"""Identities of pictures: of the bytes (sha256) and of what is seen (a 64-bit perceptual hash)."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from x2i.errors import UserError

_SIDE = 32
_LOW = 8
_LEAST_STRUCTURE = 100.0
"""Of a DCT coefficient; a change of all pixels by one level moves the lowest by 4,096, noise of one level by 64."""
_COSINES = 2 * np.cos(np.pi / (2 * _SIDE) * np.outer(np.arange(_LOW), 2 * np.arange(_SIDE) + 1))
"""The first rows of the unnormalized DCT-II, shape (frequencies, pixels)."""


def sha256(data: bytes) -> str:
    """Returns the sha256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def phash(image: np.ndarray) -> int:
    """Returns the 64-bit perceptual hash of uint8 RGB (height, width, 3) or gray (height, width) pixels.

    Bit for bit the hash that Python's imagehash library calls phash, so that sums can be compared across tools: luma,
    shrunk to 32x32 by Lanczos, unnormalized DCT-II, the 8x8 lowest frequencies, each bit tells whether the coefficient
    is above their median. The most significant bit is the lowest frequency; a picture of one color hashes to 2**63.
    """
    from PIL import Image

    small = np.asarray(Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    # Rounding keeps the noise of exact ties, as in a flat picture, out of the bits: it differs between machines.
    low = np.round(_COSINES @ small.astype(np.float64) @ _COSINES.T, 4)
    middle = np.partition(low, (31, 32), axis=None)[31:33]
    return int.from_bytes(np.packbits(low > middle.mean()).tobytes(), "big")


def has_structure(image: np.ndarray) -> bool:
    """Returns whether the perceptual hash of uint8 RGB or gray pixels says something.

    The bits tell which frequencies are above the median. Of a smooth picture, such as a gradient, those near the median
    are so small that compression changes their order.
    """
    from PIL import Image

    small = np.asarray(Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))
    low = _COSINES @ small.astype(np.float64) @ _COSINES.T
    return float(np.median(np.abs(low - np.median(low)))) > _LEAST_STRUCTURE


def pdq(image: np.ndarray) -> str:
    """Returns the 256-bit PDQ hash of uint8 RGB (height, width, 3) or gray pixels as 64 hex digits.

    Davis and Rosen, "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (Facebook, 2019), as
    the package pdqhash computes it; the most significant digit comes first. Raises UserError if that is not installed.
    """
    return pdq_with_quality(image)[0]


def pdq_with_quality(image: np.ndarray) -> tuple[str, int]:
    """Returns the PDQ hash as `pdq` does, and its quality: 0 to 100, low for flat pictures. Raises as `pdq`."""
    bits, quality = require_pdq().compute(np.ascontiguousarray(image))
    return np.packbits(bits).tobytes().hex(), int(quality)


def require_pdq() -> Any:
    """Returns the package pdqhash. Raises UserError if it is not installed."""
    try:
        import pdqhash
    except ImportError as error:
        raise UserError("pdq: the package pdqhash is not installed. Run: pip install 'x2i[pdq]'") from error
    return pdqhash


def hamming(a: int, b: int) -> int:
    """Returns in how many of their bits two hashes differ: 0 to 64. Below about 6, two pictures look the same."""
    return (a ^ b).bit_count()
