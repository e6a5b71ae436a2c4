"""What a predicate may be: one SQL expression over tables, with the same answer in every run."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from x2i.errors import UserError

if TYPE_CHECKING:
    import duckdb

_HARMLESS_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series"})


@functools.lru_cache(maxsize=1024)
def check_predicate(name: str, text: str) -> frozenset[str]:
    """Returns the table names that predicate `name` refers to, in lower case.

    Raises UserError, naming the predicate, unless `text` is one SQL expression that calls no table function (those read
    files) and nothing whose answer changes from run to run. DuckDB's own parser decides what the text is.
    """
    import duckdb

    try:
        with _locked_connection() as connection:
            node = _parse(connection, name, text)
    except duckdb.Error as error:
        raise refused(name, text, str(error)) from error
    tables: set[str] = set()
    for part in _walk(node):
        why = _forbidden(part, _fleeting_functions())
        if why:
            raise refused(name, text, why)
        tables |= _tables_of(part)
    return frozenset(tables)


def tested_field(text: str) -> tuple[str, str] | None:
    """Returns (table, field) of the only field that a lawful predicate looks at, None if it looks at several or none.

    A field is written `table.field`; a predicate with a subquery looks at more than one.
    """
    with _locked_connection() as connection:
        parts = list(_walk(_parse(connection, text, text)))
    if any(part.get("class") == "SUBQUERY" for part in parts):
        return None
    fields = {tuple(part["column_names"]) for part in parts if part.get("class") == "COLUMN_REF"}
    only = next(iter(fields)) if len(fields) == 1 else ()
    return (str(only[0]), str(only[1])) if len(only) == 2 else None


def refused(name: str, text: str, why: str) -> UserError:
    """The error about predicate `name`."""
    shown = f"{name!r}: {text}" if name != text else f"{text!r}"
    return UserError(f"selection {shown}\n{why}")


def _parse(connection: duckdb.DuckDBPyConnection, name: str, text: str) -> dict[str, Any]:
    statement = f"SELECT (\n{text}\n)"
    if len(connection.extract_statements(statement)) != 1:
        raise refused(name, text, "refused: expected one expression, found several statements")
    row = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise refused(name, text, f"refused: {tree.get('error_message', 'not an expression')}")
    node: dict[str, Any] = tree["statements"][0]["node"]
    # "1) FROM images WHERE (1" is one statement too; nothing but the expression may have become part of it
    plain = node["type"] == "SELECT_NODE" and node["from_table"]["type"] == "EMPTY" and len(node["select_list"]) == 1
    clauses = ("where_clause", "group_expressions", "group_sets", "having", "qualify", "sample", "modifiers")
    if not plain or any(node.get(clause) for clause in clauses):
        raise refused(name, text, "refused: expected one expression that is true or false for a row")
    return node


def _forbidden(part: dict[str, Any], fleeting: frozenset[str]) -> str | None:
    if part.get("type") == "TABLE_FUNCTION":
        called = str(part["function"]["function_name"]).lower()
        return None if called in _HARMLESS_TABLE_FUNCTIONS else f"refused: {called}() may not be called in a selection"
    function = str(part.get("function_name") or "").lower()
    if function in fleeting:
        return f"refused: {function}() gives another answer in every run"
    if part.get("sample"):
        return "refused: a random sample gives another answer in every run"
    if part.get("class") == "WINDOW":
        return "refused: a window function depends on the other candidates; use a subquery"
    if part.get("class") == "PARAMETER":
        return "refused: a parameter has no value here"
    return None


def _tables_of(part: dict[str, Any]) -> set[str]:
    columns = part.get("column_names") or []
    tables = {str(columns[0]).lower(), str(columns[-2]).lower()} if len(columns) > 1 else set()
    return tables | ({str(part["table_name"]).lower()} if part.get("table_name") else set())


def _walk(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _walk(child)


def _locked_connection() -> duckdb.DuckDBPyConnection:
    import duckdb

    return duckdb.connect(":memory:", config={"enable_external_access": "false", "lock_configuration": "true"})


@functools.cache
def _fleeting_functions() -> frozenset[str]:
    with _locked_connection() as connection:
        rows = connection.execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() "
            "WHERE stability IN ('VOLATILE', 'CONSISTENT_WITHIN_QUERY')"
        ).fetchall()
    return frozenset(str(row[0]).lower() for row in rows)
