"""Sums of measures by the values of a field, the largest groups by name and the others together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Group:
    """One value of a field, and the sums of every measure over the rows that have it."""

    name: str
    sums: Mapping[str, float]


@dataclass(frozen=True)
class Ranking:
    """The largest groups of a field, by the first measure. others: how many more there are; rest: their sums."""

    field: str
    groups: tuple[Group, ...]
    others: int
    rest: Mapping[str, float]

    @property
    def distinct(self) -> int:
        return len(self.groups) + self.others


def rank_groups(
    database: duckdb.DuckDBPyConnection, table: str, field: str, measures: Mapping[str, str], most: int
) -> Ranking:
    """Returns the `most` largest groups of `table` by `field` (null counts as ""), equal ones in order of their names.

    measures: SQL expressions of one row by name; they are summed, and the first one ranks.
    """
    names = list(measures)
    sums = ", ".join(f"sum({expression}) AS {name}" for name, expression in measures.items())
    groups = f"SELECT coalesce(CAST({field} AS VARCHAR), '') AS value, {sums} FROM {table} GROUP BY 1"
    database.execute(f"CREATE OR REPLACE TEMP TABLE ranked AS {groups} ORDER BY {names[0]} DESC, value")
    largest = database.execute("SELECT * FROM ranked ORDER BY rowid LIMIT ?", [most]).fetchall()
    totals = ", ".join(f"sum({name})" for name in names)
    [(others, *rest)] = database.execute(f"SELECT count(*), {totals} FROM ranked WHERE rowid >= ?", [most]).fetchall()
    return Ranking(
        field,
        tuple(Group(name, dict(zip(names, values))) for name, *values in largest),
        others,
        dict(zip(names, rest)) if others else {},
    )
