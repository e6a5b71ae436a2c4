"""image_text: how well the words beside an image describe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import pyarrow as pa

from x2i.annotate.base import Annotator, ModelAnnotation, StoredImage, Verdict
from x2i.models.abilities import ImageTextScorer
from x2i.models.registry import Ability
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class ImageText(ModelAnnotation):
    """Score how well the words beside an image describe it: the cosine of their embeddings, -1 to 1.

    With CLIP models 0.28 and more means a good match (LAION-400M kept 0.3 and more).
    """

    name: ClassVar[str] = "image_text"
    title: ClassVar[str] = "Similarity of every image and its text"
    made_by: ClassVar[str] = "filter"
    fields: ClassVar[tuple[pa.Field, ...]] = (pa.field("score", pa.float32()),)
    kept: ClassVar[str] = "score IS NOT NULL"
    image_fields: ClassVar[tuple[str, ...]] = ("text",)
    uses: ClassVar[Mapping[str, Ability]] = {"model": Ability.IMAGE_TEXT_SCORER}

    model: Annotated[str, Option("The scorer: open_clip:ARCHITECTURE/WEIGHTS.")] = "open_clip:ViT-B-32/openai"
    text: Annotated[str, Option("Which words: `text` of the crawl, or the column that holds the captions.")] = "text"

    @property
    def columns(self) -> tuple[str, ...]:
        return () if self.text == "text" else (self.text,)

    def load(self) -> Annotator:
        return TextScorer(self.backends()["model"].load(), self.text)


class TextScorer:
    def __init__(self, scorer: ImageTextScorer, column: str) -> None:
        self._scorer, self._column = scorer, column

    def annotate(self, images: Sequence[StoredImage]) -> list[Verdict]:
        texts = [self._text(image) for image in images]
        told = [(image.pixels, text) for image, text in zip(images, texts) if text]
        scores = iter(self._scorer.score(*zip(*told))) if told else iter(())
        return [{"score": float(next(scores))} if text else Dropped(Reason.NO_CAPTION) for text in texts]

    def _text(self, image: StoredImage) -> str | None:
        found = image.row["text"] if self._column == "text" else image.one(self._column, "caption")
        return found or None
