"""What a drawn scene is made of, and how one is drawn by lot: the same seed and number give the same scene."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

import numpy as np

from x2i.errors import UserError
from x2i.options import Option, as_config
from x2i.seeding import generator, stable_hash
from x2i.settings import build_settings, parse_yaml

VERSION = 1
"""To be raised by whoever changes what a seed and a number give."""
COLORS: Mapping[str, tuple[int, int, int]] = {
    "red": (215, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (245, 220, 50),
    "green": (40, 150, 60),
    "cyan": (60, 200, 215),
    "blue": (40, 70, 215),
    "purple": (135, 50, 185),
    "pink": (245, 135, 190),
}
GROUNDS: Mapping[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "gray": (128, 128, 128),
    "black": (15, 15, 15),
    "brown": (110, 75, 45),
}
SHAPES = ("circle", "square", "triangle", "diamond", "ring", "star", "cross")
LETTERS = tuple("ABCDEFGHKLMNPRSTUXYZ")
DIGITS = tuple("0123456789")
TEXTURES = ("striped", "checkered", "dotted")
PLACES: Mapping[str, tuple[float, float]] = {
    "left": (0.24, 0.5),
    "right": (0.76, 0.5),
    "top": (0.5, 0.24),
    "bottom": (0.5, 0.76),
    "middle": (0.5, 0.5),
    "top left": (0.25, 0.25),
    "top right": (0.75, 0.25),
    "bottom left": (0.25, 0.75),
    "bottom right": (0.75, 0.75),
}
"""Where a thing stands: (x, y) of its middle as shares of the picture's sides."""
SCHEME = "scenes:"
UNSEEN_OF = 6
"""One of so many pairs of a color and a kind of thing is left out where only `seen` pairs are drawn."""


class Pairs(StrEnum):
    """Which pairs of a color and a kind of thing are drawn."""

    ALL = "all"
    SEEN = "seen"
    UNSEEN = "unseen"


class Kinds(StrEnum):
    """Which kinds of things are drawn."""

    ALL = "all"
    SHAPES = "shapes"
    LETTERS = "letters"
    DIGITS = "digits"
    CUTOUTS = "cutouts"


@dataclass(frozen=True)
class SceneOptions:
    """What decides which scenes there are; written as a query: `scenes:2000?seed=1&size=64`."""

    seed: Annotated[int, Option("Another seed gives other scenes.")] = 0
    size: Annotated[int, Option("Side of a picture in pixels.", ge=16, le=2048)] = 256
    most: Annotated[int, Option("Things in one scene, at most.", ge=1, le=6)] = 3
    kinds: Annotated[Kinds, Option("Which kinds of things: shapes, letters, digits, cutouts alone, or all.")] = (
        Kinds.ALL
    )
    textures: Annotated[float, Option("Share of things, and of backgrounds, with a texture.", ge=0, le=1)] = 0.2
    pairs: Annotated[Pairs, Option("Pairs of color and kind: all, the seen five sixths, or the unseen sixth.")] = (
        Pairs.ALL
    )
    alike: Annotated[float, Option("Share of scenes whose things are all of one kind and color.", ge=0, le=1)] = 0.0
    cutouts: Annotated[
        str, Option("Folder of PNG files with transparency: kinds of things beside the others, named by their files.")
    ] = ""

    def to_query(self) -> str:
        """Returns what stands behind the question mark: every option, so that a default may change later.

        Those that came later are left out where they change nothing: scenes are seeded by this text.
        """
        config = as_config(self)
        return urlencode({name: value for name, value in config.items() if value or name not in ("alike", "cutouts")})


@dataclass(frozen=True)
class Thing:
    """kind: of SHAPES, LETTERS or DIGITS. color: of COLORS. texture: of TEXTURES, or "plain".

    place: of PLACES. x, y: its middle, and size: its diameter, as shares of the picture's side. cutout: path of the
    PNG that it is drawn from; its kind is the file's name then, and its color "".
    """

    kind: str
    color: str
    texture: str
    place: str
    x: float
    y: float
    size: float
    cutout: str = ""

    def put(self, place: str) -> Thing:
        """Returns the thing in the middle of another place."""
        x, y = PLACES[place]
        return replace(self, place=place, x=x, y=y)


@dataclass(frozen=True)
class Scene:
    """size: of the square picture in pixels. ground: of GROUNDS. texture: of the ground. things: the hindmost first."""

    size: int
    ground: str
    texture: str
    things: tuple[Thing, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the description as JSON values."""
        document: dict[str, Any] = json.loads(self.to_json())
        return document

    def to_json(self) -> str:
        document = asdict(self)
        for thing in document["things"]:
            if not thing["cutout"]:  # captions are chosen by the hash of this text
                del thing["cutout"]
        return json.dumps(document, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Scene:
        document = json.loads(text)
        return cls(**{**document, "things": tuple(Thing(**thing) for thing in document["things"])})


def draw_lots(options: SceneOptions, number: int) -> Scene:
    """Returns scene `number` of `options`. Things stand at different places, of different kinds or colors.

    Raises UserError if there are no cut-outs in the folder that the options name.
    """
    random = generator("scene", VERSION, options.to_query(), number)
    count = int(random.integers(1, options.most + 1))
    is_alike = options.alike > 0 and bool(random.uniform() < options.alike)
    cutouts = cutouts_in(options.cutouts) if options.cutouts else {}
    kinds = [*_kinds(options.kinds), *cutouts]
    if options.kinds is Kinds.CUTOUTS and not is_alike:
        count = min(count, len(kinds))
    places = random.permutation(list(PLACES) if count > 1 else list(PLACES)[:5])[:count].tolist()
    things: list[Thing] = []
    while len(things) < count:
        kind, color = str(random.choice(kinds)), str(random.choice(list(COLORS)))
        if kind in cutouts:
            color = ""
        if is_alike and things:
            kind, color = things[0].kind, things[0].color
        is_another = is_alike or not any(thing.kind == kind and thing.color == color for thing in things)
        if is_another and (kind in cutouts or are_drawn(options.pairs, kind, color)):
            thing = _thing(kind, color, places[len(things)], count, options, random)
            if is_alike and things:
                thing = replace(thing, texture=things[0].texture)
            if kind in cutouts:
                thing = replace(thing, texture="plain", cutout=cutouts[kind])
            things.append(thing)
    return Scene(options.size, str(random.choice(list(GROUNDS))), _texture(options, random), tuple(things))


@lru_cache(maxsize=16)
def cutouts_in(folder: str) -> dict[str, str]:
    """Returns the PNG files of a folder by what they show: the file's name, its underscores as spaces.

    Raises UserError if there is none.
    """
    found = {path.stem.replace("_", " ").lower(): str(path) for path in sorted(Path(folder).glob("*.png"))}
    if not found:
        raise UserError(f"scenes: cutouts={folder}: no PNG files there; expected one for each thing, such as cat.png")
    return found


def are_drawn(pairs: Pairs, kind: str, color: str) -> bool:
    """Returns whether things of this kind and color are among `pairs`."""
    is_unseen = stable_hash("pair", kind, color) % UNSEEN_OF == 0
    return pairs is Pairs.ALL or is_unseen == (pairs is Pairs.UNSEEN)


def _thing(kind: str, color: str, place: str, count: int, options: SceneOptions, random: np.random.Generator) -> Thing:
    x, y = np.array(PLACES[place]) + random.uniform(-0.03, 0.03, 2)
    size = random.uniform(0.34, 0.46) if count == 1 else random.uniform(0.26, 0.38)
    x, y, size = (round(float(share), 4) for share in (x, y, size))
    return Thing(kind, color, _texture(options, random), place, x, y, size)


def _texture(options: SceneOptions, random: np.random.Generator) -> str:
    textured, which = random.uniform() < options.textures, str(random.choice(TEXTURES))
    return which if textured else "plain"


def _kinds(kinds: Kinds) -> tuple[str, ...]:
    by_name = {Kinds.SHAPES: SHAPES, Kinds.LETTERS: LETTERS, Kinds.DIGITS: DIGITS, Kinds.CUTOUTS: ()}
    return by_name.get(kinds, (*SHAPES, *LETTERS, *DIGITS))


def parse_source(source: str) -> tuple[int, SceneOptions]:
    """Returns how many scenes, and which, `scenes:N?seed=...&size=...` names. Raises UserError."""
    count, _, query = source.removeprefix(SCHEME).partition("?")
    values = {name: parse_yaml(text, source) for name, text in parse_qsl(query, keep_blank_values=True)}
    options = build_settings(SceneOptions, values, f"source {source!r}")
    if not count.isascii() or not count.isdecimal() or not int(count):
        raise UserError(
            f"source {source!r}: expected how many scenes after the colon, as in scenes:2000?seed=1&size=64"
        )
    if options.kinds is Kinds.CUTOUTS and not options.cutouts:
        raise UserError(f"source {source!r}: kinds=cutouts needs their folder, as in &cutouts=pictures")
    return int(count), options


def scene_url(options: SceneOptions, number: int) -> str:
    """Returns the address of one scene, which says all that it is drawn from."""
    return f"{SCHEME}?{options.to_query()}#{number}"


def scene_at(url: str) -> Scene | None:
    """Returns the scene whose address is `url`; None if it is no scene's."""
    head, _, number = url.partition("#")
    if not head.startswith(f"{SCHEME}?") or not number.isdecimal():
        return None
    values: dict[str, Any] = {name: parse_yaml(text, url) for name, text in parse_qsl(head.removeprefix(f"{SCHEME}?"))}
    return draw_lots(build_settings(SceneOptions, values, url), int(number))
