"""Write a score of your own and compute it for every image.

    python examples/own_score.py data

On the command line: PYTHONPATH=examples x2i filter data --score own_score:Saturation
"""

import sys
from dataclasses import dataclass
from typing import ClassVar

import pyarrow as pa

import x2i
from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict


@dataclass(frozen=True)
class Saturation(PixelAnnotation):
    """How far the colors of an image are from gray: 0 to 1."""

    name: ClassVar[str] = "saturation"
    title: ClassVar[str] = "Saturation, 0 (gray) to 1"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()),)

    def facts(self, image: StoredImage) -> Verdict:
        span = image.pixels.max(axis=2).astype(float) - image.pixels.min(axis=2)
        return {"score": float(span.mean() / 255)}


if __name__ == "__main__":
    dataset = x2i.Dataset.open(sys.argv[1])
    dataset.run("own_score:Saturation")
    print(dataset.query("SELECT key, score FROM saturation ORDER BY score DESC"))
