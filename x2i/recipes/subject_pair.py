"""subject_pair: one photograph of a thing and the caption of another in, that other photograph out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from x2i.reasons import Dropped
from x2i.recipes.base import Picture, Recipe, Rendered, RgbImage, no_caption
from x2i.recipes.phrasings import choose
from x2i.recipes.phrasings.wording import caption_slots, clean
from x2i.sample import Task, placeholder

NEAR_DUPLICATE_BITS = 8


class SubjectPair(Recipe):
    """Every mined pair gives two samples, one per direction: each asks for the picture that its own caption describes.

    Both are wanted: from the whole to the detail and back are different tasks. The words come from the target's
    caption alone; the subject itself is only pointed at ("the subject in IMG"), since nothing here knows its name.
    A pair whose perceptual hashes differ in NEAR_DUPLICATE_BITS bits or fewer would teach copying; it is left out.
    """

    name = "subject_pair"
    task = Task.SUBJECT_PAIR
    num_inputs = 1
    needs = ("subject_pairs", "captions")
    requires = {
        "target_has_caption": "candidate.image_key <> candidate.target OR captions.caption IS NOT NULL",
        "not_near_duplicates": f"subject_pairs.phash_distance > {NEAR_DUPLICATE_BITS}",
    }
    rows = ("subject_pairs",)
    joins = "JOIN subject_pairs ON subject_pairs.key_a = candidate.key_a AND subject_pairs.key_b = candidate.key_b"

    def candidates(self, views: frozenset[str]) -> str:
        return """
            SELECT [pair.source, pair.target] AS keys, '' AS suffix, pair.key_a, pair.key_b, pair.target,
                   json_object('caption', captions.caption, 'inliers', pair.inliers, 'model', pair.model,
                               'inlier_ratio', pair.inlier_ratio, 'phash_distance', pair.phash_distance) AS facts
            FROM (SELECT key_a AS source, key_b AS target, * FROM subject_pairs
                  UNION ALL SELECT key_b AS source, key_a AS target, * FROM subject_pairs) AS pair
            LEFT JOIN captions ON captions.key = pair.target
        """

    def render(
        self, key: str, images: Sequence[RgbImage], facts: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        if not clean(facts["caption"]):
            return no_caption(facts)
        source, target = images
        return Rendered(
            choose(self.task, key, image=placeholder(1), **caption_slots(facts["caption"])),
            (Picture(source),),
            Picture(target),
            {"geometry": facts["model"]},
            {f"subject_pairs.{name}": facts[name] for name in ("inliers", "inlier_ratio", "phash_distance")},
        )
