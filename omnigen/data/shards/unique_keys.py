"""Finding keys that stand twice among millions: by a 64-bit hash of each, computed column-wise, then exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from omnigen.data.order.permutation import mix

_WORD = 8


def hash_texts(texts: pa.Array) -> npt.NDArray[np.uint64]:
    """Returns a hash of each text (large strings without nulls), which depends on its bytes alone."""
    if not len(texts):
        return np.empty(0, np.uint64)
    offsets = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
    lengths = np.diff(offsets)
    hashes = mix(lengths.astype(np.uint64))  # mixed: a length must not undo a difference of the first word
    for start in range(0, int(lengths.max()), _WORD):
        place = np.arange(start, start + _WORD)
        inside = place < lengths[:, None]
        chosen = np.where(inside, offsets[:-1, None] + place, 0)
        words = np.where(inside, data[chosen], 0).astype(np.uint8).view("<u8")[:, 0]
        hashes = np.where(lengths > start, mix(hashes ^ words), hashes)
    return hashes


def duplicates(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Returns the places of the hashes that stand more than once."""
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.flatnonzero(np.isin(hashes, twice)) if len(twice) else np.empty(0, np.int64)
