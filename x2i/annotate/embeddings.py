"""embeddings: one unit vector per image; images that look alike have a large dot product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.annotate.vectors import VECTOR, stored, with_vectors_of
from x2i.models.abilities import ImageEmbedder
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.tables import TableSpec


@dataclass(frozen=True)
class Embeddings(ModelAnnotation):
    """Turn every image into a vector, so that images that look alike can be found.

    embedding: of length 1, a list of 16-bit floats that is as long as the model says.
    """

    name: ClassVar[str] = "embeddings"
    title: ClassVar[str] = "An embedding of every image"
    made_by: ClassVar[str] = "embed"
    version: ClassVar[int] = 2
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("embedding", VECTOR),)
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.IMAGE_EMBEDDER}

    model: Annotated[str, Option("The embedder. classic:hog-color needs no weights.")] = "classic:hog-color"

    def load(self) -> Annotator:
        return EmbeddingWriter(self.backends()["model"].load())

    def spec_of(self, annotator: EmbeddingWriter) -> TableSpec:
        return with_vectors_of(self.spec(), "embedding", annotator.embedder.dimensions)


class EmbeddingWriter:
    def __init__(self, embedder: ImageEmbedder) -> None:
        self.embedder = embedder

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        embeddings_ND = self.embedder.embed([image.pixels for image in images])
        return [{"embedding": stored(vector)} for vector in embeddings_ND]
