"""Tables with images inside: Parquet files, and Arrow streams as `datasets.save_to_disk` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.errors import UserError
from x2i.store.files.cache import local_copy

TABLE_SUFFIXES = (".parquet", ".arrow")


def read_schema(path: Path) -> pa.Schema:
    """Returns a table's schema. Raises UserError if it cannot be read."""
    try:
        if path.suffix == ".arrow":
            return _stream(path).schema
        return pq.read_schema(local_copy(path))
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read as a table: {error}") from error


def read_groups(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yields a table's row groups or record batches in order, with these columns; "image.path" is a field of a struct.

    Raises UserError if the file is damaged.
    """
    try:
        if path.suffix == ".arrow":
            for batch in _stream(path):
                yield _selected(pa.Table.from_batches([batch]), columns)
            return
        with pq.ParquetFile(local_copy(path)) as file:
            for group in range(file.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                table = file.read_row_group(group, columns=list(columns))
                yield table if columns else pa.table({"": pa.nulls(count)})
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: cannot be read (damaged or cut short?): {error}") from error


def read_cells(path: Path, group: int, field: str) -> pa.ChunkedArray:
    """Returns one column of one row group or record batch."""
    if path.suffix == ".arrow":
        for number, batch in enumerate(_stream(path)):
            if number == group:
                return pa.chunked_array([batch.column(field)])
        raise OSError(f"has no record batch {group}")
    with pq.ParquetFile(local_copy(path)) as file:
        return file.read_row_group(group, columns=[field])[field]


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Returns the names of classes by column, where Hugging Face's features in the schema say them."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: f["names"] for name, f in features.items() if isinstance(f, dict) and f.get("names")}
    except (KeyError, TypeError, ValueError):
        return {}


def holds_images(kind: pa.DataType) -> bool:
    """Whether a column of this type holds encoded images: bytes, or Hugging Face's struct of bytes and path."""
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def holds_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts, or lists of texts."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _stream(path: Path) -> Any:
    return pa.ipc.open_stream(pa.memory_map(str(local_copy(path))))


def _selected(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Returns these columns, structs cut down to the fields that are named."""
    found = {}
    for name in columns:
        outer, _, inner = name.partition(".")
        column = table[outer].combine_chunks() if inner else table[name]
        found[outer] = pa.StructArray.from_arrays([column.field(inner)], [inner]) if inner else column
    return pa.table(found) if found else pa.table({"": pa.nulls(table.num_rows)})
