"""The composition family: two tasks in one. A subject and a condition, two damages, a restoration and an edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from x2i.errors import UserError
from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes import make_recipe
from x2i.recipes.base import Example, PairRecipe, Rendered, RgbImage, Source, Table
from x2i.recipes.conditions import CannyToImage
from x2i.recipes.edits.base import Edit
from x2i.recipes.restoration.base import Damaged, Restoration, one_of, psnr
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
            recipe = _restoration(name, self.name)
            damaged = recipe.damage(Source(pixels, source.maps), metadata, random)
            if isinstance(damaged, Dropped):
                return damaged
            pixels = damaged.pixels
            nouns.append(_noun(recipe, damaged))
            drawn.append({"recipe": name, "version": recipe.version, "parameters": dict(damaged.parameters)})
        return Damaged(pixels, {"damages": drawn}, {"damage": " and ".join(nouns)})


@dataclass(frozen=True)
class RestoreAndEdit(PairRecipe):
    """A damaged photograph in; out comes what an edit makes of the clean one. The words ask for both."""

    name = "restore_and_edit"
    title = "Damaged photograph and an edit to the clean, edited photograph"
    family = "composition"
    operation = "restoring and editing"
    shown_by_example = False  # what is to be done is only said in words
    mirrorable = True
    bytes_per_pixel = 0.8

    edit: Annotated[str, Option("The edit: any recipe of that family.")] = "relight"
    restorations: Annotated[tuple[str, ...], Option("Restorations of which the damage is.")] = (
        "remove_gaussian_noise",
        "remove_jpeg_artifacts",
        "remove_gaussian_blur",
        "remove_motion_blur",
        "remove_rain",
        "remove_snow",
        "remove_pixelation",
    )

    def edit_recipe(self) -> Edit:
        """Returns the edit's recipe. Raises UserError if it is none."""
        recipe = make_recipe(self.edit)
        if not isinstance(recipe, Edit):
            raise UserError(f"recipe {self.name}: {self.edit} is no edit")
        return recipe

    def config(self) -> Mapping[str, Any]:
        made = {name: make_recipe(name) for name in (self.edit, *self.restorations)}
        return {**super().config(), "made": {name: [one.version, one.config()] for name, one in made.items()}}

    def reads(self) -> tuple[Table, ...]:
        return self.edit_recipe().reads()

    def query(self, tables: frozenset[str]) -> str:
        return self.edit_recipe().query(tables)

    def requires(self) -> Mapping[str, str]:
        return self.edit_recipe().requires()

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        edit = self.edit_recipe()
        edited = edit.pair(source, metadata, random)
        if isinstance(edited, Dropped):
            return edited
        recipe = _restoration(one_of(self.restorations, random), self.name)
        damaged = recipe.damage(Source(edited.inputs[0], source.maps), metadata, random)
        if isinstance(damaged, Dropped):
            return damaged
        decibels = psnr(damaged.pixels, edited.inputs[0])
        if decibels > recipe.max_psnr:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"the damage does not show ({decibels:.1f} dB)")
        stamp = {"recipe": recipe.name, "version": recipe.version, "parameters": dict(damaged.parameters)}
        return Rendered(
            (damaged.pixels,),
            edited.output,
            {"damage": _noun(recipe, damaged), "request": edited.slots["request"]},
            {"edit": self.edit, **edited.parameters, "damage": stamp},
            {**edited.scores, "damage_psnr": round(decibels, 3)},
            edit.mirrorable and edited.mirrorable,
        )

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        return self.edit_recipe().example(photographs)


def _restoration(name: str, asking: str) -> Restoration:
    recipe = make_recipe(name)
    if not isinstance(recipe, Restoration):
        raise UserError(f"recipe {asking}: {name} is no restoration")
    return recipe


def _noun(recipe: Restoration, damaged: Damaged) -> str:
    return damaged.slots.get("damage") or recipe.damage_noun or "damage"
