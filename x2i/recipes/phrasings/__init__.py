"""How a task is put into words: one pool of phrasings per task, chosen by the hash of the sample's key.

A pool is a data file `<task>.yaml` in this folder:

    requires: [image, caption|sentence|scene]   # every phrasing uses each; a|b means exactly one of the two
    may_use: [color]                           # slots that a phrasing is free to use
    phrasings:
      - "Sharpen {image}."
      - {weight: 30, phrasing: "{caption}"}     # as likely as thirty others

To add a task, add its file; nothing else has to be told.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from x2i.errors import UserError
from x2i.sample import PLACEHOLDER_PATTERN, TASK_PATTERN
from x2i.seeding import stable_hash

FOLDER = Path(__file__).parent
MINIMUM_PHRASINGS = 20
SLOT_PATTERN = re.compile(r"\{([a-z_]*)\}")
MARKER_PATTERN = re.compile(r"<\|[^<>|]*\|>|</?img>", re.IGNORECASE)


@dataclass(frozen=True)
class Phrasing:
    """One way of saying it. `text` holds slots such as {image}; `weight` is how often it is chosen, relatively."""

    text: str
    weight: int = 1

    @property
    def slots(self) -> frozenset[str]:
        return frozenset(SLOT_PATTERN.findall(self.text))


@dataclass(frozen=True)
class Pool:
    """The phrasings of one task. `requires` holds groups of slots; each phrasing uses one slot of each group."""

    task: str
    requires: tuple[frozenset[str], ...]
    may_use: frozenset[str]
    phrasings: tuple[Phrasing, ...]

    @property
    def slots(self) -> frozenset[str]:
        return self.may_use.union(*self.requires)


def choose(task: str, key: str, **slots: str | None) -> str:
    """Returns the instruction of sample `key`: a phrasing of `task` chosen by the hash of the key, its slots filled.

    Every slot of the pool must be given. None means that this sample has no such text: phrasings that use the slot are
    left out of the choice. Marker tokens (`<|...|>`, `<img>`) inside a slot that is not an image placeholder are
    removed, so that a caption cannot pretend to be an image.

    Raises ValueError if the slots given are not the pool's, or if no phrasing is left to choose from.
    """
    pool = read_pool(task)
    if set(slots) != pool.slots:
        raise ValueError(f"instructions for {task} take the slots {sorted(pool.slots)}, not {sorted(slots)}")
    values = {name: _clean(value) for name, value in slots.items() if value is not None}
    usable = [phrasing for phrasing in pool.phrasings if phrasing.slots <= values.keys()]
    if not usable:
        raise ValueError(f"no instruction for {task} can do without {sorted(pool.slots - values.keys())}")
    remaining = stable_hash("instruction", task, key) % sum(phrasing.weight for phrasing in usable)
    for phrasing in usable:
        if remaining < phrasing.weight:
            return SLOT_PATTERN.sub(lambda match: values[match.group(1)], phrasing.text)
        remaining -= phrasing.weight
    raise AssertionError("weights do not add up")


@cache
def read_pool(task: str) -> Pool:
    """Returns the pool of `task`. Raises UserError if there is none or if its file breaks the rules above."""
    path = FOLDER / f"{task}.yaml"
    if not TASK_PATTERN.fullmatch(task) or not path.exists():
        raise UserError(f"no instructions for task {task!r}; there are: {', '.join(list_tasks())}")
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    return parse_pool(task, document, path)


def parse_pool(task: str, document: Any, path: Path) -> Pool:
    """Returns `document` (a pool file's content) as a Pool. Raises UserError naming `path` and the faulty phrasing."""
    if not isinstance(document, dict) or set(document) - {"requires", "may_use", "phrasings"}:
        raise UserError(f"{path}: expected the keys requires, may_use and phrasings, no others")
    pool = Pool(
        task,
        tuple(frozenset(group.split("|")) for group in document["requires"]),
        frozenset(document.get("may_use", ())),
        tuple(_phrasing(entry, path) for entry in document["phrasings"]),
    )
    texts = [phrasing.text for phrasing in pool.phrasings]
    if len(set(texts)) != len(texts) or len(texts) < MINIMUM_PHRASINGS:
        raise UserError(f"{path}: {len(set(texts))} distinct phrasings of {len(texts)}; at least {MINIMUM_PHRASINGS}")
    for phrasing in pool.phrasings:
        _check(pool, phrasing, path)
    return pool


def list_tasks() -> list[str]:
    """Returns the tasks that have a pool."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def pool_digest(task: str) -> str:
    """Returns the sha256 of the pool file of `task` in hex: an edited pool gives other shards."""
    read_pool(task)
    return hashlib.sha256((FOLDER / f"{task}.yaml").read_bytes()).hexdigest()


def _phrasing(entry: Any, path: Path) -> Phrasing:
    if isinstance(entry, str):
        return Phrasing(entry.strip())
    if isinstance(entry, dict) and set(entry) == {"weight", "phrasing"} and int(entry["weight"]) >= 1:
        return Phrasing(str(entry["phrasing"]).strip(), int(entry["weight"]))
    raise UserError(f"{path}: phrasings: expected a text, or a weight and a phrasing; found {entry!r}")


def _check(pool: Pool, phrasing: Phrasing, path: Path) -> None:
    unknown = phrasing.slots - pool.slots
    if unknown or phrasing.text.count("{") != len(SLOT_PATTERN.findall(phrasing.text)):
        raise UserError(f"{path}: {phrasing.text!r}: unknown slots {sorted(unknown)}; there are {sorted(pool.slots)}")
    for group in pool.requires:
        if len(group & phrasing.slots) != 1:
            raise UserError(f"{path}: {phrasing.text!r}: expected one of the slots {sorted(group)}")


def _clean(value: str) -> str:
    if PLACEHOLDER_PATTERN.fullmatch(value):
        return value
    return " ".join(MARKER_PATTERN.sub(" ", value).split())
