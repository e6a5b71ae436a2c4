"""Columns beside the image store (keyed by image key, partitioned like it), and relations between images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.errors import UserError
from x2i.store import paths
from x2i.store.files.atomic import ROW_GROUP, read_table, write_table
from x2i.store.files.cache import local_copy
from x2i.tables import TableSpec, image_fields

TABLE_NAME = re.compile(r"[a-z][a-z0-9_]*")
"""What a column or relation may be called: a name in SQL, so that selections need no quotes."""
ROWS_WITH_IMAGES = 16
"""Rows of a row group of a table with encoded images: one image is read without the rest of its file."""


def write_column(root: Path, name: str, partition: str, table: pa.Table, spec: TableSpec | None = None) -> Path:
    """Writes the rows of column `name` for one image partition, in key order. Returns the path."""
    assert TABLE_NAME.fullmatch(name), f"{name!r} is no name of a column"
    assert table.schema.field("key").type == pa.string(), f"column {name} has no string field key"
    return _write(paths.column_file(root, name, partition), table, spec)


def read_column(root: Path, name: str, partition: str) -> pa.Table:
    """Returns one partition of column `name`. Raises UserError if it has not been made."""
    path = paths.column_file(root, name, partition)
    if not path.exists():
        raise UserError(f"{root}: column {name!r} has no partition {partition}: run the stage that makes it first")
    return read_table(path)


def read_column_rows(root: Path, name: str, partition: str, keys: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of column `name` about images `keys` of one partition: key -> its rows, which may be none.

    Only row groups that may hold one of the keys are read. Raises UserError if the column has not been made.
    """
    path = paths.column_file(root, name, partition)
    if not path.exists():
        raise UserError(f"{root}: column {name!r} has no partition {partition}: run the stage that makes it first")
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    with pq.ParquetFile(local_copy(path)) as file:
        groups = [number for number in range(file.num_row_groups) if _may_hold(file, number, keys)]
        for row in file.read_row_groups(groups, use_threads=False).to_pylist() if groups else ():
            if row["key"] in found:
                found[row["key"]].append(row)
    return found


def write_relation(root: Path, name: str, table: pa.Table, spec: TableSpec | None = None) -> Path:
    """Writes relation `name` whole. Returns the path."""
    assert TABLE_NAME.fullmatch(name), f"{name!r} is no name of a relation"
    return _write(paths.relation_file(root, name), table, spec)


def read_relation(root: Path, name: str) -> pa.Table:
    """Returns relation `name`. Raises UserError if it has not been made."""
    path = paths.relation_file(root, name)
    if not path.exists():
        raise UserError(f"{root}: relation {name!r} does not exist yet")
    return read_table(path)


def rewrite_table(path: Path, table: pa.Table) -> None:
    """Replaces the rows of the column partition or relation at `path`; `table` carries the declaration it had."""
    _write(path, table)


def _write(path: Path, table: pa.Table, spec: TableSpec | None = None) -> Path:
    row_group = ROWS_WITH_IMAGES if image_fields(table.schema) else ROW_GROUP
    write_table(path, spec.stamped(table) if spec else table, row_group=row_group)
    return path


def _may_hold(file: pq.ParquetFile, group: int, keys: Sequence[str]) -> bool:
    statistics = file.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return any(statistics.min <= key <= statistics.max for key in keys)
