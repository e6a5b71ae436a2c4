"""Exposure: how bright an image is, how far its tones spread, how much of it is burnt out or drowned."""

from __future__ import annotations

import pyarrow as pa

from x2i.annotate.scores.base import Picture
from x2i.image.quality import clipped_share, contrast, exposure


class Exposure:
    """exposure: mean luma, 0 to 1. contrast: its standard deviation, 0 to 0.5. clipped: share of pixels at 0 or 255."""

    fields = tuple(pa.field(name, pa.float32()) for name in ("exposure", "contrast", "clipped"))

    def score(self, picture: Picture) -> dict[str, float | int]:
        gray = picture.luma
        return {"exposure": exposure(gray), "contrast": contrast(gray), "clipped": clipped_share(gray)}
