"""few_shot: one worked example of a task and a query in, the answer to the query out.

It wraps any recipe from one photograph to a pair. Each base has samples of its own: which images are its queries
follows from the hash of (base, image), which example a query gets from the selected images, and the sample's key and
its random draws name the base. So a base that is added, to the option or to the registry, adds samples and leaves the
keys and the bytes of all others as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from x2i.errors import UserError
from x2i.options import Option
from x2i.reasons import Dropped
from x2i.recipes import RECIPES, make_recipe
from x2i.recipes.base import Example, PairRecipe, Recipe, Rendered, RgbImage, Source, Table
from x2i.seeding import generator, stable_hash, unit_interval

if TYPE_CHECKING:
    import pyarrow as pa

DIFFERENT_BITS = 10


@dataclass(frozen=True)
class FewShot(Recipe):
    """Three inputs: the example's input, the example's output, the query. The example comes from another image.

    Example and query get the same draws, so the example shows just the operation that the query asks for. Every image
    is stored without loss: some bases need it, and readers of WebDataset want one set of members in a whole task.
    """

    name = "few_shot"
    title = "A worked example and a query to the answer"
    family = "few_shot"
    image_slots = ("example_input", "example_output", "image")
    lossless = ("input_1", "input_2", "input_3", "output")
    mirrorable = True
    bytes_per_pixel = 2.6

    bases: Annotated[
        tuple[str, ...],
        Option("Recipes to show by example. Default: every registered one that makes pairs and whose columns exist."),
    ] = ()
    share: Annotated[float, Option("Share of the selected images that each base takes as queries.", gt=0, le=1)] = 0.1

    def config(self) -> Mapping[str, Any]:
        recipes = {base: _base(base) for base in self.bases_used}
        return {**super().config(), "bases": {base: [made.version, made.config()] for base, made in recipes.items()}}

    @property
    def bases_used(self) -> tuple[str, ...]:
        """The names of the bases, as typed: those of the option, or every registered recipe that can be shown."""
        return self.bases or tuple(name for name in RECIPES if _shows_by_example(name))

    def reads(self) -> tuple[Table, ...]:
        found: dict[str, Table] = {}
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
        return " UNION ALL ".join(_query_of(base, tables) for base in usable) or (
            "SELECT [key] AS keys, '' AS suffix, '' AS base, phash, '' AS metadata FROM images WHERE false"
        )

    def combine(self, selected: pa.Table) -> tuple[pa.Table, Mapping[str, int]]:
        """Gives every query its example: the next image in hash order whose phash differs in DIFFERENT_BITS or more."""
        import pyarrow as pa
        import pyarrow.compute as pc

        made: list[pa.Table] = []
        lost: Counter[str] = Counter()
        for base in pc.unique(selected["base"]).to_pylist():
            candidates = selected.filter(pc.equal(selected["base"], base))
            keys = pc.list_flatten(candidates["keys"]).to_pylist()
            pairs = self._pairs(base, keys, candidates["phash"].to_pylist(), lost)
            made.append(_combined(candidates, pairs))
        return pa.concat_tables([_combined(selected, []), *made]), dict(lost)

    def _pairs(self, base: str, keys: Sequence[str], phashes: Sequence[int], lost: Counter[str]) -> list[list[int]]:
        """Returns [example, query] for each query of a base, as row numbers; counts in `lost` who is no query."""
        ring = sorted(range(len(keys)), key=lambda row: (stable_hash(self.name, keys[row]), row))
        pairs: list[list[int]] = []
        for place, query in enumerate(ring):
            if unit_interval(self.name, base, keys[query]) >= self.share:
                lost["share"] += 1
                continue
            others = (ring[(place + step) % len(ring)] for step in range(1, len(ring)))
            different = (other for other in others if (phashes[query] ^ phashes[other]).bit_count() >= DIFFERENT_BITS)
            example = next(different, None)
            if example is None:
                lost["no_example"] += 1
            else:
                pairs.append([example, query])
        return pairs

    def make(
        self, sources: Sequence[Source], metadata: Mapping[str, Any], random: np.random.Generator
    ) -> Rendered | Dropped:
        base = _base(metadata["base"])
        seed = int(random.integers(2**62))
        pairs: list[Rendered] = []
        for role, source in zip(("example", "query"), sources):
            pair = base.pair(source, json.loads(metadata[role]), generator(self.name, base.name, seed))
            if isinstance(pair, Dropped):
                return Dropped(pair.reason, f"as {role} of {base.name}: {pair.detail}")
            pairs.append(pair)
        example, query = pairs
        return Rendered(
            (*example.inputs, example.output, *query.inputs),
            query.output,
            {"operation": base.operation},
            {"base": base.name, "base_version": base.version, **query.parameters},
            query.scores,
            mirrorable=base.mirrorable and example.mirrorable and query.mirrorable,
        )

    def example(self, photographs: Sequence[RgbImage]) -> Example:
        return Example(
            (Source(photographs[1]), Source(photographs[0])), {"base": "deblur", "example": "{}", "query": "{}"}
        )


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


def _query_of(base: str, tables: frozenset[str]) -> str:
    """Returns the candidates of a base, those that fulfill its requirements, with its metadata as one JSON text."""
    recipe = _base(base)
    maps = [table.name for table in _needs(recipe) if table.images]
    own = {name: text for name, text in recipe.requires().items() if name not in {f"{m}_is_known" for m in maps}}
    conditions = [f"coalesce(({text}), false)" for text in own.values()]
    conditions += [f'candidate.keys[1] IN (SELECT key FROM "{name}")' for name in maps]
    known = tables & {table.name for table in recipe.reads()}
    return (
        f"SELECT candidate.keys, '-{recipe.name}' || coalesce(to_json(candidate)->>'suffix', '') AS suffix, "
        f"'{base}' AS base, images.phash, to_json(candidate)::VARCHAR AS metadata "
        f"FROM ({recipe.query(known)}) AS candidate JOIN images ON images.key = candidate.keys[1] "
        f"WHERE {' AND '.join(conditions) or 'true'}"
    )


def _combined(candidates: pa.Table, pairs: Sequence[Sequence[int]]) -> pa.Table:
    """Returns one row for each [example, query]: keys of both images, what is known about each, the query's suffix."""
    import pyarrow as pa

    examples, queries = (candidates.take(pa.array([pair[role] for pair in pairs], pa.int64())) for role in (0, 1))
    keys = [[*a, *b] for a, b in zip(examples["keys"].to_pylist(), queries["keys"].to_pylist())]
    columns = {
        "keys": pa.array(keys, pa.list_(pa.string())),
        "suffix": queries["suffix"],
        "base": queries["base"],
        "example": examples["metadata"],
        "query": queries["metadata"],
    }
    return pa.table(columns)
