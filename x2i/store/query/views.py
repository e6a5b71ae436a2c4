"""Selections: named SQL predicates over a dataset's images, columns and relations, run by a DuckDB that is locked in.

Every committed column and relation is a view under its own name, beside `images`, which holds the stored images. The
connection lives in memory, sees only these tables, and cannot touch files, the network or its own settings. A predicate
is one expression that is true or false for a row, such as

    quality.min_side >= 512 AND NOT duplicates.is_duplicate

Views that declare one row per image can be used as they are. Of a view with many, such as the entities found in an
image, ask with EXISTS (SELECT 1 FROM entities WHERE entities.key = images.key AND ...), except in a recipe that makes a
sample of each row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from x2i.errors import UserError, damaged_file
from x2i.store import paths
from x2i.store.commits import list_commits, list_stages
from x2i.store.files.cache import local_copy
from x2i.store.query.predicates import check_predicate, refused
from x2i.store.stages import table_of
from x2i.tables import TableSpec, without_half_floats

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from x2i.store import Dataset

IMAGES = "images"
NAMED_PREDICATE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(?!=)(.+)", re.DOTALL)
IMAGE_CANDIDATES = "SELECT [key] AS keys, '' AS suffix FROM images"
_ATTEMPTS = "attempted_images"


@dataclass(frozen=True)
class View:
    """One committed table: its files in partition order, and the digest of each (path in the dataset -> sha256)."""

    name: str
    files: tuple[Path, ...]
    digests: Mapping[str, str]

    @cached_property
    def spec(self) -> TableSpec | None:
        """The table's declaration, as its first file holds it."""
        return TableSpec.read(local_copy(self.files[0])) if self.name != IMAGES else None

    @property
    def has_many_rows(self) -> bool:
        """Whether an image may have several rows; so it is of a table that does not declare the contrary."""
        return self.name != IMAGES and (self.spec is None or self.spec.rows == "many")


@dataclass(frozen=True)
class Verdicts:
    """What a selection came to. kept: the candidates that fulfill every predicate, in the order of their keys.

    not_selected: how many candidates failed which predicate, each counted once, at the first that failed.
    """

    candidates: int
    kept: pa.Table
    not_selected: Mapping[str, int]


@dataclass(frozen=True)
class Selection:
    """Predicates by name, in the order in which they are asked; a row is kept if all are true (NULL is not)."""

    predicates: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Selection:
        """Reads `PREDICATE` or `NAME=PREDICATE` texts; a predicate without a name is called by its own text."""
        predicates: dict[str, str] = {}
        for text in texts:
            named = NAMED_PREDICATE.fullmatch(text.strip())
            name, predicate = (named[1], named[2].strip()) if named else (text.strip(), text.strip())
            if name in predicates:
                raise UserError(f"selection: two predicates are called {name!r}: give each its own name")
            predicates[name] = predicate
        return cls(predicates)

    def tables(self) -> frozenset[str]:
        """Returns every table that the predicates name. Raises UserError if one of them is not a lawful predicate."""
        return frozenset().union(*(check_predicate(name, text) for name, text in self.predicates.items()))


def list_views(dataset: Dataset) -> dict[str, View]:
    """Returns every view that exists, by name: images, columns and relations. Uncommitted files are not seen."""
    digests: dict[str, dict[str, str]] = {}
    for stage in list_stages(dataset.root):
        for commit in list_commits(dataset.root, stage):
            for path, entry in commit.outputs.items():
                name = _view_of(path)
                if name is not None:
                    digests.setdefault(name, {})[path] = entry["sha256"]
    return {
        name: View(name, tuple(dataset.root / path for path in sorted(files)), dict(sorted(files.items())))
        for name, files in sorted(digests.items())
    }


def missing(views: Mapping[str, View], names: Iterable[str], made_by: Mapping[str, str]) -> str | None:
    """Says which of the tables `names` has not been made, and how to make it; None if all are there.

    made_by: table -> the command that makes it, without `x2i`. Names that it lacks are not asked for.
    """
    for name in names:
        if name in made_by and name not in views:
            there = ", ".join(views) or "none"
            return f"{name} has not been made: run `x2i {made_by[name]}` first (there are: {there})"
    return None


MEMORY = "256MB"
"""What DuckDB holds of a plan before it writes to disk."""


def connect(
    dataset: Dataset,
    views: Mapping[str, View],
    needs: Iterable[str] = (),
    made_by: Mapping[str, str] = MappingProxyType({}),
    spill: Path | None = None,
) -> duckdb.DuckDBPyConnection:
    """Returns a locked connection in memory on `views`. Close it after use.

    spill: a folder for what sorts and joins hold beyond MEMORY; None: they hold it in memory.
    Raises UserError if there are no images, or if one of `needs` has not been made: see `missing`.
    """
    import duckdb
    import pyarrow.dataset

    if IMAGES not in views:
        raise UserError(f"{dataset.root}: no images yet: run `x2i crawl` or `x2i import` first")
    absent = missing(views, needs, made_by)
    if absent:
        raise UserError(f"{dataset.root}: {absent}")
    connection = duckdb.connect(":memory:")
    for name, view in views.items():
        files = [local_copy(file) for file in view.files]
        rows = pyarrow.dataset.dataset(files, format="parquet")  # names the file if it is damaged
        if (schema := without_half_floats(rows.schema)) != rows.schema:
            rows = pyarrow.dataset.dataset(files, format="parquet", schema=schema)
        connection.register(_ATTEMPTS if name == IMAGES else name, rows)
    connection.execute(f"CREATE VIEW {IMAGES} AS SELECT * FROM {_ATTEMPTS} WHERE status = 'ok'")
    connection.execute("SET enable_progress_bar = false")
    if spill is not None:
        connection.execute("SET temp_directory = ?", [str(spill)])
        connection.execute("SET memory_limit = ?", [MEMORY])
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    return connection


def select(
    connection: duckdb.DuckDBPyConnection,
    views: Mapping[str, View],
    selection: Selection,
    candidates: str = IMAGE_CANDIDATES,
    rows: Sequence[str] = (),
    joins: str = "",
) -> Verdicts:
    """Asks every candidate the predicates of `selection`; a candidate of several images is kept if all its images pass.

    views: those that `connection` was made of. candidates: a SELECT with the columns keys (VARCHAR[]: image keys) and
    suffix; its other columns are handed through.
    rows, joins: the views of several rows per image of which a candidate means one row, and the JOIN that finds it,
    against `candidate`: the columns of `candidates` and `image_key`.
    For each column that a predicate names, an image without a row in it fails the added predicate `<view>_is_known`.

    Raises UserError naming the predicate, what DuckDB said, and the views and columns there are.
    """
    import duckdb

    tables = _tables(connection)
    used = selection.tables() & set(tables)
    several = {name for name in used & set(views) if views[name].has_many_rows}
    joined = sorted(used - several - {IMAGES, _ATTEMPTS})
    left = " ".join(f'LEFT JOIN "{view}" ON "{view}".key = candidate.image_key' for view in joined)
    source = (
        f"FROM (SELECT *, unnest(keys) AS image_key FROM chosen) AS candidate "
        f"JOIN images ON images.key = candidate.image_key {left} {joins}"
    )
    predicates = {f"{view}_is_known": f'"{view}".key IS NOT NULL' for view in joined} | dict(selection.predicates)
    try:
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE chosen AS "
            f"SELECT row_number() OVER (ORDER BY keys, suffix) - 1 AS number, * FROM ({candidates})"
        )
        for name, text in predicates.items():
            _try_predicate(connection, name, text, source, sorted(several - set(rows)))
        return _verdicts(connection, predicates, source)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as error:
        if damaged := damaged_file(error):
            raise damaged from error
        raise UserError(f"selection: DuckDB says: {error}\n{describe_tables(connection)}") from error


def _verdicts(connection: duckdb.DuckDBPyConnection, predicates: Mapping[str, str], source: str) -> Verdicts:
    cases = [f"WHEN NOT coalesce((\n{text}\n), false) THEN {number}" for number, text in enumerate(predicates.values())]
    failed = f"min(CASE {' '.join(cases)} END)" if cases else "NULL"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE verdicts AS "
        f"SELECT candidate.number, {failed}::INTEGER AS failed {source} GROUP BY candidate.number, candidate.keys "
        "HAVING count(DISTINCT candidate.image_key) = len(list_distinct(candidate.keys))"  # all images still stored
    )
    kept = connection.sql(
        "SELECT chosen.* EXCLUDE (number) FROM chosen JOIN verdicts ON verdicts.number = chosen.number "
        "WHERE failed IS NULL ORDER BY chosen.number"
    ).to_arrow_table()
    counts = connection.execute("SELECT failed, count(*) FROM verdicts GROUP BY 1 ORDER BY 1").fetchall()
    names = list(predicates)
    not_selected = {names[number]: count for number, count in counts if number is not None}
    return Verdicts(sum(count for _, count in counts), kept, not_selected)


def _try_predicate(
    connection: duckdb.DuckDBPyConnection, name: str, text: str, source: str, several: Sequence[str]
) -> None:
    import duckdb

    described = describe_tables(connection)
    try:
        found = connection.execute(f"SELECT (\n{text}\n) {source} LIMIT 0").description
        connection.execute(f"SELECT min(CASE WHEN (\n{text}\n) THEN 1 END) {source} LIMIT 0")
    except duckdb.Error as error:
        hint = f"\n{several[0]} has several rows per image: EXISTS (SELECT 1 FROM {several[0]} ...)" if several else ""
        raise refused(name, text, f"DuckDB says: {error}{hint}\n{described}") from error
    kind = str(found[0][1]) if found else "nothing"
    if kind.upper() not in ("BOOLEAN", "BOOL"):
        raise refused(
            name,
            text,
            f"expected an expression that is true or false, found one of type {kind} "
            f"(NAME=PREDICATE gives a predicate a name; write a comparison as view.column = value)\n{described}",
        )


def _tables(connection: duckdb.DuckDBPyConnection) -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE NOT internal AND table_name NOT IN ('chosen', 'verdicts', ?) GROUP BY 1",
        [_ATTEMPTS],
    ).fetchall()
    return dict(sorted(rows))


def describe_tables(connection: duckdb.DuckDBPyConnection) -> str:
    """Returns the tables of a connection with their columns, for messages."""
    lines = [f"  {name}: {', '.join(columns)}" for name, columns in _tables(connection).items()]
    return "Views and their columns here:\n" + "\n".join(lines)


def _view_of(path: str) -> str | None:
    is_index = path.startswith(f"{IMAGES}/") and path.endswith(paths.INDEX_SUFFIX)
    return IMAGES if is_index else table_of(path)
