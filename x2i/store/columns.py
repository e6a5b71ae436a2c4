"""Columns beside the image store (keyed by image key, partitioned like it), and relations between images."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from x2i.errors import UserError
from x2i.store import paths
from x2i.store.files.atomic import read_table, write_table


def write_column(root: Path, name: str, partition: str, table: pa.Table) -> Path:
    """Writes the rows of column `name` for one image partition; `table` has a string field `key`. Returns the path."""
    assert table.schema.field("key").type == pa.string(), f"column {name} has no string field key"
    path = paths.column_file(root, name, partition)
    write_table(path, table)
    return path


def read_column(root: Path, name: str, partition: str) -> pa.Table:
    """Returns one partition of column `name`. Raises UserError if it has not been made."""
    path = paths.column_file(root, name, partition)
    if not path.exists():
        raise UserError(f"{root}: column {name!r} has no partition {partition}: run the stage that makes it first")
    return read_table(path)


def write_relation(root: Path, name: str, table: pa.Table) -> Path:
    """Writes relation `name` whole. Returns the path."""
    path = paths.relation_file(root, name)
    write_table(path, table)
    return path


def read_relation(root: Path, name: str) -> pa.Table:
    """Returns relation `name`. Raises UserError if it has not been made."""
    path = paths.relation_file(root, name)
    if not path.exists():
        maker = {"duplicates": "dedup", "subject_pairs": "subjects"}.get(name)
        first = f"run `x2i {maker}`" if maker else "run the stage that makes it"
        raise UserError(f"{root}: relation {name!r} does not exist yet: {first} first")
    return read_table(path)
