"""best_caption: of several captions of an image, the one that a score likes best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pyarrow as pa

from x2i.annotate.base import PixelAnnotation, StoredImage, Verdict
from x2i.errors import UserError
from x2i.options import Option
from x2i.reasons import Dropped, Reason


@dataclass(frozen=True)
class BestCaption(PixelAnnotation):
    """Choose the best caption of every image among several columns, by a score of each.

    caption, source: of the chosen column. column: its name. score: its score. Of equal ones the column that is named
    first is chosen; a caption without a score only where no other has one.
    """

    name: ClassVar[str] = "best_caption"
    title: ClassVar[str] = "The best of several captions"
    fields: ClassVar[tuple[pa.Field, ...]] = (
        *(pa.field(name, pa.string()) for name in ("caption", "source", "column")),
        pa.field("score", pa.float32()),
    )
    kept: ClassVar[str] = "caption IS NOT NULL"

    captions: Annotated[tuple[str, ...], Option("A column of captions; may be repeated.")] = ("captions",)
    scores: Annotated[tuple[str, ...], Option("The column with its score, in the same order.")] = ("image_text",)

    @property
    def pixels(self) -> bool:
        return False

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.captions, *self.scores)

    def config(self) -> dict[str, Any]:
        if len(self.captions) != len(self.scores) or not self.captions:
            raise UserError(
                f"best_caption: expected a score for each column of captions, found captions {list(self.captions)} and "
                f"scores {list(self.scores)}"
            )
        return super().config()

    def facts(self, image: StoredImage) -> Verdict:
        """Returns the caption with the highest score."""
        found = [self._entry(image, *pair) for pair in zip(self.captions, self.scores, strict=True)]
        told = [entry for entry in found if entry["caption"]]
        return max(told, key=_rank) if told else Dropped(Reason.NO_CAPTION)

    def _entry(self, image: StoredImage, captions: str, scores: str) -> dict[str, Any]:
        words = {field: image.one(captions, field) for field in ("caption", "source")}
        return {**words, "column": captions, "score": image.one(scores, "score")}


def _rank(entry: dict[str, Any]) -> float:
    return float("-inf") if entry["score"] is None else float(entry["score"])
