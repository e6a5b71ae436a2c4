"""From a dataset and a selection to the samples a recipe will make, and the count of those it will not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.reasons import Dropped
from x2i.recipes.base import Candidate, Recipe
from x2i.sample import KEY_PATTERN, canonical_json
from x2i.seeding import stable_hash
from x2i.store.query.views import IMAGES, Selection, View, connect, list_views, missing, select

if TYPE_CHECKING:
    from x2i.store import Dataset

BEYOND_MAX_SAMPLES = "max_samples"

PLAN_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("images", pa.list_(pa.string())),  # keys of the source images, in the order the recipe takes them
        ("widths", pa.list_(pa.int32())),
        ("heights", pa.list_(pa.int32())),
        ("offsets", pa.list_(pa.int64())),  # where each lies in its partition's tar
        ("sizes", pa.list_(pa.int64())),
        ("uids", pa.list_(pa.string())),
        ("urls", pa.list_(pa.string())),
        ("licenses", pa.list_(pa.string())),
        ("facts", pa.string()),  # JSON: what the recipe knows beside the pixels
    ]
)
_IMAGE_FIELDS = ("key", "width", "height", "offset", "size", "uid", "url", "license")


@dataclass(frozen=True)
class PlannedSamples:
    """rows: one per sample (PLAN_SCHEMA), by key. candidates = selected + the sum of not_selected (by predicate)."""

    rows: pa.Table
    candidates: int
    not_selected: Mapping[str, int]

    def summary(self) -> dict[str, Any]:
        """Returns the counts as JSON values: {"candidates", "selected", "not_selected": {predicate: n}}."""
        counts = dict(self.not_selected)
        return {"candidates": self.candidates, "selected": self.rows.num_rows, "not_selected": counts}


def missing_needs(dataset: Dataset, recipe: Recipe) -> str | None:
    """Says what `recipe` needs and `dataset` does not have yet, and which stage makes it; None if nothing."""
    return missing(list_views(dataset), recipe.needs)


def used_views(views: Mapping[str, View], recipe: Recipe, selection: Selection) -> list[str]:
    """Returns the views that planning depends on, by name."""
    tables = selection.tables() | Selection(recipe.requires).tables()
    return sorted({IMAGES, *recipe.needs, *recipe.wants, *tables} & set(views))


def plan_samples(dataset: Dataset, recipe: Recipe, chosen: Selection, max_samples: int | None = None) -> PlannedSamples:
    """Decides which samples `recipe` makes: its own requirements are asked first, then the user's selection.

    With `max_samples`, those with the smallest hash of their key stay: an even sample that does not depend on order.
    Raises UserError if something needed has not been made or a predicate is faulty.
    """
    views = list_views(dataset)
    selection = _both(recipe, chosen)
    used = used_views(views, recipe, chosen)
    with connect(dataset, views, [*recipe.needs, *sorted(selection.tables())]) as connection:
        verdicts = select(connection, selection, recipe.candidates(frozenset(used)), recipe.rows, recipe.joins)
        kept = [
            Candidate(tuple(row["keys"]), row["suffix"], json.loads(row["facts"])) for row in verdicts.kept.to_pylist()
        ]
        not_selected = Counter(verdicts.not_selected)
        arranged: list[Candidate] = []
        for candidate in recipe.arrange(kept):
            if isinstance(candidate, Dropped):
                not_selected[candidate.detail] += 1
            else:
                arranged.append(candidate)
        keyed = {sample_key(recipe, candidate): candidate for candidate in arranged}
        assert len(keyed) == len(arranged), f"recipe {recipe.name} made one key twice"
        names = sorted(keyed)
        if max_samples is not None and len(names) > max_samples:
            not_selected[BEYOND_MAX_SAMPLES] += len(names) - max_samples
            names = sorted(sorted(names, key=lambda name: (stable_hash("max_samples", name), name))[:max_samples])
        table = connection.sql(f"SELECT {', '.join(map(_quoted, _IMAGE_FIELDS))} FROM images").to_arrow_table()
    return PlannedSamples(_rows(names, keyed, table), verdicts.candidates, dict(not_selected))


def sample_key(recipe: Recipe, candidate: Candidate) -> str:
    """Returns the key of a sample: the recipe, its source images and, where one image gives several, a suffix."""
    key = "-".join((recipe.name, *candidate.keys)) + candidate.suffix
    assert KEY_PATTERN.fullmatch(key), f"not a sample key: {key!r}"
    return key


def _both(recipe: Recipe, chosen: Selection) -> Selection:
    clash = sorted(set(recipe.requires) & set(chosen.predicates))
    if clash:
        raise UserError(f"selection: recipe {recipe.name} has a predicate {clash[0]!r} of its own: choose another name")
    return Selection({**recipe.requires, **chosen.predicates})


def _quoted(name: str) -> str:
    return f'"{name}"'  # offset is a word of SQL


def _rows(names: list[str], keyed: Mapping[str, Candidate], images: pa.Table) -> pa.Table:
    wanted = {key for name in names for key in keyed[name].keys}
    facts = {
        row["key"]: row
        for row in images.filter(pc.is_in(images["key"], pa.array(sorted(wanted), pa.string()))).to_pylist()
    }
    columns: dict[str, list[Any]] = {field.name: [] for field in PLAN_SCHEMA}
    for name in names:
        candidate = keyed[name]
        sources = [facts[key] for key in candidate.keys]
        columns["key"].append(name)
        columns["images"].append(list(candidate.keys))
        columns["facts"].append(canonical_json(dict(candidate.facts)))
        for plural, field in zip(PLAN_SCHEMA.names[2:-1], _IMAGE_FIELDS[1:]):
            columns[plural].append([source[field] for source in sources])
    return pa.table(columns, schema=PLAN_SCHEMA)
