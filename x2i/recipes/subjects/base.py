"""What recipes of the subjects family share: rows of a relation, inputs cut from their images, and the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes.base import Recipe, Rendered, RgbImage, Source, Table
from x2i.recipes.phrasings.binding import bound
from x2i.recipes.phrasings.wording import caption_slots, definite

SCORES = ("similarity", "phash_distance", "inliers", "inlier_ratio", "yes_rate")


@dataclass(frozen=True)
class Subjects(Recipe):
    """A sample for each row with as many inputs as the recipe has; the words come from the target's caption.

    relation: one in the format of x2i.relate.subject_rows. kinds: of its rows, those that are used; () for all.
    """

    family = "subjects"
    kinds: ClassVar[tuple[str, ...]] = ()

    relation: Annotated[str, Option("Relation of the subjects.")] = ""
    captions: Annotated[str, Option("Column of the captions.")] = "captions"

    @property
    def num_subjects(self) -> int:
        """How many inputs a row has: every input of the sample shows a subject unless a recipe says otherwise."""
        return self.num_inputs

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.relation), Table(self.captions, optional=True))

    def query(self, tables: frozenset[str]) -> str:
        caption, join = "NULL::VARCHAR", ""
        if self.captions in tables:
            caption, join = "words.caption", f'LEFT JOIN "{self.captions}" AS words ON words.key = found.target'
        kinds = ", ".join(f"'{kind}'" for kind in self.kinds)
        of_kind = f"AND kind IN ({kinds})" if kinds else ""
        return f"""
            SELECT CASE WHEN list_distinct(inputs) = [target]
                         THEN inputs[:1] ELSE list_append(inputs, target) END AS keys,
                   CASE WHEN kind = 'geometry' THEN ''
                        ELSE '-' || kind[1] || array_to_string(entities, '-') END AS suffix,
                   {caption} AS caption, boxes, masks, sizes, phrases, entities, kind, {", ".join(SCORES)}, evidence
            FROM "{self.relation}" AS found {join}
            WHERE len(inputs) = {self.num_subjects} {of_kind}
        """

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        target = sources[-1].pixels
        of_inputs = list(sources[:-1]) or [sources[-1]] * self.num_inputs
        inputs: list[RgbImage] = []
        drawn: list[Mapping[str, Any]] = []
        for number, source in enumerate(of_inputs):
            shown = self.shown(source, number, metadata, random)
            if isinstance(shown, Dropped):
                return shown
            inputs.append(shown[0])
            drawn.append(shown[1])
        scores = {f"{self.relation}.{name}": metadata[name] for name in SCORES if metadata.get(name) is not None}
        parameters = {"kind": metadata["kind"], "phrases": list(metadata["phrases"]), "inputs": drawn}
        return Rendered(tuple(inputs), target, self.words(metadata), parameters, scores)

    def shown(
        self, source: Source, number: int, metadata: Mapping[str, Any], random: np.random.Generator
    ) -> tuple[RgbImage, Mapping[str, Any]] | Dropped:
        """Returns input `number` and what the parameters say about it: here the whole image."""
        return source.pixels, {}

    def words(self, metadata: Mapping[str, Any]) -> dict[str, str | None]:
        """Returns the slots: the forms of the caption, a phrase for each input, and the caption with bound phrases."""
        phrases = list(metadata["phrases"])
        caption = metadata.get("caption")
        names = {f"subject_{k}": definite(phrase) for k, phrase in enumerate(phrases, start=1) if phrase}
        missing = {f"subject_{k}": "the subject" for k in range(1, len(phrases) + 1) if f"subject_{k}" not in names}
        slots = caption_slots(caption)
        return {**slots, **names, **missing, "bound": bound(slots["caption"] or "", phrases)}
