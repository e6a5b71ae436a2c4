"""entity_embeddings: one unit vector per object; objects that look alike have a large dot product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa

from x2i.annotate.base import Annotator, Found, ModelAnnotation, StoredImage, Verdict
from x2i.annotate.vectors import VECTOR, stored, with_vectors_of
from x2i.models.abilities import ImageEmbedder, RgbImage
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.tables import TableSpec


@dataclass(frozen=True)
class EntityEmbeddings(ModelAnnotation):
    """Turn every object into a vector: its box, cut out of the image, is embedded like an image.

    entity: number of the object in the column of entities. embedding: of length 1, a list of 16-bit floats that is as
    long as the model says. Objects whose box is small have none.
    """

    name: ClassVar[str] = "entity_embeddings"
    title: ClassVar[str] = "An embedding of every object"
    rows: ClassVar[Any] = "many"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("entity", pa.int32()), pa.field("embedding", VECTOR))
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.IMAGE_EMBEDDER}

    model: Annotated[str, Option("The embedder. classic:hog-color needs no weights.")] = "classic:hog-color"
    entities: Annotated[str, Option("The column of entities.")] = "entities"
    margin: Annotated[float, Option("What is kept around a box, as a share of its sides.", ge=0, le=1)] = 0.1
    least_side: Annotated[int, Option("Boxes with a shorter side, in pixels, are left out.", ge=1)] = 32

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.entities,)

    def load(self) -> Annotator:
        return EntityEmbedder(self.backends()["model"].load(), self)

    def spec_of(self, annotator: EntityEmbedder) -> TableSpec:
        return with_vectors_of(self.spec(), "embedding", annotator.embedder.dimensions)


class EntityEmbedder:
    def __init__(self, embedder: ImageEmbedder, options: EntityEmbeddings) -> None:
        self.embedder, self._options = embedder, options

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        large = [[row for row in image.columns[self._options.entities] if self._is_large(row)] for image in images]
        crops = [self._crop(image.pixels, row) for image, rows in zip(images, large, strict=True) for row in rows]
        vectors: Iterator[Any] = iter(self.embedder.embed(crops) if crops else ())
        verdicts: list[Verdict] = []
        for rows in large:
            made = tuple({"entity": row["entity"], "embedding": stored(next(vectors))} for row in rows)
            verdicts.append(Found(made) if made else Dropped(Reason.NO_ENTITY))
        return verdicts

    def _is_large(self, row: Mapping[str, Any]) -> bool:
        return bool(min(row["x1"] - row["x0"], row["y1"] - row["y0"]) >= self._options.least_side)

    def _crop(self, image: RgbImage, row: Mapping[str, Any]) -> RgbImage:
        height, width = image.shape[:2]
        across, down = (round(self._options.margin * (row[f"{side}1"] - row[f"{side}0"])) for side in "xy")
        x0, y0 = max(0, row["x0"] - across), max(0, row["y0"] - down)
        x1, y1 = min(width, row["x1"] + across), min(height, row["y1"] + down)
        return np.ascontiguousarray(image[y0:y1, x0:x1])
