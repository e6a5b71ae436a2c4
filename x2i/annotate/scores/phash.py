"""Perceptual hash: what an image looks like in 64 bits, for near-duplicate search."""

from __future__ import annotations

import pyarrow as pa

from x2i.annotate.scores.base import Picture
from x2i.image.hashes import phash


class PerceptualHash:
    """phash: 64 bits; pictures that look the same differ in few of them."""

    fields = (pa.field("phash", pa.uint64()),)

    def score(self, picture: Picture) -> dict[str, float | int]:
        return {"phash": phash(picture.luma)}
