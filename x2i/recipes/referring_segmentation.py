"""referring_segmentation: a photograph and a noun phrase in, the photograph with that object painted blue out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from x2i.reasons import Dropped, Reason
from x2i.recipes.base import OneInputRecipe, Pair, Picture, RgbImage
from x2i.recipes.masks import entity_mask
from x2i.recipes.phrasings.wording import clean, definite
from x2i.sample import Task

BLUE = (0, 0, 255)
MIN_COVERAGE, MAX_COVERAGE = 0.005, 0.8


class ReferringSegmentation(OneInputRecipe):
    """The object is covered by pure blue, so that the mask can be read back from a picture that a model made.

    A phrase that fits two entities of one image refers to neither; such entities are not selected.
    """

    name = "referring_segmentation"
    task = Task.REFERRING_SEGMENTATION
    operation = "painting the named object blue"
    needs = ("entities",)
    requires = {
        "has_phrase": "trim(coalesce(entities.phrase, '')) <> ''",
        "has_mask": "coalesce(entities.mask_counts, '') <> ''",
        "phrase_is_unique": """1 = (SELECT count(*) FROM entities AS other
            WHERE other.key = entities.key AND lower(trim(other.phrase)) = lower(trim(entities.phrase)))""",
    }
    rows = ("entities",)
    joins = "JOIN entities ON entities.key = candidate.image_key AND entities.entity = candidate.entity"
    bytes_per_pixel = 2.0

    def candidates(self, views: frozenset[str]) -> str:
        return """
            SELECT [images.key] AS keys, '-e' || found.entity AS suffix, found.entity,
                   json_object('phrase', found.phrase, 'mask_size', found.mask_size, 'mask_counts', found.mask_counts,
                               'score', found.score, 'model', found.model, 'segmenter', found.segmenter) AS facts
            FROM entities AS found JOIN images ON images.key = found.key
        """

    def pair(self, image: RgbImage, facts: Mapping[str, Any], random: np.random.Generator) -> Pair | Dropped:
        if not clean(facts["phrase"]):
            return Dropped(Reason.NO_ENTITY, f"nothing is left of the phrase {facts['phrase']!r}")
        mask = entity_mask(facts, *image.shape[:2])
        coverage = float(mask.mean())
        if not MIN_COVERAGE <= coverage <= MAX_COVERAGE:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the object covers {coverage:.2%} of the picture")
        painted = image.copy()
        painted[mask] = BLUE
        parameters = {"phrase": facts["phrase"], "rgb": list(BLUE), "coverage": round(coverage, 5)}
        parameters |= {"detector": facts["model"], "segmenter": facts["segmenter"]}
        scores = {} if facts["score"] is None else {"entities.score": facts["score"]}
        slots: dict[str, str | None] = {"phrase": definite(facts["phrase"])}
        return Pair(Picture(image), Picture(painted, lossless=True), parameters, scores, slots)
