"""Writing a file so that it is there whole or not at all, whatever kills the process."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

TEMPORARY_MARK = ".tmp-"


@contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary sibling of `path` for writing; renames it to `path` after an fsync if the block succeeds.

    The temporary name is unique to this writer, so two writers of one file do not meet. On an exception it is removed;
    after a SIGKILL it stays, and `remove_temporaries` clears it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with open(temporary, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with atomic_file(path) as stream:
        stream.write(data)


def write_json(path: Path, document: Any) -> None:
    """Writes `document` to `path` atomically as indented JSON with sorted keys and a final newline."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_bytes(path, text.encode() + b"\n")


def write_table(path: Path, table: pa.Table) -> None:
    """Writes `table` to `path` atomically as Parquet: zstd, fixed settings, so that equal tables give equal bytes."""
    with atomic_file(path) as stream:
        pq.write_table(table, stream, compression="zstd", version="2.6", row_group_size=64 * 1024, store_schema=False)


def remove_temporaries(folder: Path) -> int:
    """Deletes what killed writers left in `folder` (not below it); returns how many files that were."""
    count = 0
    for path in folder.glob(f"*{TEMPORARY_MARK}*") if folder.is_dir() else ():
        path.unlink(missing_ok=True)
        count += 1
    return count


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
