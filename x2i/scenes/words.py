"""A scene in words: what a thing is called, how things stand to each other, and a caption for the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeVar

from x2i.scenes.scene import DIGITS, LETTERS, Scene, Thing
from x2i.seeding import stable_hash

T = TypeVar("T")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")
APART = 0.15
"""Things whose middles are so far apart, as a share of the side, stand left of or above each other."""
ONE = (
    "a {thing} {where}, on {ground}",
    "A {thing} {where} on a {ground} background.",
    "{ground} background, {thing} {where}",
    "On a {ground} background, a {thing} {where}.",
    "a {ground} picture with a {thing} {where}",
    "{thing} {where} on {ground}",
)
ALIKE = (
    "{count} {things} on {ground}",
    "On a {ground} background, {count} {things}.",
    "a {ground} picture with {count} {things}",
    "There are {count} {things} on a {ground} background.",
)
SEVERAL = (
    "{things}, on {ground}",
    "On a {ground} background: {things}.",
    "{count} things on a {ground} background: {things}",
    "a {ground} picture with {things}",
)
RELATED = ("{first} {relation} {second}, on {ground}", "On a {ground} background, {first} {relation} {second}.")
_AT: Mapping[str, str] = {"left": "on the left", "right": "on the right", "middle": "in the middle"}


@dataclass(frozen=True)
class Relation:
    """subject, object: numbers of things of a scene. relation: such as "left of"."""

    subject: int
    relation: str
    object: int


def name_of(thing: Thing) -> str:
    """Returns what tells a thing from the others of its scene: "red circle", "striped blue letter A"."""
    kind = thing.kind
    if not thing.cutout:
        kind = f"letter {kind}" if kind in LETTERS else f"number {kind}" if kind in DIGITS else kind
    return " ".join(part for part in (thing.texture, thing.color, kind) if part not in ("plain", ""))


def name_of_several(thing: Thing) -> str:
    """Returns the name of things that are all like this one: "red circles", "blue letters A"."""
    name = name_of(thing)
    if not thing.cutout and thing.kind in (*LETTERS, *DIGITS):
        return f"{name.removesuffix(f' {thing.kind}')}s {thing.kind}"
    return f"{name}es" if name.endswith(("s", "x", "ch", "sh")) else f"{name}s"


def are_alike(scene: Scene) -> bool:
    """Returns whether a scene is of several things of one name."""
    return len(scene.things) > 1 and len({name_of(thing) for thing in scene.things}) == 1


def where(place: str) -> str:
    """Returns "on the left", "at the top right" and so on for a place."""
    return _AT.get(place, f"at the {place}")


def an(name: str) -> str:
    """Returns a name with its indefinite article."""
    return _with_articles(f"a {name}")


def relations(scene: Scene) -> Iterator[Relation]:
    """Yields how each thing stands to each other: left of, right of, above, below."""
    for (number, thing), (other_number, other) in permutations(enumerate(scene.things), 2):
        for distance, before, after in (
            (other.x - thing.x, "left of", "right of"),
            (other.y - thing.y, "above", "below"),
        ):
            if abs(distance) >= APART:
                yield Relation(number, before if distance > 0 else after, other_number)


def text_of(scene: Scene) -> str:
    """Returns the letters and digits of a scene from left to right, "" if it has none."""
    glyphs = [thing for thing in scene.things if not thing.cutout and thing.kind in (*LETTERS, *DIGITS)]
    return "".join(thing.kind for thing in sorted(glyphs, key=lambda thing: thing.x))


def caption(scene: Scene) -> str:
    """Returns a caption that says color, kind and place of every thing, or how two stand, and the ground.

    Of things that are all alike it says how many there are.

    Which of several wordings is chosen by the hash of the scene.
    """
    lot = stable_hash("words", scene.to_json())
    ground = scene.ground if scene.texture == "plain" else f"{scene.texture} {scene.ground}"
    if len(scene.things) == 1:
        (thing,) = scene.things
        text = _chosen(ONE, lot).format(thing=name_of(thing), where=where(thing.place), ground=ground)
        return _with_articles(text)
    if are_alike(scene):
        count, things = NUMBERS[len(scene.things)], name_of_several(scene.things[0])
        return _with_articles(_chosen(ALIKE, lot).format(count=count, things=things, ground=ground))
    told = [found for found in relations(scene) if len(scene.things) == 2]
    if told and lot % 3 == 0:
        found = _chosen(told, lot // 3)
        first, second = (an(name_of(scene.things[number])) for number in (found.subject, found.object))
        text = _chosen(RELATED, lot // 7).format(first=first, relation=found.relation, second=second, ground=ground)
        return _with_articles(text)
    parts = [f"{an(name_of(thing))} {where(thing.place)}" for thing in scene.things]
    things = f"{', '.join(parts[:-1])} and {parts[-1]}"
    text = _chosen(SEVERAL, lot).format(things=things, ground=ground, count=NUMBERS[len(parts)])
    return _with_articles(text)


def brief(scene: Scene) -> dict[str, str]:
    """Returns the fewest words that say a scene: "red circle left", of several things by commas, and the ground.

    Of things that are all alike, how many: "three red circles".
    """
    ground = scene.ground if scene.texture == "plain" else f"{scene.texture} {scene.ground}"
    if are_alike(scene):
        return {"things": f"{NUMBERS[len(scene.things)]} {name_of_several(scene.things[0])}", "ground": ground}
    return {"things": ", ".join(f"{name_of(thing)} {thing.place}" for thing in scene.things), "ground": ground}


def _with_articles(text: str) -> str:
    """Returns a text with "an" for "a" before a vowel."""
    return re.sub(r"\b([aA]) (?=[aeiou])", r"\1n ", text)


def _chosen(items: Sequence[T], lot: int) -> T:
    return items[lot % len(items)]
