"""Where shards end: how many bytes each planned sample is expected to take, and how many samples fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def shard_bounds(sizes: Sequence[float], most_samples: int, most_bytes: float) -> Iterator[tuple[int, int]]:
    """Yields (start, stop) of consecutive shards: at most `most_samples` each, and `most_bytes` unless one has more."""
    start, held = 0, 0.0
    for number, size in enumerate(sizes):
        if number > start and (number - start >= most_samples or held + size > most_bytes):
            yield start, number
            start, held = number, 0.0
        held += size
    if start < len(sizes):
        yield start, len(sizes)


def expected_bytes(rows: pa.Table, max_side: int, bytes_per_pixel: float) -> list[float]:
    """Returns the expected size of the files of each planned sample, whose images shrink to fit `max_side`."""

    def flat(name: str) -> NDArray[np.float64]:
        return pc.list_flatten(rows[name]).to_numpy().astype(np.float64)

    width, height = flat("widths"), flat("heights")
    scale = np.minimum(1.0, max_side / np.maximum(width, height))
    sample = pc.list_parent_indices(rows["widths"]).to_numpy()
    pixels = np.bincount(sample, weights=width * height * scale**2, minlength=rows.num_rows)
    return [float(size) for size in 2048 + pixels * bytes_per_pixel]
