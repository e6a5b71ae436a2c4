"""Aspect ratio: how wide an image is for its height."""

from __future__ import annotations

import pyarrow as pa

from x2i.annotate.scores.base import Picture


class Aspect:
    """aspect_ratio: width over height; 1 for a square, above 1 for landscape."""

    fields = (pa.field("aspect_ratio", pa.float32()),)

    def score(self, picture: Picture) -> dict[str, float | int]:
        height, width = picture.rgb.shape[:2]
        return {"aspect_ratio": width / height}
