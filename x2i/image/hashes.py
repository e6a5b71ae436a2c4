"""Identities of pictures: of the bytes (sha256) and of what is seen (a 64-bit perceptual hash)."""

from __future__ import annotations

import hashlib

import numpy as np

_SIDE = 32
_LOW = slice(0, 8)


def sha256(data: bytes) -> str:
    """Returns the sha256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def phash(image: np.ndarray) -> int:
    """Returns the 64-bit perceptual hash of uint8 RGB (height, width, 3) or grey (height, width) pixels.

    Bit for bit the hash that Python's imagehash library calls phash, so that sums can be compared across tools: luma,
    shrunk to 32x32 by Lanczos, unnormalised DCT-II, the 8x8 lowest frequencies, each bit tells whether the coefficient
    is above their median. The most significant bit is the lowest frequency; a picture of one colour hashes to 2**63.
    """
    import cv2
    from PIL import Image

    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    small = Image.fromarray(grey).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    spectrum = cv2.dct(np.asarray(small, np.float32))
    # OpenCV's DCT is orthonormal; the hash is defined on the unnormalised one, which weighs the zero frequencies more.
    spectrum[0] *= np.sqrt(2)
    spectrum[:, 0] *= np.sqrt(2)
    # Rounding keeps float noise of a flat picture, which differs between machines, out of the bits.
    low = np.round(spectrum[_LOW, _LOW], 2)
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hamming(a: int, b: int) -> int:
    """Returns in how many of their bits two hashes differ: 0 to 64. Below about 6, two pictures look the same."""
    return (a ^ b).bit_count()
