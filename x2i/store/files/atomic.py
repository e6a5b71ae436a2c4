"""Writing a file so that it is there whole or not at all, whatever kills the process."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from x2i.errors import REMEDY, RunError
from x2i.store.files.cache import WRITE_BUFFER, local_copy, stored_file
from x2i.store.files.remote import is_remote

TEMPORARY_MARK = ".tmp-"
ROW_GROUP = 64 * 1024
_PARQUET: dict[str, Any] = {"compression": "zstd", "version": "2.6", "store_schema": False}


@contextmanager
def atomic_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """Opens a temporary sibling of `path` for writing; renames it to `path` after an fsync if the block succeeds.

    durable: False leaves the fsync out, for files whose reader checks their contents against a digest kept elsewhere.

    The temporary name is unique to this writer, so two writers of one file do not meet. On an exception it is removed;
    after a SIGKILL it stays, and `remove_temporaries` clears it. On an object store the file is written here and put
    there whole, which is atomic by the store's own promise.
    """
    if is_remote(path):
        with stored_file(path) as stream:
            yield stream
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "wb", WRITE_BUFFER) as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _fsync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_file(path) as stream:
        stream.write(data)


def write_json(path: Path, document: Any) -> None:
    """Writes `document` to `path` atomically as indented JSON with sorted keys and a final newline."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def write_table(path: Path, table: pa.Table, durable: bool = True, row_group: int = ROW_GROUP) -> None:
    """Writes `table` to `path` atomically as Parquet: zstd, fixed settings, so that equal tables give equal bytes.

    row_group: rows of a row group.
    """
    # Parquet knows no lists of a fixed size: a copy of the schema in Arrow's own format says that they are.
    store_schema = any(pa.types.is_fixed_size_list(field.type) for field in table.schema)
    options = {**_PARQUET, "store_schema": store_schema}
    with atomic_file(path, durable) as stream, pq.ParquetWriter(stream, table.schema, **options) as writer:
        writer.write_table(table, row_group_size=row_group)
        if table.schema.metadata and not store_schema:  # with that copy it is written of itself
            writer.add_key_value_metadata(table.schema.metadata)


class TableFile:
    """Writes one Parquet file piece by piece, whole or not at all, as `write_table` would have written the pieces.

    Nothing is written, and no file is made, until the first piece; leaving the block with an exception leaves none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held = ExitStack()
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def __enter__(self) -> TableFile:
        return self

    def append(self, table: pa.Table) -> None:
        """Adds rows; all pieces have one schema."""
        self._waiting.append(table)
        self.rows += table.num_rows
        if sum(piece.num_rows for piece in self._waiting) >= ROW_GROUP:
            self._write(whole_groups=True)

    def _write(self, whole_groups: bool) -> None:
        table = pa.concat_tables(self._waiting)
        if self._writer is None:
            stream = self._held.enter_context(atomic_file(self._path))
            self._writer = self._held.enter_context(pq.ParquetWriter(stream, table.schema, **_PARQUET))
        end = table.num_rows // ROW_GROUP * ROW_GROUP if whole_groups else table.num_rows
        self._writer.write_table(table.slice(0, end), row_group_size=ROW_GROUP)
        self._waiting = [table.slice(end)]

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is None and any(piece.num_rows for piece in self._waiting):
            self._write(whole_groups=False)
        self._held.__exit__(kind, *rest)


class DamagedTableError(RunError, pa.ArrowInvalid):
    """A Parquet file that cannot be read."""


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Returns a Parquet file as a table, wherever it lies. Raises DamagedTableError, or FileNotFoundError."""
    copy = local_copy(path)
    try:
        with pq.ParquetFile(copy) as file:  # pq.read_table would import pandas
            table = file.read(columns)
        return table if columns is None else table.select(columns)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError, KeyError, pa.ArrowException) as error:
        raise DamagedTableError(f"{path}: is damaged ({str(error)[:200]}): {REMEDY}") from error


def read_columns(path: Path, columns: Sequence[str]) -> pa.Table:
    """Returns those of `columns` that a Parquet file has; quicker than `read_table` on small files."""
    with pq.ParquetFile(local_copy(path)) as file:
        return file.read([name for name in columns if name in file.schema_arrow.names], use_threads=False)


def remove_temporaries(folder: Path, name: str = "*") -> int:
    """Deletes what killed writers of `name` left in `folder` (not below it); returns how many files that were."""
    count = 0
    if is_remote(folder):
        return count
    for path in folder.glob(f"{name}{TEMPORARY_MARK}*") if folder.is_dir() else ():
        path.unlink(missing_ok=True)
        count += 1
    return count


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
