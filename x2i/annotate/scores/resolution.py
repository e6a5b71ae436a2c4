"""Resolution: how many pixels an image has."""

from __future__ import annotations

import pyarrow as pa

from x2i.annotate.scores.base import Picture


class Resolution:
    """min_side: the shorter side in pixels. megapixels: width times height in millions."""

    fields = (pa.field("min_side", pa.int32()), pa.field("megapixels", pa.float32()))

    def score(self, picture: Picture) -> dict[str, float | int]:
        height, width = picture.rgb.shape[:2]
        return {"min_side": min(height, width), "megapixels": height * width / 1e6}
