"""Which pairs of images are worth a comparison: neighbors by embedding, by votes of local features, within a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOTERS = 300
VOTER_NEIGHBORS = 8
MIN_VOTES = 3
FAR = 0.6
ROWS_PER_LIST = 500
PROBED_ROWS = 4000
TRAINING_ROWS_PER_LIST = 40
QUERY_ROWS = 1 << 15
EXACT_ROWS = 20_000
"""Up to so many embeddings all are compared with all; of more, those in the same and in near lists."""
MOST_VOTERS = 4_000_000
"""Features that vote, of all images together; of very many images fewer of each vote."""
GROUP_BLOCK = 2048
"""Of a larger group, images that follow one another are compared in blocks of so many."""


def embedding_pairs(embeddings_ND: NDArray[np.float32], neighbors: int) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows (i < j, sorted): each row with its `neighbors` nearest by dot product.

    embeddings_ND: rows of length 1. Of more than EXACT_ROWS the neighbors are approximate: see `_search`, to which the
    rows are given as whole numbers.
    """
    import faiss

    count, dimensions = embeddings_ND.shape
    if count < 2:
        return np.zeros((0, 2), np.int64)
    if count > EXACT_ROWS:
        codes_ND = _codes(embeddings_ND)
        near = [
            _sorted_pairs(np.repeat(np.arange(start, start + len(found)), found.shape[1]), found.ravel())
            for start, _, found in _search(codes_ND, neighbors + 1)
        ]
        return np.unique(np.concatenate(near), axis=0)
    index = faiss.IndexFlatIP(dimensions)
    index.add(np.ascontiguousarray(embeddings_ND, np.float32))
    _, found = index.search(np.ascontiguousarray(embeddings_ND, np.float32), min(count, neighbors + 1))
    return _sorted_pairs(np.repeat(np.arange(count), found.shape[1]), found.ravel())


def descriptor_pairs(descriptors: Sequence[NDArray[np.uint8]], neighbors: int) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows (i < j, sorted): each image with the `neighbors` that most of its features vote for.

    descriptors: per image an uint8 array (features, dimensions), strongest first; the VOTERS first of each take part,
    and fewer of each where that would be more than MOST_VOTERS.
    A feature votes once for each other image among its VOTER_NEIGHBORS nearest features, if that one is nearer than
    FAR times its own length. So a detail is found from its whole, and the whole from its detail, however different the
    two look from afar. An image needs MIN_VOTES votes.

    The search is an inverted file (Jegou, Douze and Schmid, PAMI 2011) over whole-number centroids and uint8 codes:
    all sums are exact, so the result does not depend on the number of threads.
    """
    most = max(MIN_VOTES, min(VOTERS, MOST_VOTERS // max(1, len(descriptors))))
    voters = [rows[:most] for rows in descriptors]
    owner_F = np.repeat(np.arange(len(voters)), [len(rows) for rows in voters])
    if len(np.unique(owner_F)) < 2:
        return np.zeros((0, 2), np.int64)
    features_FD = np.concatenate([rows for rows in voters if len(rows)])
    votes: list[NDArray[np.int64]] = []
    for start, distance_QK, found_QK in _search(features_FD, VOTER_NEIGHBORS + 1):
        rows = np.arange(start, start + len(found_QK))
        length_Q = (features_FD[rows].astype(np.float32) ** 2).sum(axis=1)
        voter_QK = np.broadcast_to(rows[:, None], found_QK.shape)
        near_QK = (found_QK >= 0) & (distance_QK < FAR**2 * length_Q[:, None])
        voter, elected = voter_QK[near_QK], owner_F[found_QK[near_QK]]
        other = owner_F[voter] != elected
        ballots = np.unique(np.stack([voter[other], elected[other]], axis=1), axis=0)
        votes.append(owner_F[ballots[:, 0]] * len(voters) + ballots[:, 1])  # a pair as one number: half the memory
    pair_V, count_V = np.unique(np.concatenate(votes), return_counts=True)
    pairs_V2 = np.stack(np.divmod(pair_V, len(voters)), axis=1)
    pairs_V2, count_V = pairs_V2[count_V >= MIN_VOTES], count_V[count_V >= MIN_VOTES]
    order = np.lexsort((pairs_V2[:, 1], -count_V, pairs_V2[:, 0]))
    chosen = pairs_V2[order]
    first = np.searchsorted(chosen[:, 0], chosen[:, 0])
    chosen = chosen[np.arange(len(chosen)) - first < neighbors]
    return _sorted_pairs(chosen[:, 0], chosen[:, 1])


def group_pairs(groups: Sequence[str], embeddings_ND: NDArray[np.float32], neighbors: int) -> NDArray[np.int64]:
    """Returns pairs_P2 of rows (i < j, sorted): each row with its `neighbors` nearest among those of its group.

    groups: of each row, "" for none. Work grows with the number of rows, not with its square: a group of more than
    GROUP_BLOCK rows is compared block by block.
    """
    names = np.asarray(groups, dtype=object)
    grouped = np.flatnonzero(names != "")
    order = grouped[np.argsort(names[grouped].astype(str), kind="stable")]
    starts = np.flatnonzero(names[order][1:] != names[order][:-1]) + 1
    found = []
    for rows in np.split(order, starts):
        for start in range(0, len(rows), GROUP_BLOCK):
            block = rows[start : start + GROUP_BLOCK]
            if len(block) < 2:
                continue
            likeness_BB = embeddings_ND[block] @ embeddings_ND[block].T
            np.fill_diagonal(likeness_BB, -np.inf)
            most = min(neighbors, len(block) - 1)
            nearest_BK = np.argsort(-likeness_BB, axis=1, kind="stable")[:, :most]
            found.append(_sorted_pairs(np.repeat(block, most), block[nearest_BK].ravel()))
    return np.unique(np.concatenate([np.zeros((0, 2), np.int64), *found]), axis=0)


def _codes(embeddings_ND: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns rows of length 1 as whole numbers, whose distances are in the order of theirs but for the rounding."""
    span = float(np.quantile(np.abs(embeddings_ND[:: max(1, len(embeddings_ND) // 4096)]), 0.999)) or 1.0
    return np.clip(np.rint((embeddings_ND / span + 1) * 127.5), 0, 255).astype(np.uint8)


def _search(features_FD: NDArray[np.uint8], most: int) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.int64]]]:
    """Yields (first row, squared distances_QK, rows_QK) of the `most` nearest, a batch of queries at a time."""
    import faiss

    count, dimensions = features_FD.shape
    lists = max(1, min(count // ROWS_PER_LIST, round(2 * count**0.5)))  # of more, finding the near ones would rule
    quantizer: Any = faiss.IndexFlatL2(dimensions)
    index: Any = faiss.IndexIVFScalarQuantizer(
        quantizer, dimensions, lists, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2, False
    )
    index.cp.int_centroids = True
    index.cp.min_points_per_centroid = 1
    index.cp.seed = 0
    index.cp.niter = 10
    index.nprobe = min(lists, max(1, round(PROBED_ROWS * lists / count)))
    step = max(1, count // (lists * TRAINING_ROWS_PER_LIST))
    index.train(features_FD[::step].astype(np.float32))
    near_FP = np.empty((count, index.nprobe), np.int32)  # found once, to add a row and to search for it
    for start in range(0, count, QUERY_ROWS):
        rows = features_FD[start : start + QUERY_ROWS].astype(np.float32)
        near = quantizer.search(rows, index.nprobe)[1]
        near_FP[start : start + len(rows)] = near
        nearest = np.ascontiguousarray(near[:, 0])
        index.add_core(len(rows), faiss.swig_ptr(rows), None, faiss.swig_ptr(nearest))
    for start in range(0, count, QUERY_ROWS):
        queries = features_FD[start : start + QUERY_ROWS].astype(np.float32)
        near = near_FP[start : start + len(queries)].astype(np.int64)
        yield start, *index.search_preassigned(queries, min(count, most), near, np.zeros(near.shape, np.float32))


def _sorted_pairs(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    pairs_P2 = np.sort(np.stack([a, b], axis=1).astype(np.int64), axis=1)
    pairs_P2 = pairs_P2[(pairs_P2[:, 0] >= 0) & (pairs_P2[:, 0] != pairs_P2[:, 1])]
    return np.unique(pairs_P2, axis=0)
