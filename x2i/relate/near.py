"""Near duplicates: images whose perceptual hashes differ in few bits, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

BANDS, BAND_BITS = 4, 16
BLOCK = 1 << 21
"""Candidates compared at once."""
MAX_DISTANCE = 15


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
    found = [np.zeros((0, 2), np.int64)]
    for band in range(BANDS):
        band_U = (unique_U >> np.uint64(BAND_BITS * band)).astype(np.uint16)
        order_U = np.argsort(band_U, kind="stable")
        sorted_U = unique_U[order_U]
        for left_C, right_C in _candidates(band_U[order_U], max_distance // BANDS):
            near_C = np.bitwise_count(sorted_U[left_C] ^ sorted_U[right_C]) <= max_distance
            found.append(order_U[np.stack([left_C[near_C], right_C[near_C]], axis=1)])
    equal_N2 = np.stack([first_U[group_N], np.arange(len(hashes_N))], axis=1)
    pairs_P2 = np.sort(np.concatenate([first_U[np.concatenate(found)], equal_N2]), axis=1)
    return np.unique(pairs_P2[pairs_P2[:, 0] != pairs_P2[:, 1]], axis=0)


def _candidates(band_U: NDArray[np.uint16], flips: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields pairs of places in `band_U`, which is sorted, whose values differ in at most `flips` bits, each once.

    They are joined bucket by bucket, at most BLOCK pairs at a time or what one place has.
    """
    value_U = band_U.astype(np.int64)
    start_V = np.searchsorted(value_U, np.arange((1 << BAND_BITS) + 1))
    for bits in (bits for count in range(flips + 1) for bits in combinations(range(BAND_BITS), count)):
        other_U = value_U ^ sum(1 << bit for bit in bits)
        first_U, last_U = start_V[other_U], start_V[other_U + 1]
        if bits:
            last_U = np.where(value_U < other_U, last_U, first_U)
        else:
            first_U = np.arange(len(value_U)) + 1
        count_U = last_U - first_U
        total_U = np.concatenate([[0], np.cumsum(count_U)])
        start = 0
        while start < len(value_U):
            stop = max(start + 1, int(np.searchsorted(total_U, total_U[start] + BLOCK, side="right")) - 1)
            some = slice(start, stop)
            left_C = np.repeat(np.arange(start, stop), count_U[some])
            before_C = np.repeat(total_U[some] - total_U[start] - first_U[some], count_U[some])
            yield left_C, np.arange(len(left_C)) - before_C
            start = stop


def hamming_distances(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Returns in how many bits each hash of `a` differs from its partner in `b`: 0 to 64."""
    return np.bitwise_count(a ^ b).astype(np.int32)


def clusters(count: int, pairs_P2: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each of `count` rows the smallest row it is linked to through pairs, itself included."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs_P2), bool), pairs_P2.T), (count, count))
    _, label_N = connected_components(links, directed=False)
    _, first = np.unique(label_N, return_index=True)
    return first[label_N].astype(np.int64)
