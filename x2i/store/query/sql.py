"""Any SQL query over a dataset's images, columns and relations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x2i.errors import UserError
from x2i.store.query.views import connect, describe_tables, list_views

if TYPE_CHECKING:
    import duckdb

    from x2i.store import Dataset


def query(dataset: Dataset, sql: str) -> duckdb.DuckDBPyRelation:
    """Returns the rows that a SELECT gives, as a DuckDB relation, which is computed when it is read.

    Raises UserError, with the tables and columns there are, if DuckDB refuses the query.
    """
    import duckdb

    connection = connect(dataset, list_views(dataset))
    try:
        kinds = [statement.type for statement in connection.extract_statements(sql)]
        if kinds == [duckdb.StatementType.SELECT]:
            return connection.sql(sql)
    except duckdb.Error as error:
        raise UserError(f"query: DuckDB says: {error}\n{describe_tables(connection)}") from error
    raise UserError(f"query: expected one SELECT, found {sql!r}")
