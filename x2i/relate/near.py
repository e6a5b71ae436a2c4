"""Near duplicates: images whose perceptual hashes differ in few bits, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

BANDS, BAND_BITS = 4, 16
MAX_DISTANCE = 15
CHUNK = 1 << 20


def near_pairs(hashes_N: NDArray[np.uint64], max_distance: int) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows (i < j, sorted) that link every two hashes at Hamming distance <= max_distance.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): if two hashes differ in at most d bits, then one of
    their 4 bands of 16 bits differs in at most d // 4; so only hashes with such a band are compared. Nothing within the
    distance is missed. Rows with equal hashes are given as a chain through the first of them, not as all pairs.

    Raises ValueError if max_distance is not in 0..15.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance is {max_distance}; expected 0 to {MAX_DISTANCE}")
    unique_U, first_U, group_N = np.unique(hashes_N.astype(np.uint64), return_index=True, return_inverse=True)
    rows = np.arange(len(hashes_N))
    equal_P2 = np.stack([first_U[group_N], rows], axis=1)[first_U[group_N] != rows]
    found = [first_U[pairs] for pairs in _unique_pairs(unique_U, max_distance)]
    pairs_P2 = np.sort(np.concatenate([equal_P2, *found]).astype(np.int64), axis=1)
    return np.unique(pairs_P2, axis=0)


def hamming_distances(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Returns in how many bits each hash of `a` differs from its partner in `b`: 0 to 64."""
    return np.bitwise_count(a ^ b).astype(np.int32)


def clusters(count: int, pairs_P2: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each of `count` rows the smallest row it is linked to through pairs, itself included."""
    parent = list(range(count))
    for a, b in pairs_P2.tolist():
        a, b = _root(parent, a), _root(parent, b)
        parent[max(a, b)] = min(a, b)
    return np.array([_root(parent, row) for row in range(count)], np.int64)


def _unique_pairs(hashes_U: NDArray[np.uint64], max_distance: int) -> Iterator[NDArray[np.int64]]:
    flips = [
        sum(1 << bit for bit in bits)
        for count in range(max_distance // BANDS + 1)
        for bits in combinations(range(BAND_BITS), count)
    ]
    for band in range(BANDS):
        values_U = (hashes_U >> np.uint64(BAND_BITS * band)).astype(np.int64) & ((1 << BAND_BITS) - 1)
        order_U = np.argsort(values_U, kind="stable")
        sorted_U = values_U[order_U]
        for flip in flips:
            start_U = np.searchsorted(sorted_U, values_U ^ flip, side="left")
            stop_U = np.searchsorted(sorted_U, values_U ^ flip, side="right")
            yield from _close(hashes_U, order_U, start_U, stop_U, max_distance)


def _close(
    hashes_U: NDArray[np.uint64],
    order_U: NDArray[np.int64],
    start_U: NDArray[np.int64],
    stop_U: NDArray[np.int64],
    max_distance: int,
) -> Iterator[NDArray[np.int64]]:
    """Yields the pairs within the distance, where row i meets order_U[start_U[i]:stop_U[i]]; bounded memory a piece."""
    length_U = stop_U - start_U
    total_U = np.cumsum(length_U)
    begin = 0
    while begin < len(hashes_U):
        before = int(total_U[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(total_U, before + CHUNK, side="right")))
        piece = slice(begin, end)
        left = np.repeat(np.arange(begin, end), length_U[piece])
        offset = np.arange(len(left)) - np.repeat(total_U[piece] - length_U[piece] - before, length_U[piece])
        right = order_U[np.repeat(start_U[piece], length_U[piece]) + offset]
        kept = (left < right) & (hamming_distances(hashes_U[left], hashes_U[right]) <= max_distance)
        yield np.stack([left[kept], right[kept]], axis=1)
        begin = end


def _root(parent: list[int], row: int) -> int:
    while parent[row] != row:
        parent[row] = parent[parent[row]]
        row = parent[row]
    return row
