"""canny_to_image: an edge map and a caption in, the photograph out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from x2i.reasons import Dropped
from x2i.recipes.base import CAPTIONED_CANDIDATES, OneInputRecipe, Pair, Picture, RgbImage, no_caption
from x2i.recipes.edges import draw_edges
from x2i.recipes.phrasings.wording import caption_slots, clean
from x2i.sample import Task


class CannyToImage(OneInputRecipe):
    """The edge map is the input, so it is stored without loss."""

    name = "canny_to_image"
    task = Task.CANNY_TO_IMAGE
    operation = "turning an edge map into a photo"
    needs = ("captions",)
    requires = {"has_caption": "captions.caption IS NOT NULL"}
    bytes_per_pixel = 0.6

    def candidates(self, views: frozenset[str]) -> str:
        return CAPTIONED_CANDIDATES

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        slots: dict[str, str | None] = {}
        if "caption" in facts:  # few_shot shows the operation without words about the picture
            if not clean(facts["caption"]):
                return no_caption(facts)
            slots = caption_slots(facts["caption"])
        drawn = draw_edges(image, random)
        if isinstance(drawn, Dropped):
            return drawn
        scores = {"edge_density": drawn.density}
        return Pair(Picture(drawn.edges, lossless=True), Picture(image), drawn.parameters, scores, slots)
