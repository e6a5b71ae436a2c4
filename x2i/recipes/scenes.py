"""The scenes family: words in and the drawn scene out; or a scene and a wish in, and the scene changed by just that."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np

from x2i.options import Option
from x2i.reasons import Dropped, Reason
from x2i.recipes.base import Example, PairRecipe, Rendered, RgbImage, Source, Table
from x2i.scenes.draw import draw
from x2i.scenes.scene import COLORS, GROUNDS, PLACES, SHAPES, Pairs, Scene, SceneOptions, Thing, are_drawn, draw_lots
from x2i.scenes.words import an, brief, name_of, where


@dataclass(frozen=True)
class SceneRecipe(PairRecipe):
    """Pictures are drawn again from the description in the column: exact, whatever the store made of them."""

    family = "scenes"
    shown_by_example = False  # what is wanted is only said in words
    bytes_per_pixel = 1.0

    scenes: Annotated[str, Option("Column with the descriptions of drawn scenes.")] = "scenes"

    def reads(self) -> tuple[Table, ...]:
        return (Table(self.scenes),)

    def requires(self) -> Mapping[str, str]:
        return {"is_drawn": "candidate.scene IS NOT NULL"}

    def query(self, tables: frozenset[str]) -> str:
        return f"""
            SELECT [images.key] AS keys, found.scene AS scene
            FROM "{self.scenes}" AS found JOIN images ON images.key = found.key
        """

    def scene(self, source: Source, metadata: Mapping[str, Any]) -> Scene:
        """Returns the scene at the size at which its picture is stored."""
        return replace(Scene.from_json(metadata["scene"]), size=source.pixels.shape[1])

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        side = max(photographs[0].shape[:2])
        scene = draw_lots(SceneOptions(seed=2, size=side, most=2), 0)
        return Example((Source(draw(scene).pixels),), {"scene": scene.to_json()})


@dataclass(frozen=True)
class DrawScene(SceneRecipe):
    """The scene from the fewest words that say it; text_to_image has fuller sentences."""

    name = "draw_scene"
    title = "Few words to a drawn scene"
    operation = "drawing the named things"
    image_slots = ()
    lossless = ("output",)

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        scene = self.scene(source, metadata)
        return Rendered((), draw(scene).pixels, brief(scene), {"scene": scene.to_dict()})


@dataclass(frozen=True)
class SceneEdit(SceneRecipe):
    """Input and output are drawn alike, so that they differ in nothing but what was asked for."""

    lossless = ("input_1", "output")

    pairs: Annotated[Pairs, Option("Pairs of color and kind that an edit may bring in: all, seen or unseen.")] = (
        Pairs.ALL
    )

    def pair(self, source: Source, metadata: Mapping[str, Any], random: np.random.Generator) -> Rendered | Dropped:
        scene = self.scene(source, metadata)
        edit = self.edit(scene, random)
        if edit is None:
            return Dropped(Reason.UNSUITABLE_IMAGE, f"none of {len(scene.things)} things can be so changed")
        after, words = edit
        before, changed = draw(scene), draw(after)
        return Rendered((before.pixels,), changed.pixels, words, {"before": scene.to_dict(), "after": after.to_dict()})

    @abstractmethod
    def edit(self, scene: Scene, random: np.random.Generator) -> tuple[Scene, Mapping[str, str]] | None:
        """Returns the changed scene and the slots that say how it was changed; None if it cannot be."""

    def named(self, scene: Scene) -> list[int]:
        """Returns the numbers of the things whose names no other thing has."""
        names = [name_of(thing) for thing in scene.things]
        return [number for number, name in enumerate(names) if names.count(name) == 1]

    def another_color(self, thing: Thing, random: np.random.Generator) -> str | None:
        """Returns a color that the thing does not have; None where no pair is left."""
        colors = [color for color in COLORS if color != thing.color and are_drawn(self.pairs, thing.kind, color)]
        return str(random.choice(colors)) if colors else None


@dataclass(frozen=True)
class RecolorThing(SceneEdit):
    """One thing takes another color."""

    name = "recolor_thing"
    title = "Drawn scene to the scene with one thing in another color"
    operation = "recoloring the named thing"

    def edit(self, scene: Scene, random: np.random.Generator) -> tuple[Scene, Mapping[str, str]] | None:
        named = [number for number in self.named(scene) if not scene.things[number].cutout]
        if not named:
            return None
        number = named[int(random.integers(len(named)))]
        thing = scene.things[number]
        color = self.another_color(thing, random)
        if color is None:
            return None
        changed = (*scene.things[:number], replace(thing, color=color), *scene.things[number + 1 :])
        return replace(scene, things=changed), {"thing": name_of(thing), "color": color}


@dataclass(frozen=True)
class RemoveThing(SceneEdit):
    """One thing is gone."""

    name = "remove_thing"
    title = "Drawn scene to the scene without one thing"
    operation = "removing the named thing"

    def edit(self, scene: Scene, random: np.random.Generator) -> tuple[Scene, Mapping[str, str]] | None:
        named = self.named(scene)
        if not named:
            return None
        number = named[int(random.integers(len(named)))]
        rest = scene.things[:number] + scene.things[number + 1 :]
        return replace(scene, things=rest), {"thing": name_of(scene.things[number])}


@dataclass(frozen=True)
class AddThing(SceneEdit):
    """A further thing stands at a place that was free."""

    name = "add_thing"
    title = "Drawn scene to the scene with one thing more"
    operation = "adding the named thing"

    def edit(self, scene: Scene, random: np.random.Generator) -> tuple[Scene, Mapping[str, str]] | None:
        free = _free_places(scene)
        kinds = [kind for kind in SHAPES if kind not in {thing.kind for thing in scene.things}]
        if not free or not kinds:
            return None
        kind, place = str(random.choice(kinds)), str(random.choice(free))
        colors = [color for color in COLORS if are_drawn(self.pairs, kind, color)]
        if not colors:
            return None
        thing = Thing(kind, str(random.choice(colors)), "plain", place, *PLACES[place], 0.3)
        return replace(scene, things=(*scene.things, thing)), {"thing": an(name_of(thing)), "place": where(place)}


@dataclass(frozen=True)
class MoveThing(SceneEdit):
    """One thing stands at another place, before the others."""

    name = "move_thing"
    title = "Drawn scene to the scene with one thing elsewhere"
    operation = "moving the named thing"

    def edit(self, scene: Scene, random: np.random.Generator) -> tuple[Scene, Mapping[str, str]] | None:
        free, named = _free_places(scene), self.named(scene)
        if not free or not named:
            return None
        number, place = named[int(random.integers(len(named)))], str(random.choice(free))
        thing, rest = scene.things[number], scene.things[:number] + scene.things[number + 1 :]
        return replace(scene, things=(*rest, thing.put(place))), {"thing": name_of(thing), "place": place}


@dataclass(frozen=True)
class ChangeGround(SceneEdit):
    """The background takes another color."""

    name = "change_ground"
    title = "Drawn scene to the scene on another background"
    operation = "changing the background"

    def edit(self, scene: Scene, random: np.random.Generator) -> tuple[Scene, Mapping[str, str]] | None:
        ground = str(random.choice([name for name in GROUNDS if name != scene.ground]))
        return replace(scene, ground=ground), {"ground": ground}


def _free_places(scene: Scene) -> list[str]:
    """Returns the places at which a thing would cover no other one's middle."""
    return [
        name
        for name, (x, y) in PLACES.items()
        if all(np.hypot(thing.x - x, thing.y - y) > 0.3 for thing in scene.things)
    ]
