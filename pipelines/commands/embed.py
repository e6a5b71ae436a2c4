"""`x2i embed`: turns every stored image into a vector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray

from pipelines.engine.options import DatasetArgument, RunOptions, stage_command
from pipelines.stages.annotate import AnnotateStage, Annotation


@dataclass(frozen=True)
class EmbedStage(AnnotateStage):
    """images -> columns/embeddings-<model>: one L2-normalized vector per image."""

    model: str = "classic:hog-color"

    name = "embed"
    format_version = 1

    @property
    def column(self) -> str:
        return embedding_column(self.model)

    def config(self) -> dict[str, Any]:
        return {"model": self.model}

    def annotator(self) -> EmbeddingAnnotator:
        return EmbeddingAnnotator(self.model)


class EmbeddingAnnotator:
    """One row per image: its embedding."""

    schema = pa.schema([("key", pa.string()), ("embedding", pa.list_(pa.float32())), ("model", pa.string())])
    needs_pixels = True

    def __init__(self, model: str) -> None:
        from x2i.models import registry

        self._model, self._embedder = model, registry.image_embedder(model)

    def annotate(
        self, rows: Sequence[Mapping[str, Any]], images: Sequence[NDArray[np.uint8] | None]
    ) -> list[Annotation]:
        embeddings_ND = self._embedder.embed([image for image in images if image is not None])
        return [Annotation(({"embedding": vector, "model": self._model},)) for vector in embeddings_ND]


def embedding_column(model: str) -> str:
    """Returns the name of the column that holds the embeddings of `model`. Raises UserError for an unknown model."""
    from x2i.models import registry

    return f"embeddings-{registry.check(registry.Ability.IMAGE_EMBEDDER, model).column_suffix}"


@stage_command
def command(
    dataset: DatasetArgument,
    model: Annotated[
        str, typer.Option(help="Which embedder, as family:model. classic:hog-color needs no weights.")
    ] = "classic:hog-color",
    *,
    run: RunOptions,
) -> None:
    """Turn every image into a vector, so that images that look alike can be found.

    The vectors become the column `embeddings-<model>`, one unit vector per image; `x2i subjects` looks among the
    nearest ones for images of the same thing.

    Example: x2i embed my-dataset --model classic:hog-color
    """
    from pipelines.engine.run import run_stages
    from x2i.store import Dataset

    embedding_column(model)
    run_stages([EmbedStage(model)], Dataset.open(dataset), run)
