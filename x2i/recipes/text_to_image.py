"""text_to_image: a caption in, the photograph out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from x2i.reasons import Dropped
from x2i.recipes.base import CAPTIONED_CANDIDATES, Picture, Recipe, Rendered, RgbImage, no_caption
from x2i.recipes.phrasings import choose
from x2i.recipes.phrasings.wording import caption_slots, clean
from x2i.sample import Task


class TextToImage(Recipe):
    """The only recipe without an input image."""

    name = "text_to_image"
    task = Task.TEXT_TO_IMAGE
    num_inputs = 0
    needs = ("captions",)
    requires = {"has_caption": "captions.caption IS NOT NULL"}

    def candidates(self, views: frozenset[str]) -> str:
        return CAPTIONED_CANDIDATES

    def render(
        self, key: str, images: Sequence[RgbImage], facts: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        if not clean(facts["caption"]):
            return no_caption(facts)
        return Rendered(choose(self.task, key, **caption_slots(facts["caption"])), (), Picture(images[0]))
