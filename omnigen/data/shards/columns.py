"""Columns joined from many small pieces, batch by batch, so that joining needs little more memory than what stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

PIECES_AT_A_TIME = 256

Piece = TypeVar("Piece")


class Column(Generic[Piece]):
    """Collects pieces in order. join: makes one piece of several, copying them."""

    def __init__(self, join: Callable[[list[Piece]], Piece]) -> None:
        self._join = join
        self._waiting: list[Piece] = []
        self._joined: list[Piece] = []

    def add(self, piece: Piece) -> None:
        """Appends a piece."""
        self._waiting.append(piece)
        if len(self._waiting) == PIECES_AT_A_TIME:
            self._flush()

    def chunks(self) -> list[Piece]:
        """Returns what was added, in few large pieces; at least one if anything was added. The column is empty then."""
        if self._waiting:
            self._flush()
        chunks, self._joined = self._joined, []
        return chunks

    def _flush(self) -> None:
        self._joined.append(self._join(self._waiting))
        self._waiting = []


def text_column() -> Column[pa.LargeStringArray]:
    """Returns a column of large strings."""
    return Column(pa.concat_arrays)


def number_column() -> Column[npt.NDArray]:
    """Returns a column of NumPy arrays of one dtype."""
    return Column(np.concatenate)


def texts(column: Column[pa.LargeStringArray]) -> pa.ChunkedArray:
    """Returns the column as one array of few chunks, without copying."""
    return pa.chunked_array(column.chunks(), pa.large_string())


def numbers(column: Column[npt.NDArray]) -> npt.NDArray:
    """Returns the column as one array."""
    return np.concatenate(column.chunks())
