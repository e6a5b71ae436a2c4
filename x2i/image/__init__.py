"""Pixels: safe decoding, resizing, encoding, hashes and quality measures. Arrays are uint8 RGB (height, width, 3)."""

from x2i.image.decode import ImageHeader, decode, read_header
from x2i.image.encode import encode
from x2i.image.hashes import hamming, pdq, phash, sha256
from x2i.image.quality import clipped_share, contrast, entropy, exposure, luma, sharpness
from x2i.image.resize import ResizeMode, resize

__all__ = [
    "ImageHeader",
    "ResizeMode",
    "clipped_share",
    "contrast",
    "decode",
    "encode",
    "entropy",
    "exposure",
    "hamming",
    "luma",
    "pdq",
    "phash",
    "read_header",
    "resize",
    "sha256",
    "sharpness",
]
