"""The composition family: two tasks in one. A subject together with a condition, and two kinds of damage at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.errors import UserError
from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes import make_recipe
from x2i.recipes.base import Rendered, Source
from x2i.recipes.conditions import CannyToImage
from x2i.recipes.restoration.base import Damaged, Restoration, one_of
from x2i.recipes.subjects.entities import EntityToImage


@dataclass(frozen=True)
class EntityAndEdgesToImage(EntityToImage):
    """An object cut out of the photograph and the photograph's edges in, the photograph out."""

    name = "entity_and_edges_to_image"
    title = "An object and edges to the photograph with both"
    family = "composition"
    image_slots = ("image_1", "image_2")
    lossless = ("input_2",)

    @property
    def num_subjects(self) -> int:
        return 1

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        shown = self.shown(sources[-1], 0, metadata, random)
        if isinstance(shown, Dropped):
            return shown
        edges = CannyToImage().draw(sources[-1], metadata, random)
        if isinstance(edges, Dropped):
            return edges
        slots = {name: text for name, text in self.words(metadata).items() if name != "bound"}
        parameters = {"kind": metadata["kind"], "phrases": list(metadata["phrases"])}
        parameters |= {"inputs": [shown[1]], "edges": dict(edges.parameters)}
        return Rendered((shown[0], edges.pixels), sources[-1].pixels, slots, parameters, edges.scores)


@dataclass(frozen=True)
class RemoveTwoDamages(Restoration):
    """Two kinds of damage, one after the other, as they come about: light, weather, lens, sensor, file."""

    name = "remove_two_damages"
    title = "Photograph with two kinds of damage to clean photograph"
    family = "composition"
    operation = "removing two kinds of damage"

    scene: Annotated[tuple[str, ...], Option("Restorations of which the first damage is: weather and lens.")] = (
        "fix_white_balance",
        "remove_haze",
        "remove_snow",
        "remove_rain",
        "remove_gaussian_blur",
        "remove_motion_blur",
    )
    file: Annotated[tuple[str, ...], Option("Restorations of which the second damage is: sensor and file.")] = (
        "remove_gaussian_noise",
        "remove_poisson_noise",
        "remove_impulse_noise",
        "remove_jpeg_artifacts",
        "remove_webp_artifacts",
        "remove_watermark",
    )

    def damage(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Damaged | Dropped:
        pixels, nouns, drawn = source.pixels, [], []
        for name in (one_of(self.scene, random), one_of(self.file, random)):
            recipe = make_recipe(name)
            if not isinstance(recipe, Restoration):
                raise UserError(f"recipe {self.name}: {name} is no restoration")
            damaged = recipe.damage(Source(pixels, source.maps), metadata, random)
            if isinstance(damaged, Dropped):
                return damaged
            pixels = damaged.pixels
            nouns.append(damaged.slots.get("damage") or recipe.damage_noun or "damage")
            drawn.append({"recipe": name, "version": recipe.version, "parameters": dict(damaged.parameters)})
        return Damaged(pixels, {"damages": drawn}, {"damage": " and ".join(nouns)})
