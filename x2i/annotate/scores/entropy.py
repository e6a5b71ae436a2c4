"""Entropy: how much there is to see, judged by the tones alone."""

from __future__ import annotations

import pyarrow as pa

from x2i.annotate.scores.base import Picture
from x2i.image.quality import entropy


class Entropy:
    """entropy: of the luma histogram in bits, 0 (one tone) to 8; photographs lie above about 5."""

    fields = (pa.field("entropy", pa.float32()),)

    def score(self, picture: Picture) -> dict[str, float | int]:
        return {"entropy": entropy(picture.luma)}
