"""few_shot: worked examples of a task, one to three, and a query in, the answer to the query out.

It wraps any recipe from one photograph to a pair. Each base has samples of its own: which images are its queries
follows from the hash of (base, image), which examples a query gets from the selected images, and the sample's key and
its random draws name the base. So a base that is added, to the option or to the registry, adds samples and leaves the
keys and the bytes of all others as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np

from x2i.errors import UserError
from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.base import Example, PairRecipe, Recipe, Rendered, RgbImage, Source, Table
from x2i.recipes.phrasings import Marked, choose, read_pool
from x2i.sample import placeholder
from x2i.seeding import generator, stable_hash, unit_interval

if TYPE_CHECKING:
    import pyarrow as pa

DIFFERENT_BITS = 10
LISTS = (
    ("Input: {} Output: {}", " "),
    ("{} becomes {}", ", "),
    ("{} -> {}", "; "),
    ("Before: {} After: {}", " "),
    ("{} gives {}", ", "),
    ("{} was turned into {}", "; "),
)
"""How examples are listed: one of them, and what stands between two."""


@dataclass(frozen=True)
class FewShot(Recipe):
    """Three inputs: the example's input, the example's output, the query. The example comes from another image.

    Example and query get the same draws, so the example shows just the operation that the query asks for. No two of
    them look alike or are in one cluster of duplicates. Every image is stored without loss: some bases need it, and
    readers of WebDataset want one set of members in a whole task.
    """

    name = "few_shot"
    title = "A worked example and a query to the answer"
    family = "few_shot"
    image_slots: ClassVar[tuple[str, ...]] = ("example_input", "example_output", "image")
    lossless: ClassVar[tuple[str, ...]] = ("input_1", "input_2", "input_3", "output")
    mirrorable = True
    bytes_per_pixel = 2.6
    num_examples: ClassVar[int] = 1

    bases: Annotated[
        tuple[str, ...],
        Option("Recipes to show by example. Default: every registered one that makes pairs and whose columns exist."),
    ] = ()
    share: Annotated[float, Option("Share of the selected images that each base takes as queries.", gt=0, le=1)] = 0.1
    duplicates: Annotated[str, Option("Relation whose clusters give one image at most, if there is one.")] = (
        "duplicates"
    )

    def config(self) -> Mapping[str, Any]:
        recipes = {base: _base(base) for base in self.bases_used}
        return {**super().config(), "bases": {base: [made.version, made.config()] for base, made in recipes.items()}}

    @property
    def bases_used(self) -> tuple[str, ...]:
        """The names of the bases, as typed: those of the option, or every registered recipe that can be shown."""
        return self.bases or tuple(name for name in RECIPES if _shows_by_example(name))

    def reads(self) -> tuple[Table, ...]:
        found = {self.duplicates: Table(self.duplicates, optional=True)}
        for base in self.bases_used:
            for table in _base(base).reads():
                optional = table.optional or not self.bases
                images = table.images or (table.name in found and found[table.name].images)
                found[table.name] = Table(table.name, optional, images)
        return tuple(found.values())

    def requires(self) -> Mapping[str, str]:
        return {}  # each base's own are part of the query

    def query(self, tables: frozenset[str]) -> str:
        usable = [base for base in self.bases_used if {table.name for table in _needs(_base(base))} <= tables]
        clusters = self.duplicates if self.duplicates in tables else ""
        return " UNION ALL ".join(_query_of(base, tables, clusters) for base in usable) or (
            "SELECT [key] AS keys, '' AS suffix, '' AS base, phash, key AS cluster, '' AS metadata "
            "FROM images WHERE false"
        )

    def combine(self, selected: pa.Table) -> tuple[pa.Table, Mapping[str, int]]:
        """Gives every query its examples: the next images in hash order of other clusters that look different.

        Of two of them the phashes differ in DIFFERENT_BITS or more.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        made: list[pa.Table] = []
        lost: Counter[str] = Counter()
        for base in pc.unique(selected["base"]).to_pylist():
            candidates = selected.filter(pc.equal(selected["base"], base))
            made.append(self._combined(candidates, self._groups(base, candidates, lost)))
        return pa.concat_tables([self._combined(selected, []), *made]), dict(lost)

    def _groups(self, base: str, candidates: pa.Table, lost: Counter[str]) -> list[list[int]]:
        """Returns [*examples, query] for each query of a base, as row numbers; counts in `lost` who is no query."""
        keys = [row[0] for row in candidates["keys"].to_pylist()]
        phashes, clusters = candidates["phash"].to_pylist(), candidates["cluster"].to_pylist()

        def differ(one: int, other: int) -> bool:
            return clusters[one] != clusters[other] and (phashes[one] ^ phashes[other]).bit_count() >= DIFFERENT_BITS

        ring = sorted(range(len(keys)), key=lambda row: (stable_hash(self.name, keys[row]), row))
        groups: list[list[int]] = []
        for place, query in enumerate(ring):
            if unit_interval(self.name, base, keys[query]) >= self.share:
                lost["share"] += 1
                continue
            chosen = [query]
            for step in range(1, len(ring)):
                other = ring[(place + step) % len(ring)]
                if all(differ(other, one) for one in chosen):
                    chosen.append(other)
                if len(chosen) > self.num_examples:
                    break
            if len(chosen) > self.num_examples:
                groups.append([*chosen[1:], query])
            else:
                lost["no_example"] += 1
        return groups

    def _combined(self, candidates: pa.Table, groups: Sequence[Sequence[int]]) -> pa.Table:
        """Returns one row for each [*examples, query]: keys of all images, what is known about each, the suffix."""
        import pyarrow as pa

        roles = [
            candidates.take(pa.array([group[role] for group in groups], pa.int64()))
            for role in range(self.num_examples + 1)
        ]
        queries = roles[-1]
        keys = [[key for one in row for key in one] for row in zip(*(part["keys"].to_pylist() for part in roles))]
        known = [list(row) for row in zip(*(part["metadata"].to_pylist() for part in roles[:-1]))]
        columns = {
            "keys": pa.array(keys, pa.list_(pa.string())),
            "suffix": queries["suffix"],
            "base": queries["base"],
            "examples": pa.array(known, pa.list_(pa.string())),
            "query": queries["metadata"],
        }
        return pa.table(columns)

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        base = _base(metadata["base"])
        seed = int(random.integers(2**62))
        pairs: list[Rendered] = []
        for number, (source, known) in enumerate(zip(sources, [*metadata["examples"], metadata["query"]])):
            pair = base.pair(source, json.loads(known), generator(self.name, base.name, seed))
            if isinstance(pair, Dropped):
                role = "example" if number < self.num_examples else "query"
                return Dropped(pair.reason, f"as {role} of {base.name}: {pair.detail}")
            pairs.append(pair)
        *examples, query = pairs
        return Rendered(
            (*(image for pair in examples for image in (*pair.inputs, pair.output)), *query.inputs),
            query.output,
            {"operation": base.operation, **self.words(random)},
            {"base": base.name, "base_version": base.version, **query.parameters},
            query.scores,
            mirrorable=base.mirrorable and all(pair.mirrorable for pair in pairs),
        )

    def words(self, random: np.random.Generator) -> Mapping[str, str | None]:
        """Returns slots of the phrasings beside the images and the operation."""
        return {}

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        sources = [Source(photographs[(1 + number) % 2]) for number in range(self.num_examples)]
        known = {"base": "deblur", "examples": ["{}"] * self.num_examples, "query": "{}"}
        return Example((*sources, Source(photographs[0])), known)


@dataclass(frozen=True)
class SeveralShots(FewShot):
    """Several examples, each of another image; the words list them in one of several ways."""

    phrasings = "several_shots"

    share: Annotated[float, Option("Share of the selected images that each base takes as queries.", gt=0, le=1)] = 0.03

    def _combined(self, candidates: pa.Table, groups: Sequence[Sequence[int]]) -> pa.Table:
        """Returns rows that are named after the query alone: with all their images, keys would be too long."""
        import pyarrow as pa

        table = super()._combined(candidates, groups)
        names = [f"{keys[-1]}{suffix}" for keys, suffix in zip(table["keys"].to_pylist(), table["suffix"].to_pylist())]
        return table.append_column("sample_name", pa.array(names, pa.string()))

    def words(self, random: np.random.Generator) -> Mapping[str, str | None]:
        each, between = LISTS[int(random.integers(len(LISTS)))]
        images = [placeholder(number) for number in range(1, 2 * self.num_examples + 1)]
        listed = between.join(each.format(*pair) for pair in zip(images[::2], images[1::2]))
        return {"examples": Marked(listed)}

    def instruction(self, key: str, rendered: Rendered) -> str:
        return choose(read_pool(type(self)), key, image=placeholder(self.num_inputs), **rendered.slots)


@dataclass(frozen=True)
class TwoShot(SeveralShots):
    """Two examples and the query."""

    name = "two_shot"
    title = "Two worked examples and a query to the answer"
    num_examples = 2
    image_slots = ("example_input", "example_output", "second_input", "second_output", "image")
    lossless = ("input_1", "input_2", "input_3", "input_4", "input_5", "output")


@dataclass(frozen=True)
class ThreeShot(SeveralShots):
    """Three examples and the query."""

    name = "three_shot"
    title = "Three worked examples and a query to the answer"
    num_examples = 3
    image_slots = (*TwoShot.image_slots[:-1], "third_input", "third_output", "image")
    lossless = (*TwoShot.lossless[:-1], "input_6", "input_7", "output")


def _shows_by_example(name: str) -> bool:
    kind = RECIPES.get(name)
    return issubclass(kind, PairRecipe) and kind.shown_by_example


@cache
def _base(name: str) -> PairRecipe:
    recipe = make_recipe(name)
    if not isinstance(recipe, PairRecipe):
        raise UserError(f"recipe few_shot: bases: {name} does not make one pair of one photograph")
    return recipe


def _needs(recipe: Recipe) -> list[Table]:
    return [table for table in recipe.reads() if not table.optional]


def _query_of(base: str, tables: frozenset[str], clusters: str) -> str:
    """Returns the candidates of a base, those that fulfill its requirements, with its metadata as one JSON text.

    clusters: the relation that says which images are duplicates of each other, "" for none.
    """
    recipe = _base(base)
    maps = [table.name for table in _needs(recipe) if table.images]
    own = {name: text for name, text in recipe.requires().items() if name not in {f"{m}_is_known" for m in maps}}
    conditions = [f"coalesce(({text}), false)" for text in own.values()]
    conditions += [f'candidate.keys[1] IN (SELECT key FROM "{name}")' for name in maps]
    known = tables & {table.name for table in recipe.reads()}
    return (
        f"SELECT candidate.keys, '-{recipe.name}' || coalesce(to_json(candidate)->>'suffix', '') AS suffix, "
        f"'{base}' AS base, images.phash, {'coalesce(copies.cluster, images.key)' if clusters else 'images.key'} "
        f"AS cluster, to_json(candidate)::VARCHAR AS metadata "
        f"FROM ({recipe.query(known)}) AS candidate JOIN images ON images.key = candidate.keys[1] "
        + (f'LEFT JOIN "{clusters}" AS copies ON copies.key = images.key ' if clusters else "")
        + f"WHERE {' AND '.join(conditions) or 'true'}"
    )
