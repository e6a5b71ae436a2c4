"""Vectors within the similarity are linked, all of them and no others, however the search is cut into cells."""

from __future__ import annotations

import numpy as np
import pytest

from x2i.relate import similar
from x2i.relate.near import clusters
from x2i.relate.similar import representatives, similar_groups, similar_pairs
from x2i.seeding import generator


@pytest.fixture(params=["one cell", "many cells"])
def sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    small = {"BLOCK": 37, "LEADERS": 5, "LINKS_KEPT": 100}
    for name, value in (small | {"ROWS_PER_CELL": 12} if request.param == "many cells" else small).items():
        monkeypatch.setattr(similar, name, value)
    return str(request.param)


def vectors(count: int, dimensions: int, *name: str | int) -> np.ndarray:
    """Unit vectors in loose bunches, a third of them close to another one, some equal."""
    random = generator("vectors", *name)
    bunch = random.normal(size=(8, dimensions))
    values = bunch[random.integers(0, 8, count)] + random.normal(size=(count, dimensions))
    for row in range(count // 3):
        other = values[int(random.integers(count // 3, count))]
        values[row] = other + random.choice([0, 0.1, 0.3, 0.6]) * random.normal(size=dimensions)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def brute_force(values: np.ndarray, similarity: float) -> set[tuple[int, int]]:
    cosines = values.astype(np.float64) @ values.astype(np.float64).T
    return {(i, j) for i, j in zip(*np.nonzero(cosines >= np.float32(similarity))) if i < j}


@pytest.mark.parametrize("similarity", [0.6, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("dimensions", [3, 24])
def test_the_pairs_are_those_of_comparing_all_with_all(sizes: str, similarity: float, dimensions: int) -> None:
    values = vectors(500, dimensions, sizes)
    found = [tuple(pair) for pairs in similar_pairs(values, np.arange(500), similarity) for pair in pairs.tolist()]
    assert len(found) == len(set(found)), "a pair was given twice"
    assert set(found) == brute_force(values, similarity)


def test_the_groups_are_those_of_the_pairs_and_rows_left_out_stay_alone(sizes: str) -> None:
    values = vectors(400, 16, "groups")
    rows = np.flatnonzero(np.arange(400) % 5)
    pairs = np.array([pair for pair in brute_force(values, 0.9) if all(i % 5 for i in pair)])
    assert len(pairs) > 50
    assert similar_groups(values, rows, 0.9).tolist() == clusters(400, pairs).tolist()


def test_the_best_stands_for_all_that_are_similar_to_it_and_so_on(sizes: str) -> None:
    values = vectors(300, 6, "kept")
    order = generator("order").permutation(300)
    kept, cosines = representatives(values, order, 0.9)
    exact = values.astype(np.float64) @ values.astype(np.float64).T
    expected: dict[int, int] = {}
    for row in order:
        if row not in expected:
            near = [other for other in order if other not in expected and exact[row, other] >= 0.9 and other != row]
            expected |= dict.fromkeys([int(row), *map(int, near)], int(row))
    assert dict(zip(order.tolist(), kept.tolist())) == expected
    assert np.allclose(cosines, [exact[row, expected[row]] for row in order], atol=1e-6)


def test_thousands_of_equal_vectors_are_one_group_without_all_their_pairs_in_memory() -> None:
    values = np.tile(np.float32([[0.6, 0.8]]), (1_500, 1))
    assert not similar_groups(values, np.arange(1_500), 0.99).any()
    kept, _ = representatives(values, np.arange(1_500), 0.99)
    assert not kept.any()


def test_nothing_at_all_has_no_groups() -> None:
    assert similar_groups(np.zeros((0, 4), np.float32), np.arange(0), 0.9).tolist() == []
    assert similar_groups(np.zeros((3, 4), np.float32), np.arange(0), 0.9).tolist() == [0, 1, 2]
