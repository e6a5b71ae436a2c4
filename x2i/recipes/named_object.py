"""Recipes about one named object: rows of found entities whose phrase fits no other object of their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, PairRecipe, RgbImage, Source, Table
from x2i.recipes.masks import Mask, entity_mask, example_entity
from x2i.recipes.phrasings.wording import clean


@dataclass(frozen=True)
class NamedObject(PairRecipe):
    """A recipe with a sample for each object that has a mask and a phrase of its own."""

    entities: Annotated[str, Option("Column of found entities with masks.")] = "entities"
    coverage: Annotated[
        tuple[float, float], Option("Share of the picture that the object covers; others are dropped.", ge=0, le=1)
    ] = (0.01, 0.4)

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.entities),)

    def requires(self) -> Mapping[str, str]:
        return {
            "has_phrase": "trim(coalesce(candidate.phrase, '')) <> ''",
            "has_mask": "coalesce(candidate.mask_counts, '') <> ''",
            "phrase_is_unique": "candidate.entities_of_phrase = 1",
        }

    def query(self, tables: frozenset[str]) -> str:
        """Returns every object, with how many objects of its image bear its phrase."""
        return f"""
            SELECT [images.key] AS keys, '-e' || entity AS suffix, entity, phrase, mask_size, mask_counts, score,
                   found.model, segmenter,
                   count(*) OVER (PARTITION BY found.key, lower(trim(phrase))) AS entities_of_phrase
            FROM "{self.entities}" AS found JOIN images ON images.key = found.key
        """

    def mask_of(self, source: Source, metadata: Mapping[str, Any]) -> Mask | Dropped:
        """Returns the mask_HW of the object; Dropped if it has no name, or is too small or too large."""
        if not clean(metadata["phrase"]):
            return Dropped(Reason.NO_ENTITY, f"nothing is left of the phrase {metadata['phrase']!r}")
        mask = entity_mask(metadata, *source.pixels.shape[:2])
        covered = float(mask.mean())
        if not self.coverage[0] <= covered <= self.coverage[1]:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the object covers {covered:.2%} of the picture")
        return mask

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        return Example((Source(photographs[0]),), {**example_entity(photographs[0]), "entities_of_phrase": 1})
