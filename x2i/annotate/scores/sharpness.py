"""Sharpness: whether an image is in focus."""

from __future__ import annotations

import pyarrow as pa

from x2i.annotate.scores.base import Picture
from x2i.image.quality import sharpness


class Sharpness:
    """sharpness: variance of the Laplacian of luma at a longest side of at most 512 px; below about 50 looks soft."""

    fields = (pa.field("sharpness", pa.float32()),)

    def score(self, picture: Picture) -> dict[str, float | int]:
        return {"sharpness": sharpness(picture.luma)}
