"""The subjects family. subject_pair: one photograph of a thing in, another photograph of the same thing out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.recipes.base import Example, Recipe, Rendered, RgbImage, Source, Table
from x2i.recipes.phrasings.wording import caption_slots

MEASURED = ("inliers", "inlier_ratio", "phash_distance")


@dataclass(frozen=True)
class SubjectPair(Recipe):
    """Every mined pair gives two samples, one per direction: each asks for the picture that its own caption describes.

    Both are wanted: from the whole to the detail and back are different tasks. The words come from the target's
    caption alone, if it has one; the subject itself is only pointed at ("the subject in IMG"), since nothing here
    knows its name. A pair that looks the same would teach copying; it is left out.
    """

    name = "subject_pair"
    title = "Photograph of a subject to another photograph of it"
    family = "subjects"
    mirrorable = True

    pairs: Annotated[str, Option("Relation of the pairs.")] = "subject_pairs"
    captions: Annotated[str, Option("Column of the captions.")] = "captions"
    min_distance: Annotated[
        int, Option("Bits of the 64-bit perceptual hash in which the two differ at least.", ge=0, le=64)
    ] = 9

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.pairs), Table(self.captions, optional=True))

    def requires(self) -> Mapping[str, str]:
        return {"not_near_duplicates": f"candidate.phash_distance >= {self.min_distance}"}

    def query(self, tables: frozenset[str]) -> str:
        words = "NULL::VARCHAR AS caption"
        join = ""
        if self.captions in tables:
            words, join = "words.caption AS caption", f'LEFT JOIN "{self.captions}" AS words ON words.key = pair.target'
        return f"""
            SELECT [pair.source, pair.target] AS keys, {words}, pair.inliers, pair.model, pair.inlier_ratio,
                   pair.phash_distance
            FROM (SELECT key_a AS source, key_b AS target, * FROM "{self.pairs}"
                  UNION ALL SELECT key_b AS source, key_a AS target, * FROM "{self.pairs}") AS pair {join}
        """

    def make(self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered:
        source, target = (source.pixels for source in sources)
        scores = {f"{self.pairs}.{name}": metadata[name] for name in MEASURED}
        slots = caption_slots(metadata["caption"])
        return Rendered((source,), target, slots, {"geometry": metadata["model"]}, scores)

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        measured = {"inliers": 40, "inlier_ratio": 0.5, "phash_distance": 20, "model": "homography"}
        sources = (Source(photographs[1]), Source(photographs[0]))
        return Example(sources, {"caption": "A thing in another place.", **measured})
