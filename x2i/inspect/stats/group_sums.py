"""Sums by value over a stream of tables: exact for any number of distinct values, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    import duckdb
    import numpy as np

ROWS_IN_MEMORY = 30_000
MEMORY = "128MB"


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


class Tally:
    """Adds up measures by the values of `field`. More than ROWS_IN_MEMORY values go to a DuckDB table on disk."""

    def __init__(self, field: str, measures: Sequence[str]) -> None:
        self._field = field
        self._measures = tuple(measures)
        self._sums: dict[str, list[float]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._spilled: duckdb.DuckDBPyConnection | None = None

    def add(self, values: pa.Array | pa.ChunkedArray, measures: Mapping[str, np.ndarray]) -> None:
        """Adds rows: their values (strings; null counts as "") and their measures, in step."""
        table = pa.table({"value": values.fill_null(""), **{name: measures[name] for name in self._measures}})
        summed = table.group_by("value").aggregate([(name, "sum") for name in self._measures])
        columns = [summed[f"{name}_sum"].to_pylist() for name in self._measures]
        for number, value in enumerate(summed["value"].to_pylist()):
            held = self._sums.setdefault(value, [0.0] * len(columns))
            for place, column in enumerate(columns):
                held[place] += column[number]
        if len(self._sums) > ROWS_IN_MEMORY:
            self._spill()

    def ranking(self, most: int) -> Ranking:
        """Returns the `most` largest groups and what the others come to. To be called once, at the end."""
        if self._spilled is None:
            ordered = sorted(self._sums.items(), key=lambda item: (-item[1][0], item[0]))
            top, tail = ordered[:most], ordered[most:]
            rest = [sum(sums[place] for _, sums in tail) for place in range(len(self._measures))]
            return self._ranking(top, len(tail), rest)
        self._spill()
        try:
            sums = ", ".join(f"sum({name}) AS {name}" for name in self._measures)
            self._spilled.execute(f"CREATE TABLE ranked AS SELECT value, {sums} FROM spilled GROUP BY value")
            order = f"ORDER BY {self._measures[0]} DESC, value"
            rows = self._spilled.execute(f"SELECT * FROM ranked {order} LIMIT ?", [most]).fetchall()
            whole = self._spilled.execute(f"SELECT count(*), {sums} FROM ranked").fetchone() or (0,)
            rest = [whole[place + 1] - sum(row[place + 1] for row in rows) for place in range(len(self._measures))]
            return self._ranking([(row[0], list(row[1:])) for row in rows], whole[0] - len(rows), rest)
        finally:
            self._spilled.close()
            if self._folder is not None:
                self._folder.cleanup()

    def _ranking(self, top: Sequence[tuple[str, Sequence[float]]], others: int, rest: Sequence[float]) -> Ranking:
        groups = tuple(Group(name, dict(zip(self._measures, sums))) for name, sums in top)
        return Ranking(self._field, groups, others, dict(zip(self._measures, rest)) if others else {})

    def _spill(self) -> None:
        import duckdb

        if self._spilled is None:
            self._folder = tempfile.TemporaryDirectory(prefix="x2i-tally-")
            place = str(Path(self._folder.name) / "tally.duckdb")
            self._spilled = duckdb.connect(place, config={"memory_limit": MEMORY, "threads": "2"})
            self._spilled.execute("SET enable_progress_bar = false")  # it would print among the numbers
            columns = ", ".join(f"{name} DOUBLE" for name in self._measures)
            self._spilled.execute(f"CREATE TABLE spilled (value VARCHAR, {columns})")
        rows = {name: [sums[place] for sums in self._sums.values()] for place, name in enumerate(self._measures)}
        self._spilled.register("held", pa.table({"value": list(self._sums), **rows}))
        self._spilled.execute("INSERT INTO spilled SELECT * FROM held")
        self._spilled.unregister("held")
        self._sums.clear()
