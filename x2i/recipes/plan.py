"""From a dataset and a selection to the samples a recipe will make, and the count of those it will not."""

from __future__ import annotations

import functools
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from x2i.annotate import ANNOTATIONS
from x2i.errors import UserError
from x2i.recipes.base import Recipe
from x2i.recipes.split import Part, parts_of
from x2i.relate import RELATIONS
from x2i.sample import KEY_PATTERN
from x2i.store.query.views import IMAGES, Selection, View, connect, list_views, missing, select

if TYPE_CHECKING:
    import duckdb

    from x2i.store import Dataset

MAX_SAMPLES = "max_samples"
OTHER_PART = "other_part"
CANDIDATE = "candidate"

_IMAGE_FIELDS = ("width", "height", "data_offset", "data_size", "uid", "url", "license")

PLAN_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("images", pa.list_(pa.string())),  # keys of the source images, in the order the recipe takes them
        ("widths", pa.list_(pa.int32())),
        ("heights", pa.list_(pa.int32())),
        ("data_offsets", pa.list_(pa.int64())),  # where each lies in its partition's tar
        ("data_sizes", pa.list_(pa.int64())),
        ("uids", pa.list_(pa.string())),
        ("urls", pa.list_(pa.string())),
        ("licenses", pa.list_(pa.string())),
        ("metadata", pa.string()),  # JSON: what the recipe knows beside the pixels
    ]
)


@dataclass(frozen=True)
class PlannedSamples:
    """rows: one per sample (PLAN_SCHEMA), by key. candidates = rows + the sum of not_selected (by predicate)."""

    rows: pa.Table
    candidates: int
    not_selected: Mapping[str, int]


def maker(table: str) -> str | None:
    """Returns the command that makes a registered table, without `x2i`; None if no table of this name is registered."""
    if table in RELATIONS:
        return RELATIONS.get(table).spec.made_by
    return ANNOTATIONS.get(table).command() if table in ANNOTATIONS else None


@functools.cache
def makers() -> dict[str, str]:
    """Returns the command that makes each registered table, by the table's name."""
    return {name: command for name in (*RELATIONS, *ANNOTATIONS) if (command := maker(name)) is not None}


def missing_tables(dataset: Dataset, recipe: Recipe) -> str | None:
    """Says what `recipe` reads and `dataset` does not have yet, and which stage makes it; None if nothing."""
    views = list_views(dataset)
    for table in recipe.reads():
        if not table.optional and table.name not in views:
            made = f"{table.name} has not been made (there are: {', '.join(views) or 'none'})"
            return missing(views, [table.name], makers()) or made
    return None


def used_views(views: Mapping[str, View], recipe: Recipe, selection: Selection) -> list[str]:
    """Returns the views that planning depends on, by name."""
    return sorted({IMAGES, *(table.name for table in recipe.reads()), *selection.tables()} & set(views))


def plan_samples(
    dataset: Dataset,
    recipe: Recipe,
    chosen: Selection,
    max_samples: int | None = None,
    part: Part = "all",
    validation: float = 0.0,
) -> PlannedSamples:
    """Decides which samples `recipe` makes: its own requirements are asked first, then the user's selection.

    With `max_samples`, those with the smallest hash of their key stay: an even sample that does not depend on order.
    part: those whose images all belong to it; see x2i.recipes.split for it and `validation`.
    Raises UserError if something needed has not been made or a predicate is faulty.
    """
    lack = missing_tables(dataset, recipe)
    if lack is not None:
        raise UserError(f"{dataset.root}: recipe {recipe.name}: {lack}")
    views = list_views(dataset)
    requires = recipe.requires()
    clash = sorted(set(requires) & set(chosen.predicates))
    if clash:
        raise UserError(f"selection: recipe {recipe.name} has a predicate {clash[0]!r} of its own: choose another name")
    tables = frozenset(table.name for table in recipe.reads() if table.name in views)
    needs = sorted(chosen.tables() - {CANDIDATE})

    def planned(spill: Path | None) -> PlannedSamples:
        with connect(dataset, views, needs, makers(), spill) as connection:
            query = recipe.query(tables)
            suffix = "" if "suffix" in connection.sql(query).columns else "'' AS suffix, "
            selection = Selection({**requires, **chosen.predicates})
            verdicts = select(connection, views, selection, f"SELECT {suffix}* FROM ({query})")
            kept, left_out = recipe.combine(verdicts.kept)
            # Combining may make more samples of fewer candidates; the counts are about what came out of the query.
            not_selected = Counter(verdicts.not_selected) + Counter(left_out)
            if part != "all":
                selected = kept.num_rows
                kept = _of_part(connection, kept, parts_of(dataset, validation), part)
                not_selected[OTHER_PART] = selected - kept.num_rows
            rows = _rows(connection, recipe, kept, max_samples)
        if rows.num_rows < kept.num_rows:
            not_selected[MAX_SAMPLES] = kept.num_rows - rows.num_rows
        return PlannedSamples(rows, verdicts.candidates, dict(not_selected))

    import duckdb

    try:
        with tempfile.TemporaryDirectory(prefix="x2i-") as folder:
            return planned(Path(folder))
    except duckdb.OutOfMemoryException:  # lists of many images cannot be written to disk
        return planned(None)


def _of_part(connection: duckdb.DuckDBPyConnection, kept: pa.Table, parts: pa.Table, part: Part) -> pa.Table:
    """Returns the rows of `kept` whose images all belong to `part`."""
    connection.register("kept_rows", kept.append_column("row_number", pa.array(range(kept.num_rows), pa.int64())))
    connection.register("parts", parts)
    rows = connection.sql(
        "SELECT row_number FROM (SELECT row_number, unnest(keys) AS key FROM kept_rows) JOIN parts USING (key) "
        "GROUP BY row_number HAVING bool_and(part = ?) ORDER BY row_number",
        params=[part],
    ).to_arrow_table()
    return kept.take(rows["row_number"])


def _rows(connection: duckdb.DuckDBPyConnection, recipe: Recipe, kept: pa.Table, max_samples: int | None) -> pa.Table:
    """Returns the plan rows of the candidates `kept`. They stay in DuckDB: a plan may have millions."""
    names = [name for name in kept.column_names if name not in ("keys", "suffix", "sample_name")]
    named = "sample_name" if "sample_name" in kept.column_names else "array_to_string(keys, '-') || suffix"
    metadata = ", ".join(f"'{name}', \"{name}\"" for name in names)
    connection.register("kept", kept)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE planned AS SELECT '{recipe.name}-' || {named} AS key, "
        f"keys, json_object({metadata})::VARCHAR AS metadata FROM kept"
    )
    [wrong] = connection.execute(
        "SELECT count(*) - count(DISTINCT key), count(*) FILTER (NOT regexp_full_match(key, ?)) FROM planned",
        [KEY_PATTERN.pattern],
    ).fetchall()
    assert wrong == (0, 0), f"recipe {recipe.name}: {wrong} sample keys stand twice or are no keys"
    limit = f"ORDER BY md5('{MAX_SAMPLES}:' || key), key LIMIT {max_samples}" if max_samples is not None else ""
    fields = zip(PLAN_SCHEMA.names[2:-1], _IMAGE_FIELDS)
    if pc.max(pc.list_value_length(kept["keys"])).as_py() == 1:
        lists = ", ".join(f'[images."{field}"] AS {plural}' for plural, field in fields)
        text = (
            f"SELECT chosen.key, keys AS images, {lists}, metadata "
            f"FROM (SELECT * FROM planned {limit}) AS chosen JOIN images ON images.key = keys[1] ORDER BY chosen.key"
        )
    else:
        lists = ", ".join(f'list(images."{field}" ORDER BY place) AS {plural}' for plural, field in fields)
        text = (
            f"SELECT chosen.key, any_value(keys) AS images, {lists}, any_value(metadata) AS metadata "
            f"FROM (SELECT *, unnest(keys) AS image, generate_subscripts(keys, 1) AS place "
            f"FROM (SELECT * FROM planned {limit})) AS chosen JOIN images ON images.key = image "
            f"GROUP BY chosen.key ORDER BY chosen.key"
        )
    table = connection.sql(text).to_arrow_table()
    return table.select(PLAN_SCHEMA.names).cast(PLAN_SCHEMA)
