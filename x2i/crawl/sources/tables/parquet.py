"""Reading Parquet tables column by column, as batches of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc

from x2i.crawl.sources.batch import source_table, strings
from x2i.crawl.sources.notes import PlanningNotes
from x2i.crawl.sources.options import TableOptions
from x2i.crawl.sources.tables.columns import ColumnMapping, cell_text
from x2i.errors import UserError

IMAGE_COLUMNS = ("image", "img", "images", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes")
ROWS_AT_ONCE = 64 * 1024
ROWS_OF_KEPT = 4096
"""Rows per batch if further columns are kept: those may be large."""


def parquet_rows(file: str, stream: IO[bytes], columns: TableOptions, notes: PlanningNotes) -> Iterator[pa.Table]:
    """Yields the rows of a Parquet file; only the columns that are needed are read, a piece at a time.

    Raises UserError for columns that are missing or cannot be text, and for a file that is damaged.
    """
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(stream, pre_buffer=False, buffer_size=2**20) as parquet:
            schema = parquet.schema_arrow
            images = [field.name for field in schema if _is_image(field)]
            mapping = ColumnMapping.resolve(file, schema.names, columns, notes, images)
            _require_text(file, schema, mapping)
            rows = ROWS_OF_KEPT if mapping.keep else ROWS_AT_ONCE
            for batch in parquet.iter_batches(batch_size=rows, columns=mapping.names):
                if batch.num_rows:
                    yield _source_table(batch, mapping, notes)
    except pa.ArrowException as error:
        raise UserError(f"{file}: cannot be read as parquet: {error}") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read as parquet (damaged or cut short?): {error}") from error


def _source_table(batch: pa.RecordBatch, mapping: ColumnMapping, notes: PlanningNotes) -> pa.Table:
    columns = {"license": _texts(batch.column(mapping.license))} if mapping.license else {}
    if mapping.text:
        column = batch.column(mapping.text)
        texts = _texts(column) if _is_string(column.type) and not mapping.is_label else None
        if texts is None or pc.any(pc.starts_with(texts, "[")).as_py():
            texts = strings([mapping.caption(value, notes) for value in column.to_pylist()])
        columns["text"], columns["text_source"] = texts, mapping.text_sources(texts)
    if mapping.keep:
        kept = batch.select(list(dict.fromkeys(mapping.keep))).to_pylist()
        columns["extra"] = strings([mapping.extra(row) for row in kept])
    return source_table(_texts(batch.column(mapping.url)), **columns)


def _texts(column: pa.Array) -> pa.Array:
    """Returns a column as `cell_text` would make it, without nulls."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_null(kind):
        return pa.repeat("", len(column))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        try:
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            return strings([cell_text(value) for value in column.to_pylist()])
    elif not _is_string(kind):
        return strings([cell_text(value) for value in column.to_pylist()])
    return pc.utf8_trim_whitespace(pc.fill_null(column.cast(pa.string()), ""))


def _is_image(field: pa.Field) -> bool:
    """Whether a column holds encoded images: Hugging Face's struct of bytes and path, or bytes under such a name."""
    kind = field.type
    if pa.types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    is_binary = _is_any(kind, pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
    return is_binary and field.name.lower() in IMAGE_COLUMNS


def _require_text(file: str, schema: pa.Schema, mapping: ColumnMapping) -> None:
    for option, name in (("--url-col", mapping.url), ("--text-col", mapping.text)):
        kind = schema.field(name).type if name else pa.string()
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        is_lists = _is_any(kind, pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        texts_in_list = is_lists and option == "--text-col" and _is_string(kind.value_type)
        if _is_any(kind, pa.types.is_nested) and not texts_in_list:
            raise UserError(
                f"{file}: column {name!r} holds {kind}, not text: choose another with {option} (there are: "
                f"{', '.join(schema.names)})"
            )


def _is_string(kind: pa.DataType) -> bool:
    return _is_any(kind, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def _is_any(kind: pa.DataType, *tests: Callable[[Any], bool]) -> bool:
    return any(test(kind) for test in tests)
