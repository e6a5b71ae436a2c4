"""quality: resolution, aspect ratio, sharpness, exposure, entropy and perceptual hash of every image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.image import phash
from x2i.image.quality import clipped_share, contrast, entropy, exposure, luma, sharpness


@dataclass(frozen=True)
class Quality(PixelAnnotation):
    """min_side: pixels. aspect_ratio: width / height. sharpness: variance of the Laplacian of luma at a
    longest side of at most 512 px; below about 50 looks soft. exposure: mean luma, 0 to 1. contrast: its standard
    deviation, 0 to 0.5. clipped: share of pixels at 0 or 255. entropy: of the luma histogram, 0 to 8 bits.
    phash: 64-bit perceptual hash.
    """

    name: ClassVar[str] = "quality"
    title: ClassVar[str] = "Resolution, aspect ratio, sharpness, exposure, contrast, entropy, perceptual hash"
    made_by: ClassVar[str] = "filter"
    by_default: ClassVar[bool] = True
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("min_side", pa.int32()),
        *(pa.field(name, pa.float32()) for name in ("megapixels", "aspect_ratio", "sharpness", "exposure")),
        *(pa.field(name, pa.float32()) for name in ("contrast", "clipped", "entropy")),
        pa.field("phash", pa.uint64()),
    )

    def facts(self, image: StoredImage) -> Verdict:
        height, width = image.pixels.shape[:2]
        gray_HW = luma(image.pixels)
        return {
            "min_side": min(width, height),
            "megapixels": width * height / 1e6,
            "aspect_ratio": width / height,
            "sharpness": sharpness(gray_HW),
            "exposure": exposure(gray_HW),
            "contrast": contrast(gray_HW),
            "clipped": clipped_share(gray_HW),
            "entropy": entropy(gray_HW),
            "phash": phash(gray_HW),
        }
