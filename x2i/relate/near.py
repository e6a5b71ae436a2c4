"""Near duplicates: images whose perceptual hashes differ in few bits, found without comparing all with all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BANDS, BAND_BITS = 4, 16
MAX_DISTANCE = 15


def near_pairs(hashes_N: NDArray[np.uint64], max_distance: int) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows (i < j, sorted) that link every two hashes at Hamming distance <= max_distance.

    Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): if two hashes differ in at most d bits, then one of
    their 4 bands of 16 bits differs in at most d // 4; so only hashes with such a band are compared. Nothing within the
    distance is missed. Rows with equal hashes are given as a chain through the first of them, not as all pairs.

    Raises ValueError if max_distance is not in 0..15.
    """
    import faiss

    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance is {max_distance}; expected 0 to {MAX_DISTANCE}")
    unique_U, first_U, group_N = np.unique(hashes_N.astype(np.uint64), return_index=True, return_inverse=True)
    index = faiss.IndexBinaryMultiHash(64, BANDS, BAND_BITS)
    index.nflip = max_distance // BANDS
    codes_U8 = unique_U[:, None].view(np.uint8)
    index.add(codes_U8)
    bounds, _, right_P = index.range_search(codes_U8, max_distance + 1)  # faiss excludes the radius itself
    left_P = np.repeat(np.arange(len(unique_U)), (bounds[1:] - bounds[:-1]).astype(np.int64))
    found_P2 = first_U[np.stack([left_P, right_P], axis=1)[left_P < right_P]]
    equal_N2 = np.stack([first_U[group_N], np.arange(len(hashes_N))], axis=1)
    pairs_P2 = np.sort(np.concatenate([found_P2, equal_N2]), axis=1)
    return np.unique(pairs_P2[pairs_P2[:, 0] != pairs_P2[:, 1]], axis=0)


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
