"""`x2i caption`: gives every stored image a description, where there is one to give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer
from numpy.typing import NDArray

from pipelines.engine.options import DatasetArgument, RunOptions, stage_command
from pipelines.stages.annotate import AnnotateStage, Annotation
from x2i.models.abilities import PageText
from x2i.reasons import Reason


@dataclass(frozen=True)
class CaptionStage(AnnotateStage):
    """images -> columns/captions: one row per image, the caption null where there is nothing to say."""

    model: str = "alt-text"

    name = "caption"
    format_version = 1
    column = "captions"
    needs = ("text", "extra")

    def config(self) -> dict[str, Any]:
        return {"model": self.model}

    def annotator(self) -> CaptionAnnotator:
        return CaptionAnnotator(self.model)


class CaptionAnnotator:
    """One row per image; an image without a caption counts as dropped, for NO_CAPTION."""

    schema = pa.schema([(name, pa.string()) for name in ("key", "caption", "source", "model", "revision")])

    def __init__(self, model: str) -> None:
        from x2i.models import registry

        self._model, self._captioner = model, registry.captioner(model)
        self.needs_pixels = self._captioner.needs_pixels

    def annotate(
        self, rows: Sequence[Mapping[str, Any]], images: Sequence[NDArray[np.uint8] | None]
    ) -> list[Annotation]:
        texts = [page_text(row["text"], row["extra"]) for row in rows]
        stamp = {"model": self._model, "revision": self._captioner.revision}
        return [
            Annotation(({"caption": None, "source": None, **stamp},), Reason.NO_CAPTION)
            if caption is None
            else Annotation(({"caption": caption.text, "source": caption.source, **stamp},))
            for caption in self._captioner.caption(images, texts)
        ]


def page_text(alt: str, extra: str) -> PageText:
    """Returns what the image index says about an image: `extra` is a JSON object that may hold title and figcaption."""
    said = json.loads(extra)
    return PageText(alt, *(str(said.get(name) or "") for name in ("title", "figcaption")))


@stage_command
def command(
    dataset: DatasetArgument,
    model: Annotated[
        str, typer.Option(help="Which captioner. alt-text cleans the words that the web page has about the image.")
    ] = "alt-text",
    *,
    run: RunOptions,
) -> None:
    """Give every image a caption.

    With alt-text the caption is the page's own alt text, figcaption or title, cleaned; file names and boilerplate do
    not count. An image without usable words stays, with an empty caption, and is counted as no_caption.

    Example: x2i caption my-dataset --model alt-text
    """
    from pipelines.engine.run import run_stages
    from x2i.models import registry
    from x2i.store import Dataset

    registry.check(registry.Ability.CAPTIONER, model)
    run_stages([CaptionStage(model)], Dataset.open(dataset), run)
