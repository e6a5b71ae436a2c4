"""Vectors within the similarity are linked and no others: all of them, or nearly all where only near cells are met."""

from __future__ import annotations

import tempfile
import tracemalloc

import faiss
import numpy as np
import pyarrow as pa
import pytest

from x2i.relate import similar
from x2i.relate.near import clusters
from x2i.relate.similar import representatives, similar_groups, similar_pairs
from x2i.relate.vectors import map_unit_vectors
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


@pytest.fixture(scope="module")
def copies() -> np.ndarray:
    """Unit vectors without any order, a third of them noisy copies of others at cosines around 0.95."""
    random = generator("copies")
    values = random.normal(size=(3000, 64))
    noise = random.uniform(0, 0.4, (1000, 1)) * random.normal(size=(1000, 64))
    values[:1000] = values[random.integers(1000, 3000, 1000)] + noise
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def found_in_cells(values: np.ndarray, cells: int) -> list[tuple[int, int]]:
    pairs = similar_pairs(values, np.arange(len(values)), 0.95, cells)
    return [(i, j) for some in pairs for i, j in some.tolist()]


def test_near_cells_hold_nearly_all_similar_pairs_and_every_one_they_hold_is_given_once(monkeypatch, copies) -> None:
    monkeypatch.setattr(similar, "ROWS_PER_CELL", 60)
    monkeypatch.setattr(similar, "BLOCK", 97)
    wanted = brute_force(copies, 0.95)
    assert len(wanted) > 400
    recall = {}
    for cells in (1, 8, 50):
        found = found_in_cells(copies, cells)
        assert len(found) == len(set(found)), "a pair was given twice"
        assert set(found) <= wanted
        recall[cells] = len(found) / len(wanted)
    assert recall[1] < recall[8] <= recall[50] == 1
    assert recall[8] >= 0.99


def test_the_cells_do_not_depend_on_the_number_of_threads(monkeypatch, copies) -> None:
    monkeypatch.setattr(similar, "ROWS_PER_CELL", 60)
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1)
        alone = found_in_cells(copies, 2)
        faiss.omp_set_num_threads(4)
        assert found_in_cells(copies, 2) == alone
    finally:
        faiss.omp_set_num_threads(threads)


def test_memory_does_not_grow_with_the_vectors(monkeypatch) -> None:
    for name, value in {"ROWS_PER_CELL": 100, "TRAINING_ROWS_PER_CELL": 4, "BLOCK": 256}.items():
        monkeypatch.setattr(similar, name, value)

    def peak(count: int) -> int:
        random = generator("memory")
        blocks = (
            (np.arange(at, at + 500), pa.FixedSizeListArray.from_arrays(random.random(500 * 512, np.float32), 512))
            for at in range(0, count, 500)
        )
        with tempfile.TemporaryFile() as file:
            tracemalloc.start()
            vectors_ND, _ = map_unit_vectors(blocks, count, file, "embeddings")
            similar_groups(vectors_ND, np.arange(count), 0.99, 4)
            largest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return largest

    similar_groups(np.eye(2, dtype=np.float32), np.arange(2), 0.9)  # imports what it needs
    few, many = peak(500), peak(2_000)
    assert many - few < 1_500 * 512 * 4 / 4, "what is held grows with the vectors"
