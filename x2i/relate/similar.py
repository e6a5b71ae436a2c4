"""Groups of vectors whose cosine is at least a threshold, found with k-means cells: exactly, or in near cells only.

SemDeDup (Abbas, Tirumala, Simig, Ganguli and Morcos, 2023) compares within the cells of a k-means clustering, and
misses pairs that a border divides. The exact search compares a vector with another cell too unless it is so far from
the plane between the two centers that nothing beyond the plane can be near it: nothing within the threshold is missed,
but with vectors of many dimensions nearly all cells are near. The search in cells compares a vector with those of its
C nearest cells, SemDeDup's own with C = 1.

Shapes: N vectors, D dimensions, K cells, P pairs, R rows that take part, C cells that a vector is compared with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x2i.relate.near import clusters

Vectors = NDArray[np.float32]
"""Unit vectors_ND; a memory map does: rows are read in blocks."""

ROWS_PER_CELL = 2000
TRAINING_ROWS_PER_CELL = 64
WHOLE = 1500
"""Length of vectors in whole numbers: products of two such are exact in float32, so that cells depend on no order."""
BLOCK = 4096
"""Rows compared at once; with as many others that is 64 MB of cosines."""
LINKS_KEPT = 1 << 22
LEADERS = 256
"""Representatives tried at once."""
_ROUNDING = 1e-5
"""Of float32 products, which depend on their order: nearer to the threshold than this is computed anew in float64."""


def similar_groups(
    vectors_ND: Vectors, rows: NDArray[np.int64], similarity: float, cells: int | None = None
) -> NDArray[np.int64]:
    """Returns for each of the N vectors the first one it is linked to through cosines of at least `similarity`.

    rows: which of them take part; the others stay alone. cells: as for `similar_pairs`.
    """
    label_N = np.arange(len(vectors_ND))
    waiting: list[NDArray[np.int64]] = []
    for pairs_P2 in similar_pairs(vectors_ND, rows, similarity, cells):
        waiting.append(pairs_P2)
        if sum(map(len, waiting)) > LINKS_KEPT:
            label_N, waiting = _joined(label_N, waiting), []
    return _joined(label_N, waiting)


def similar_pairs(
    vectors_ND: Vectors, rows: NDArray[np.int64], similarity: float, cells: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Yields pairs_P2 of `rows` (i < j), each once: those whose cosine is at least `similarity`.

    cells: with how many of its nearest cells a vector is compared; None finds all pairs.
    """
    center_KD = _centers(vectors_ND, rows)
    if cells is None:
        yield from _all_pairs(vectors_ND, rows, similarity, center_KD / np.float32(WHOLE))
    else:
        yield from _pairs_in_cells(vectors_ND, rows, similarity, center_KD, min(cells, len(center_KD)))


def representatives(
    vectors_ND: Vectors, rows: NDArray[np.int64], similarity: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Returns for each of `rows`, the best first, the row that is kept in its place, and their cosine.

    The best is kept, and stands for all that are similar to it; then the best of those left; and so on.
    """
    kept = np.full(len(rows), -1)
    while (left := np.flatnonzero(kept < 0)).size:
        tried = left[:LEADERS]
        leads = _similar(vectors_ND, rows[tried], rows[tried], similarity)
        leaders: list[int] = []
        for place in range(len(tried)):
            if not leads[place, leaders].any():
                leaders.append(place)
        for start in range(0, len(left), BLOCK):
            some = left[start : start + BLOCK]
            near = _similar(vectors_ND, rows[some], rows[tried[leaders]], similarity)
            near |= some[:, None] == tried[leaders]
            found = near.any(axis=1)
            kept[some[found]] = tried[leaders][near[found].argmax(axis=1)]
    return rows[kept], _cosines(vectors_ND, rows, rows[kept])


def _all_pairs(
    vectors_ND: Vectors, rows: NDArray[np.int64], similarity: float, center_KD: NDArray[np.float32]
) -> Iterator[NDArray[np.int64]]:
    own_R = np.concatenate([(vectors_ND[some] @ center_KD.T).argmax(axis=1) for some in _blocks(rows)])
    members = [rows[own_R == cell] for cell in range(len(center_KD))]
    reach = np.sqrt(max(0.0, 2 - 2 * similarity)) + _ROUNDING  # the longest chord between two similar vectors
    for cell, own in enumerate(members):
        yield from _within(vectors_ND, own, similarity)
        others = np.arange(cell + 1, len(members))
        near_NK = _reaches(vectors_ND, own, center_KD[cell] - center_KD[others], reach)
        for other, near_N in zip(others, near_NK.T, strict=True):
            if near_N.any():
                back_N1 = _reaches(vectors_ND, members[other], center_KD[[other]] - center_KD[cell], reach)
                yield from _between(vectors_ND, own[near_N], members[other][back_N1[:, 0]], similarity)


def _pairs_in_cells(
    vectors_ND: Vectors, rows: NDArray[np.int64], similarity: float, center_KD: NDArray[np.float32], cells: int
) -> Iterator[NDArray[np.int64]]:
    nearest_RC = np.concatenate([_nearest_cells(vectors_ND[some], center_KD, cells) for some in _blocks(rows)])
    own_R = nearest_RC[:, 0]
    visits = np.argsort(nearest_RC.ravel(), kind="stable")
    starts = np.searchsorted(nearest_RC.ravel()[visits], np.arange(len(center_KD) + 1))
    for cell in range(len(center_KD)):
        visitors = visits[starts[cell] : starts[cell + 1]] // cells
        lives_here = own_R[visitors] == cell
        own, guests = visitors[lives_here], visitors[~lives_here]
        yield from _within(vectors_ND, rows[own], similarity)
        for some in _blocks(guests):
            for more in _blocks(own):
                first, second = np.nonzero(_similar(vectors_ND, rows[some], rows[more], similarity))
                guest, host = some[first], more[second]
                visited_back = (nearest_RC[host] == own_R[guest, None]).any(axis=1)
                new = ~visited_back | (own_R[guest] > cell)  # of pairs that are met in both cells
                yield _sorted(rows[guest[new]], rows[host[new]])


def _centers(vectors_ND: Vectors, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns center_KD, whole numbers of about the length WHOLE; a single one where there are few rows."""
    count = min(len(rows) // ROWS_PER_CELL, round(4 * len(rows) ** 0.5))
    if count < 2:
        return np.zeros((1, vectors_ND.shape[1]), np.float32)
    import faiss

    step = max(1, len(rows) // (count * TRAINING_ROWS_PER_CELL))
    means = faiss.Kmeans(vectors_ND.shape[1], count, niter=10, seed=0, int_centroids=True, min_points_per_centroid=1)
    means.train(_whole(vectors_ND[rows[::step]]))
    center_KD = np.asarray(means.centroids, np.float64)
    return _whole(center_KD / np.maximum(np.sqrt((center_KD**2).sum(axis=1, keepdims=True)), 1))


def _nearest_cells(vectors_ND: Vectors, center_KD: NDArray[np.float32], cells: int) -> NDArray[np.int32]:
    """Returns the numbers of each vector's nearest cells, (N, cells), the nearest one first."""
    count = len(center_KD)
    nearness_NK = (_whole(vectors_ND) @ center_KD.T).astype(np.float64) * count - np.arange(count)  # no two are equal
    nearest_NC = np.argpartition(-nearness_NK, cells - 1, axis=1)[:, :cells]
    order_NC = np.argsort(-np.take_along_axis(nearness_NK, nearest_NC, axis=1), axis=1)
    return np.take_along_axis(nearest_NC, order_NC, axis=1).astype(np.int32)


def _whole(vectors_ND: NDArray[Any]) -> NDArray[np.float32]:
    """Returns vectors of length 1 as whole numbers, of the length WHOLE."""
    return np.ascontiguousarray(np.rint(vectors_ND * WHOLE), np.float32)


def _reaches(
    vectors_ND: Vectors, rows: NDArray[np.int64], normal_KD: NDArray[np.float32], reach: float
) -> NDArray[np.bool_]:
    """Returns near_NK: whether each of `rows`, all of one cell, may be similar to something in each other cell.

    normal_KD: the center of their cell less that of the other. A vector is of the cell whose center has the largest
    product with it, so the plane between two centers goes through the origin; its distance must be in reach.
    """
    distance_K = reach * np.linalg.norm(normal_KD, axis=1) + _ROUNDING
    return np.concatenate([vectors_ND[some] @ normal_KD.T <= distance_K for some in _blocks(rows)])


def _within(vectors_ND: Vectors, rows: NDArray[np.int64], similarity: float) -> Iterator[NDArray[np.int64]]:
    blocks = list(_blocks(rows))
    for number, some in enumerate(blocks):
        first, second = np.nonzero(np.triu(_similar(vectors_ND, some, some, similarity), 1))
        yield _sorted(some[first], some[second])
        for others in blocks[number + 1 :]:
            yield from _between(vectors_ND, some, others, similarity)


def _between(
    vectors_ND: Vectors, rows: NDArray[np.int64], others: NDArray[np.int64], similarity: float
) -> Iterator[NDArray[np.int64]]:
    for some in _blocks(rows):
        for more in _blocks(others):
            first, second = np.nonzero(_similar(vectors_ND, some, more, similarity))
            yield _sorted(some[first], more[second])


def _similar(
    vectors_ND: Vectors, rows: NDArray[np.int64], others: NDArray[np.int64], similarity: float
) -> NDArray[np.bool_]:
    """Returns which of `rows` are similar to which of `others`; the result does not depend on what is asked at once."""
    cosines = vectors_ND[rows] @ vectors_ND[others].T
    similar = cosines >= similarity
    first, second = np.nonzero(np.abs(cosines - similarity) < _ROUNDING)
    for start in range(0, len(first), BLOCK):
        some = slice(start, start + BLOCK)
        exact = _cosines(vectors_ND, rows[first[some]], others[second[some]])
        similar[first[some], second[some]] = exact >= np.float32(similarity)
    return similar


def _cosines(vectors_ND: Vectors, rows: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float32]:
    """Returns the cosine of each of `rows` with its partner, to within the rounding of float32."""
    parts = [
        np.einsum("nd,nd->n", vectors_ND[rows[start : start + BLOCK]], vectors_ND[others[start : start + BLOCK]],
                  dtype=np.float64)
        for start in range(0, len(rows), BLOCK)
    ]  # fmt: skip
    return np.concatenate([np.zeros(0), *parts]).astype(np.float32)


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, max(1, len(rows)), BLOCK):
        yield rows[start : start + BLOCK]


def _sorted(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.sort(np.stack([first, second], axis=1), axis=1)


def _joined(label_N: NDArray[np.int64], pairs: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    chain_N2 = np.stack([label_N, np.arange(len(label_N))], axis=1)
    return clusters(len(label_N), np.concatenate([chain_N2, *pairs]))
