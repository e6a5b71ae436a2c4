"""text_to_image: a caption in, the photograph out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, Recipe, Rendered, RgbImage, Source, Table, captioned
from x2i.recipes.phrasings.wording import caption_slots, clean


@dataclass(frozen=True)
class TextToImage(Recipe):
    """A recipe without an input image."""

    name = "text_to_image"
    title = "Caption to photograph"
    family = "text_to_image"
    image_slots = ()
    mirrorable = True

    captions: Annotated[str, Option("Column of the captions.")] = "captions"

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.captions),)

    def requires(self) -> Mapping[str, str]:
        return {"has_caption": "candidate.caption IS NOT NULL"}

    def query(self, tables: frozenset[str]) -> str:
        return captioned(super().query(tables), self.captions, tables)

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        caption = metadata["caption"]
        if not clean(caption):
            return Dropped(Reason.NO_CAPTION, f"nothing is left of {caption!r}")
        return Rendered((), sources[0].pixels, caption_slots(caption))

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        return Example((Source(photographs[0]),), {"caption": "A thing in a place."})
