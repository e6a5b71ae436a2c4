"""The mixture of a run of materialize: which samples each of its recipes makes, decided for all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from x2i.errors import UserError
from x2i.recipes.mixture import SPARE, Wanted, draw
from x2i.recipes.plan import PlannedSamples, missing_tables
from x2i.sample import canonical_json

if TYPE_CHECKING:
    from pipelines.stages.materialize import MaterializeStage
    from x2i.store import Dataset

NOT_IN_MIXTURE = "mixture"


def drawn(dataset: Dataset, stage: MaterializeStage, planned: PlannedSamples) -> PlannedSamples:
    """Returns what of `planned`, which is the stage's own, is part of the mixture."""
    digest = canonical_json([stage.mixture_config(), dict(stage.inputs(dataset))])
    keys = _keys(dataset, tuple(stage.together()), digest)[stage.recipe]
    rows = planned.rows.filter(pc.is_in(planned.rows["key"], keys))
    left_out = planned.rows.num_rows - rows.num_rows
    counts = {**planned.not_selected, **({NOT_IN_MIXTURE: left_out} if left_out else {})}
    return PlannedSamples(rows, planned.candidates, counts)


_held: dict[str, Mapping[str, pa.Array]] = {}
"""The last mixture that was drawn: each of its stages asks for it."""


def _keys(dataset: Dataset, stages: Sequence[MaterializeStage], digest: str) -> Mapping[str, pa.Array]:
    """Returns the keys of the samples of each recipe. digest: of all that decides them."""
    digest = f"{dataset.root}:{digest}"
    if digest not in _held:
        drawn_keys = _drawn_keys(dataset, stages)
        _held.clear()
        _held[digest] = drawn_keys
    return _held[digest]


def _drawn_keys(dataset: Dataset, stages: Sequence[MaterializeStage]) -> Mapping[str, pa.Array]:
    hosts = dataset.images(["key", "host"])
    host_of = pa.table({"image": hosts["key"], "host": hosts["host"]})
    total = stages[0].total
    parts, wanted = [], {}
    for stage in stages:
        if missing_tables(dataset, stage.made_recipe()) is not None:
            continue
        wanted[stage.recipe] = Wanted(stage.weight, stage.samples)
        rows = stage.own_plan(dataset).rows.select(["key", "images"])
        if total is not None or stage.samples is not None:
            rows = _few(rows, SPARE * max(stage.samples or 0, total or 0))
        parts.append(rows.append_column("recipe", pa.array([stage.recipe] * rows.num_rows, pa.string())))
    if not parts:
        raise UserError(f"{dataset.root}: no recipe of the mixture has what it needs")
    candidates = _with_hosts(pa.concat_tables(parts), host_of)
    one = stages[0]
    return draw(candidates, wanted, total, one.short, one.per_image, one.per_host)


def _few(rows: pa.Table, most: int) -> pa.Table:
    """Returns at most `most` rows, those with the smallest hashes: more than that are not drawn."""
    if rows.num_rows <= most:
        return rows
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.register("planned", rows)
        found = connection.sql(f"SELECT * FROM planned ORDER BY md5('mixture:' || key), key LIMIT {most}")
        return found.to_arrow_table().cast(rows.schema)


def _with_hosts(candidates: pa.Table, host_of: pa.Table) -> pa.Table:
    import duckdb

    with duckdb.connect(":memory:") as connection:
        connection.register("candidates", candidates)
        connection.register("host_of", host_of)
        return connection.sql(
            "SELECT recipe, key, any_value(images) AS images, list(coalesce(host, '')) AS hosts FROM "
            "(SELECT recipe, key, images, unnest(images) AS image FROM candidates) LEFT JOIN host_of USING (image) "
            "GROUP BY recipe, key ORDER BY recipe, key"
        ).to_arrow_table()
