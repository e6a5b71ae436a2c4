"""Near duplicates: images whose perceptual hashes differ in few bits, found without comparing all with all.

Shapes: N hashes of W words of 64 bits, U distinct ones, P pairs, C candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

WORD_BITS, BAND_BITS = 64, 16
MOST_FLIPS = 3
"""Bits of a band that may differ: with more, nearly all hashes would be candidates."""
BLOCK = 1 << 21
"""Candidates compared at once."""


def near_pairs(hashes_NW: NDArray[np.uint64], max_distance: int) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows (i < j, sorted) that link every two hashes at Hamming distance <= max_distance.

    hashes_NW: W words each, 1 for a phash, 4 for a PDQ hash; those of one word may be given as (N,).

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): if two hashes differ in at most d bits, then one of
    their B bands of 16 bits differs in at most d // B; so only hashes with such a band are compared. Nothing within the
    distance is missed. Rows with equal hashes are given as a chain through the first of them, not as all pairs.

    Raises ValueError if max_distance is not in 0..15 for one word, 0..63 for four.
    """
    words_WN = np.atleast_2d(hashes_NW.astype(np.uint64).T)
    bands = [(word, shift) for word in range(len(words_WN)) for shift in range(0, WORD_BITS, BAND_BITS)]
    most = (MOST_FLIPS + 1) * len(bands) - 1
    if not 0 <= max_distance <= most:
        raise ValueError(f"max_distance is {max_distance}; expected 0 to {most}")
    count = words_WN.shape[1]
    words_WU, first_U, group_N = _distinct(words_WN)
    codes = np.zeros(0, np.int64)
    for word, shift in bands:
        band_U = (words_WU[word] >> np.uint64(shift)).astype(np.uint16)
        order_U = np.argsort(band_U, kind="stable")
        sorted_WU, row_U = words_WU[:, order_U], first_U[order_U]
        found = [codes]
        for left_C, right_C in _candidates(band_U[order_U], max_distance // len(bands)):
            distance_C = np.zeros(len(left_C), np.int16)
            for word_U in (*sorted_WU[word + 1 :], *sorted_WU[: word + 1]):  # the band's own word tells least: last
                distance_C += np.bitwise_count(word_U[left_C] ^ word_U[right_C])
                near_C = distance_C <= max_distance
                left_C, right_C, distance_C = left_C[near_C], right_C[near_C], distance_C[near_C]
            found.append(_codes(row_U[left_C], row_U[right_C], count))
        codes = _distinct_sorted(np.concatenate(found))  # most pairs are near in several bands
    equal = np.flatnonzero(first_U[group_N] != np.arange(count))
    codes = np.sort(np.concatenate([codes, _codes(first_U[group_N[equal]], equal, count)]))
    return np.stack(np.divmod(codes, max(1, count)), axis=1)


def hamming_distances(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.int32]:
    """Returns in how many bits each hash of `a` differs from its partner in `b`.

    a, b: (N,) for hashes of one word, (N, W) for those of several; one of them may be a single hash.
    """
    bits = np.bitwise_count(a ^ b).astype(np.int32)
    return bits if bits.ndim < 2 else bits.sum(axis=1, dtype=np.int32)


def clusters(count: int, pairs_P2: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each of `count` rows the smallest row it is linked to through pairs, itself included."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(pairs_P2), bool), pairs_P2.T), (count, count))
    _, label_N = connected_components(links, directed=False)
    _, first = np.unique(label_N, return_index=True)
    return first[label_N].astype(np.int64)


def _distinct(words_WN: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Returns the distinct hashes as words_WU, the first row that has each, and which of them each row has."""
    order_N = np.lexsort(words_WN)
    sorted_WN = words_WN[:, order_N]
    new_N = np.ones(len(order_N), bool)
    new_N[1:] = (sorted_WN[:, 1:] != sorted_WN[:, :-1]).any(axis=0)
    group_N = np.empty_like(order_N)
    group_N[order_N] = np.cumsum(new_N) - 1
    return np.ascontiguousarray(sorted_WN[:, new_N]), order_N[new_N], group_N


def _codes(a: NDArray[np.int64], b: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Returns pairs of rows as numbers, the smaller row first."""
    return np.minimum(a, b) * count + np.maximum(a, b)


def _distinct_sorted(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns what np.unique does, which hashes the numbers first and takes ten times as long."""
    codes = np.sort(codes)
    return codes[np.concatenate([[True], codes[1:] != codes[:-1]])[: len(codes)]]


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
