"""few_shot: one worked example of a task and a query in, the answer to the query out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Candidate, OneInputRecipe, Picture, Recipe, Rendered, RgbImage
from x2i.recipes.canny_to_image import CannyToImage
from x2i.recipes.colorize import Colorize
from x2i.recipes.deblur import Deblur
from x2i.recipes.denoise import Denoise
from x2i.recipes.image_to_canny import ImageToCanny
from x2i.recipes.inpaint import Inpaint
from x2i.recipes.phrasings import choose
from x2i.sample import Task, placeholder
from x2i.seeding import generator, stable_hash

DIFFERENT_BITS = 10
BASES: dict[str, OneInputRecipe] = {
    recipe.name: recipe for recipe in (CannyToImage(), ImageToCanny(), Deblur(), Denoise(), Inpaint(), Colorize())
}


class FewShot(Recipe):
    """Three inputs: the example's input, the example's output, the query. The example comes from another image.

    Example and query get the same draws, so the example shows just the operation that the query asks for. Every image
    is stored without loss: some bases need it, and readers of WebDataset want one set of members in a whole task.
    """

    name = "few_shot"
    task = Task.FEW_SHOT
    num_inputs = 3
    bytes_per_pixel = 2.6

    def candidates(self, views: frozenset[str]) -> str:
        return "SELECT [images.key] AS keys, '' AS suffix, json_object('phash', images.phash) AS facts FROM images"

    def arrange(self, selected: Sequence[Candidate]) -> list[Candidate | Dropped]:
        """Gives every query its example: the next image in hash order whose phash differs in DIFFERENT_BITS or more."""
        ring = sorted(selected, key=lambda candidate: (stable_hash(self.name, *candidate.keys), candidate.keys))
        place = {candidate.keys: number for number, candidate in enumerate(ring)}
        arranged: list[Candidate | Dropped] = []
        for query in selected:
            start = place[query.keys]
            others = (ring[(start + step) % len(ring)] for step in range(1, len(ring)))
            example = next((other for other in others if _different(query, other)), None)
            if example is None:
                arranged.append(Dropped(Reason.NOT_SELECTED, "no_example"))
            else:
                arranged.append(Candidate((*example.keys, *query.keys), facts={}))
        return arranged

    def render(
        self, key: str, images: Sequence[RgbImage], facts: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        base = BASES[list(BASES)[int(random.integers(len(BASES)))]]
        seed = int(random.integers(2**62))
        example, query = (base.pair(image, {}, generator(self.name, base.name, seed)) for image in images)
        if isinstance(example, Dropped):
            return Dropped(example.reason, f"as an example of {base.name}: {example.detail}")
        if isinstance(query, Dropped):
            return Dropped(query.reason, f"as a query of {base.name}: {query.detail}")
        instruction = choose(
            self.task,
            key,
            example_input=placeholder(1),
            example_output=placeholder(2),
            image=placeholder(3),
            operation=base.operation,
        )
        return Rendered(
            instruction,
            tuple(Picture(picture.pixels, lossless=True) for picture in (example.input, example.output, query.input)),
            Picture(query.output.pixels, lossless=True),
            {"base": base.name, "base_version": base.version, **query.parameters},
            query.scores,
        )


def _different(query: Candidate, other: Candidate) -> bool:
    return (query.facts["phash"] ^ other.facts["phash"]).bit_count() >= DIFFERENT_BITS
