"""face_area: how many faces every image shows, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.options import Option


@dataclass(frozen=True)
class FaceArea(PixelAnnotation):
    """score: share of the image's area that its faces cover, boxes added up, at most 1. faces: how many there are.

    largest: share of the area of the largest one, 0 without faces: a portrait has 0.1 and more. largest_side: the
    shorter side of its box in pixels; below about 64, a face says little about who it is. It reads the column `faces`,
    no pixels.
    """

    name: ClassVar[str] = "face_area"
    title: ClassVar[str] = "How many faces, and their share of the image, 0 to 1"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        pa.field("score", pa.float32()),
        pa.field("faces", pa.int32()),
        pa.field("largest", pa.float32()),
        pa.field("largest_side", pa.int32()),
    )

    found: Annotated[str, Option("The column of faces.")] = "faces"
    min_score: Annotated[float, Option("Faces of a lower score do not count.", ge=0, le=1)] = 0.8

    @property
    def pixels(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.found,)

    def facts(self, image: StoredImage) -> Verdict:
        faces = [face for face in image.columns[self.found] if face["score"] >= self.min_score]
        largest = max(faces, key=lambda face: face["share"], default=None)
        return {
            "score": min(1.0, sum(face["share"] for face in faces)),
            "faces": len(faces),
            "largest": largest["share"] if largest else 0.0,
            "largest_side": min(largest["x1"] - largest["x0"], largest["y1"] - largest["y0"]) if largest else 0,
        }
