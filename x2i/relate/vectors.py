"""Stored vectors as rows of a file: unit length, mapped into memory, read and written in blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from x2i.errors import UserError
from x2i.store import paths
from x2i.store.files.cache import local_copy

if TYPE_CHECKING:
    from x2i.relate.similar import Vectors
    from x2i.store import Dataset

READ_ROWS = 4096
"""Vectors in memory at once, besides those being compared."""


def read_blocks(
    dataset: Dataset, column: str, fields: list[str], partitions: Iterable[str]
) -> Iterator[pa.RecordBatch]:
    """Yields these fields of the column's partitions, READ_ROWS rows at a time."""
    for partition in partitions:
        with pq.ParquetFile(local_copy(paths.column_file(dataset.root, column, partition))) as stored:
            yield from stored.iter_batches(READ_ROWS, columns=fields)


def map_unit_vectors(
    blocks: Iterable[tuple[NDArray[np.int64], pa.Array]], count: int, file: IO[bytes], column: str
) -> tuple[Vectors, NDArray[np.bool_]]:
    """Writes vectors, made unit vectors, into `file`. Returns vectors_ND, mapped, and which of the N there are.

    blocks: the row of each vector, -1 to leave it out, and the vectors as lists of numbers of one length, some null.
    column: their name for messages. Vectors of zeros count as missing. Raises UserError if the lengths differ.
    """
    known_N = np.zeros(count, bool)
    vectors_ND: Vectors | None = None
    for rows, lists in blocks:
        valid = np.flatnonzero((rows >= 0) & lists.is_valid().to_numpy(zero_copy_only=False))
        if not len(valid):
            continue
        values = lists.take(pa.array(valid)).flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        block = values.reshape(len(valid), -1)
        if vectors_ND is None:
            vectors_ND = np.memmap(file, np.float32, "w+", shape=(count, block.shape[1]))
        if block.shape[1] != vectors_ND.shape[1]:
            sizes = f"{vectors_ND.shape[1]} and of {block.shape[1]}"
            raise UserError(f"column {column!r} has vectors of {sizes} numbers: make it anew with one model")
        length = np.linalg.norm(block, axis=1, keepdims=True)
        vectors_ND[rows[valid]] = block / np.maximum(length, 1e-12)
        known_N[rows[valid]] = length[:, 0] > 0
    return (vectors_ND if vectors_ND is not None else np.zeros((count, 1), np.float32)), known_N
