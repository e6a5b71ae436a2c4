"""Ranks images by SQL expressions: which of several that show the same thing is to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from x2i.errors import UserError
from x2i.store.query.predicates import check_predicate
from x2i.store.query.views import IMAGES, connect, describe_tables, list_views

if TYPE_CHECKING:
    import pyarrow as pa

    from x2i.store import Dataset

CAPTIONED_AND_LARGE = ("images.text <> ''", "images.width * images.height")


def tables_of(expressions: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns and relations that the expressions name, `images` left out. Raises UserError as `ranked`."""
    named = frozenset[str]().union(*(check_predicate(text, text) for text in expressions))
    return tuple(sorted(named - {IMAGES}))


def ranked(dataset: Dataset, expressions: Sequence[str], made_by: Mapping[str, str]) -> pa.Table:
    """Returns key and rank of every stored image in key order; 0 is the best.

    expressions: of SQL over images and tables of one row per image, such as "aesthetic.score"; larger values and true
    are better, NULL is worst; the first one decides, the next where it gives the same, and the key in the end.
    made_by: table -> the command that makes it, for messages. Raises UserError for expressions that DuckDB refuses.
    """
    import duckdb

    views = list_views(dataset)
    tables = tables_of(expressions)
    with connect(dataset, views, tables, made_by) as connection:
        joined = [name for name in tables if name in views and not views[name].has_many_rows]
        joins = " ".join(f'LEFT JOIN "{name}" ON "{name}".key = images.key' for name in joined)
        order = ", ".join([*(f"(\n{text}\n) DESC NULLS LAST" for text in expressions), "images.key"])
        try:
            return connection.sql(
                f"SELECT images.key, row_number() OVER (ORDER BY {order}) - 1 AS rank FROM images {joins} "
                "ORDER BY images.key"
            ).to_arrow_table()
        except duckdb.Error as error:
            raise UserError(f"prefer: DuckDB says: {error}\n{describe_tables(connection)}") from error
