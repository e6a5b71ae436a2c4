"""Exact duplicates: images whose stored bytes are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def exact_pairs(digests: Sequence[str]) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows with equal digests: each row beside the first that has its digest, first < row."""
    if not digests:
        return np.zeros((0, 2), np.int64)
    _, first, group = np.unique(np.asarray(digests), return_index=True, return_inverse=True)
    rows = np.arange(len(digests))
    pairs_P2 = np.stack([first[group], rows], axis=1)
    return pairs_P2[pairs_P2[:, 0] != rows]
