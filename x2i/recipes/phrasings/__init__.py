"""How a task is put into words: a pool of phrasings, one of which is chosen by the hash of the sample's key.

A pool is a mapping, in a YAML file or as data in a recipe's class (`phrasings = {...}`):

    requires: [image, caption|sentence|scene]   # every phrasing uses each; a|b means exactly one of the two
    prefers: [color|shade]                      # used where the sample has one of them; none is used where it has not
    may_use: [tool]                             # slots that a phrasing is free to use
    phrasings:
      - "Sharpen {image}."
      - {weight: 30, phrasing: "{caption}"}     # as likely as thirty others
    family: true                                # false: without the phrasings of the recipe's family

A recipe's own pool is `<name>.yaml` in this folder, or, for a recipe from outside this project, beside its module.
The pools of the classes it derives from come on top, so that a recipe of a family speaks without a file of its own.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from x2i.errors import UserError
from x2i.recipes.phrasings.nouns import indefinite
from x2i.sample import PLACEHOLDER_PATTERN, canonical_json
from x2i.seeding import stable_hash

FOLDER = Path(__file__).parent
MINIMUM_PHRASINGS = 30
SLOT_PATTERN = re.compile(r"\{([a-z0-9_]*)\}")
_ARTICLE_AND_SLOT = re.compile(r"(?:\b([Aa]) )?\{([a-z0-9_]*)\}")
MARKER_PATTERN = re.compile(r"<\|[^<>|]*\|>|</?img>", re.IGNORECASE)
_KEYS = frozenset({"requires", "prefers", "may_use", "phrasings", "family"})


@dataclass(frozen=True)
class Phrasing:
    """One way of saying it. `text` holds slots such as {image}; `weight` is how often it is chosen, relatively.

    prefers: groups of slots; it is left out where the sample has a text for one of a group and it uses none of them.
    """

    text: str
    weight: int = 1
    prefers: tuple[frozenset[str], ...] = ()

    @cached_property
    def slots(self) -> frozenset[str]:
        return frozenset(SLOT_PATTERN.findall(self.text))

    def fits(self, given: frozenset[str]) -> bool:
        """Whether it can be used, and uses what it should, where the slots `given` have texts."""
        return self.slots <= given and all(group & self.slots or not group & given for group in self.prefers)


@dataclass(frozen=True)
class Pool:
    """The phrasings of one task. slots: all that a phrasing may use. digest: sha256 in hex of what it was made from."""

    task: str
    slots: frozenset[str]
    phrasings: tuple[Phrasing, ...]
    digest: str = ""


class Marked(str):
    """A text that a recipe made, whose markers of input images are meant."""


def choose(pool: Pool, key: str, **slots: str | None) -> str:
    """Returns the instruction of sample `key`: a phrasing of `pool` chosen by the hash of the key, its slots filled.

    Every slot of the pool must be given. None means that this sample has no such text: phrasings that use the slot are
    left out of the choice. Marker tokens (`<|...|>`, `<img>`) inside a slot that is not an image placeholder are
    removed, so that a caption cannot pretend to be an image; those of a `Marked` text stay.

    Raises ValueError if the slots given are not the pool's, or if no phrasing is left to choose from.
    """
    if set(slots) != pool.slots:
        raise ValueError(f"phrasings for {pool.task} take the slots {sorted(pool.slots)}, not {sorted(slots)}")
    values = {name: _clean(value) for name, value in slots.items() if value is not None}
    usable = [phrasing for phrasing in pool.phrasings if phrasing.fits(frozenset(values))]
    if not usable:
        raise ValueError(f"no phrasing for {pool.task} can do without {sorted(pool.slots - values.keys())}")
    remaining = stable_hash("instruction", pool.task, key) % sum(phrasing.weight for phrasing in usable)
    for phrasing in usable:
        if remaining < phrasing.weight:
            return filled(phrasing.text, values)
        remaining -= phrasing.weight
    raise AssertionError("weights do not add up")


def filled(text: str, values: Mapping[str, str]) -> str:
    """Returns `text` with its slots filled; an article before a slot fits what fills it: "an orange", "a red"."""

    def value(match: re.Match[str]) -> str:
        article, slot = match.groups()
        return f"{article}{indefinite(values[slot])[1:]}" if article else values[slot]

    return _ARTICLE_AND_SLOT.sub(value, text)


@cache
def read_pool(recipe: type) -> Pool:
    """Returns the pool of a recipe's class: its own phrasings, then those of its family.

    Raises UserError if there are fewer than MINIMUM_PHRASINGS, or if a pool breaks the rules above.
    """
    task = str(recipe.name)  # type: ignore[attr-defined]
    documents = list(_documents(recipe))
    parts = [parse_pool(task, document, origin) for origin, document in documents]
    texts = {phrasing.text: phrasing for part in reversed(parts) for phrasing in reversed(part.phrasings)}
    if len(texts) < MINIMUM_PHRASINGS:
        found = ", ".join(origin for origin, _ in documents) or f"no {task}.yaml"
        raise UserError(f"recipe {task}: {len(texts)} phrasings ({found}); at least {MINIMUM_PHRASINGS}")
    digest = hashlib.sha256(canonical_json([document for _, document in documents]).encode()).hexdigest()
    slots = frozenset[str]().union(*(part.slots for part in parts))
    return Pool(task, slots, tuple(reversed(texts.values())), digest)


def parse_pool(task: str, document: Any, origin: str) -> Pool:
    """Returns `document` (the content of one pool) as a Pool. Raises UserError that names `origin` and the fault."""
    if not isinstance(document, Mapping) or set(document) - _KEYS:
        raise UserError(f"{origin}: expected the keys {', '.join(sorted(_KEYS))}, no others")
    requires, prefers = (
        tuple(frozenset(group.split("|")) for group in document.get(name, ())) for name in ("requires", "prefers")
    )
    slots = frozenset(document.get("may_use", ())).union(*requires, *prefers)
    phrasings = tuple(_phrasing(entry, prefers, origin) for entry in document["phrasings"])
    texts = [phrasing.text for phrasing in phrasings]
    if len(set(texts)) != len(texts):
        raise UserError(f"{origin}: {len(set(texts))} distinct phrasings of {len(texts)}")
    for phrasing in phrasings:
        used, text = phrasing.slots, phrasing.text
        if used - slots or text.count("{") != len(SLOT_PATTERN.findall(text)):
            raise UserError(f"{origin}: {text!r}: unknown slots {sorted(used - slots)}; there are {sorted(slots)}")
        for group in requires:
            if len(group & used) != 1:
                raise UserError(f"{origin}: {text!r}: expected one of the slots {sorted(group)}")
        for group in prefers:
            if len(group & used) > 1:
                raise UserError(f"{origin}: {text!r}: expected at most one of the slots {sorted(group)}")
    return Pool(task, slots, phrasings)


def _documents(recipe: type) -> Iterator[tuple[str, Any]]:
    """Yields (origin, pool) of a recipe's class and of the classes it derives from, its own first."""
    for kind in recipe.__mro__:
        given = kind.__dict__.get("phrasings")
        if isinstance(given, Mapping):
            origin, document = f"{kind.__module__}:{kind.__name__}.phrasings", dict(given)
        else:
            path = _file(kind, given or kind.__dict__.get("name"))
            if path is None and given is not None:
                raise UserError(f"{kind.__module__}:{kind.__name__}: no phrasings {given}.yaml")
            if path is None:
                continue
            origin, document = path.name, _read(path)
        yield origin, document
        if isinstance(document, dict) and document.get("family", True) is False:
            return


def _file(kind: type, name: Any) -> Path | None:
    """Returns the pool file called `name` that belongs to a class: here, or beside its module."""
    if not isinstance(name, str):
        return None
    module = getattr(sys.modules.get(kind.__module__), "__file__", None)
    folders = [FOLDER] if kind.__module__.startswith("x2i.") or module is None else [Path(module).parent]
    return next((path for folder in folders if (path := folder / f"{name}.yaml").exists()), None)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _read(path: Path) -> Any:
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error


def _phrasing(entry: Any, prefers: tuple[frozenset[str], ...], origin: str) -> Phrasing:
    if isinstance(entry, str):
        return Phrasing(entry.strip(), prefers=prefers)
    if isinstance(entry, Mapping) and set(entry) == {"weight", "phrasing"} and int(entry["weight"]) >= 1:
        return Phrasing(str(entry["phrasing"]).strip(), int(entry["weight"]), prefers)
    raise UserError(f"{origin}: phrasings: expected a text, or a weight and a phrasing; found {entry!r}")


def _clean(value: str) -> str:
    if isinstance(value, Marked) or PLACEHOLDER_PATTERN.fullmatch(value):
        return value
    return " ".join(MARKER_PATTERN.sub(" ", value).split())
