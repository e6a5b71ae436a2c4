"""Which backends exist: a plain table from (ability, family) to a loader, and honest errors for all the rest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from x2i.errors import UserError
from x2i.models.abilities import (
    Captioner,
    Detector,
    EdgeDetector,
    ImageEmbedder,
    Inpainter,
    InstanceMatcher,
    Segmenter,
)

NAME_PATTERN = re.compile(r"(?P<family>[a-z0-9_-]+)(:(?P<model>[^@\s]+)(@(?P<revision>[^@\s]+))?)?")


class Ability(StrEnum):
    """What a model can do for this project. The table below says which abilities have a backend."""

    IMAGE_TEXT_SCORER = "image-text scorer"
    IMAGE_EMBEDDER = "image embedder"
    CAPTIONER = "captioner"
    DETECTOR = "detector"
    SEGMENTER = "segmenter"
    FACE_VERIFIER = "face verifier"
    INSTANCE_MATCHER = "instance matcher"
    JUDGE = "judge"
    DEPTH_ESTIMATOR = "depth estimator"
    POSE_ESTIMATOR = "pose estimator"
    EDGE_DETECTOR = "edge detector"
    TEXT_DETECTOR = "text detector"
    INPAINTER = "inpainter"
    REPAINTER = "repainter"


@dataclass(frozen=True)
class ModelName:
    """A backend as written in a flag or manifest: `family:model[@revision]`, or a family of one model by its name."""

    family: str
    model: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Reads a name. Raises UserError if it does not have the form."""
        found = NAME_PATTERN.fullmatch(text)
        if found is None:
            raise UserError(f"model name {text!r}: expected family:model[@revision], such as classic:hog-color")
        return cls(found["family"], found["model"] or "", found["revision"] or "")

    def __str__(self) -> str:
        return self.family + (f":{self.model}" if self.model else "") + (f"@{self.revision}" if self.revision else "")

    @property
    def column_suffix(self) -> str:
        """The model as part of a column's name: lower case, [a-z0-9-] only."""
        return re.sub(r"[^a-z0-9]+", "-", (self.model or self.family).lower()).strip("-")


@dataclass(frozen=True)
class Backend:
    """One row of the table. models: the names the family has for this ability; a loader gets the parsed name."""

    models: tuple[str, ...]
    load: Callable[[ModelName], Any]


def _hog_color(_: ModelName) -> ImageEmbedder:
    from x2i.models.classic.hog_color import HogColor

    return HogColor()


def _alt_text(_: ModelName) -> Captioner:
    from x2i.models.classic.alt_text import AltText

    return AltText()


def _saliency(_: ModelName) -> Detector:
    from x2i.models.classic.saliency import Saliency

    return Saliency()


def _grabcut(_: ModelName) -> Segmenter:
    from x2i.models.classic.grabcut import GrabCut

    return GrabCut()


def _sift(_: ModelName) -> InstanceMatcher:
    from x2i.models.classic.sift import Sift

    return Sift()


def _canny(_: ModelName) -> EdgeDetector:
    from x2i.models.classic.canny import Canny

    return Canny()


def _telea(_: ModelName) -> Inpainter:
    from x2i.models.classic.telea import Telea

    return Telea()


BACKENDS: dict[tuple[Ability, str], Backend] = {
    (Ability.IMAGE_EMBEDDER, "classic"): Backend(("hog-color",), _hog_color),
    (Ability.CAPTIONER, "alt-text"): Backend(("",), _alt_text),
    (Ability.DETECTOR, "classic"): Backend(("saliency",), _saliency),
    (Ability.SEGMENTER, "classic"): Backend(("grabcut",), _grabcut),
    (Ability.INSTANCE_MATCHER, "classic"): Backend(("sift",), _sift),
    (Ability.EDGE_DETECTOR, "classic"): Backend(("canny",), _canny),
    (Ability.INPAINTER, "classic"): Backend(("telea",), _telea),
}


def available(ability: Ability) -> list[str]:
    """Returns the backend names of `ability`; an empty list means that this version has none."""
    rows = [(family, row) for (held, family), row in BACKENDS.items() if held is ability]
    return sorted(str(ModelName(family, model)) for family, row in rows for model in row.models)


def check(ability: Ability, text: str) -> ModelName:
    """Returns the parsed name if a backend can load it, without loading it. Raises UserError naming what exists."""
    name = ModelName.parse(text)
    names = available(ability)
    if not names:
        raise UserError(f"{ability} {text!r}: this version has no backend for that ability")
    row = BACKENDS.get((ability, name.family))
    exist = f"available: {', '.join(names)}"
    if row is None:
        nearest = difflib.get_close_matches(text, names, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise UserError(f"family {name.family!r} for {ability} is not in this version; {exist}{hint}")
    if name.model not in row.models:
        nearest = difflib.get_close_matches(text, names, n=1, cutoff=0.0)
        raise UserError(f"{ability} {text!r} does not exist; {exist}; did you mean {nearest[0]}?")
    if name.revision:
        raise UserError(f"{ability} {text!r}: {name.family} has no revisions; write {text.partition('@')[0]}")
    return name


def image_embedder(name: str) -> ImageEmbedder:
    """Loads the embedder called `name`. Raises UserError if there is none of that name; so do its siblings below."""
    return _load(Ability.IMAGE_EMBEDDER, name)


def captioner(name: str) -> Captioner:
    return _load(Ability.CAPTIONER, name)


def detector(name: str) -> Detector:
    return _load(Ability.DETECTOR, name)


def segmenter(name: str) -> Segmenter:
    return _load(Ability.SEGMENTER, name)


def instance_matcher(name: str) -> InstanceMatcher:
    return _load(Ability.INSTANCE_MATCHER, name)


def edge_detector(name: str) -> EdgeDetector:
    return _load(Ability.EDGE_DETECTOR, name)


def inpainter(name: str) -> Inpainter:
    return _load(Ability.INPAINTER, name)


def _load(ability: Ability, text: str) -> Any:
    name = check(ability, text)
    return BACKENDS[ability, name.family].load(name)
