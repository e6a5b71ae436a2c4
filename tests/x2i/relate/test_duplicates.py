"""Every two hashes within the distance are linked, no others, however they are found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x2i.relate.exact import exact_pairs
from x2i.relate.near import clusters, hamming_distances, near_pairs
from x2i.seeding import generator


def hashes(count: int, *name: str | int) -> np.ndarray:
    """Random hashes, a third of them a few bits away from another, some equal."""
    random = generator("hashes", *name)
    values = random.integers(0, 2**64, count, dtype=np.uint64)
    for row in range(count // 3):
        bits = random.choice(64, int(random.integers(0, 18)), replace=False).astype(np.uint64)
        flips = np.bitwise_or.reduce(np.uint64(1) << bits) if len(bits) else np.uint64(0)
        values[row] = values[int(random.integers(count // 3, count))] ^ flips
    return values


def long_hashes(count: int, *name: str | int) -> np.ndarray:
    """Random hashes of 256 bits, a third of them a few bits away from another, some equal."""
    random = generator("long hashes", *name)
    bits = random.integers(0, 2, (count, 256), dtype=np.uint8)
    for row in range(count // 3):
        bits[row] = bits[int(random.integers(count // 3, count))]
        bits[row, random.choice(256, int(random.integers(0, 70)), replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)


def brute_force(values: np.ndarray, distance: int) -> set[tuple[int, int]]:
    i, j = np.triu_indices(len(values), 1)
    differing = np.bitwise_count(values[i] ^ values[j]).astype(np.int64)
    close = (differing if differing.ndim == 1 else differing.sum(axis=1)) <= distance
    return set(zip(i[close].tolist(), j[close].tolist()))


@pytest.mark.parametrize("distance", [0, 3, 6, 10, 15])
def test_the_pairs_are_those_of_comparing_all_with_all(distance):
    values = np.unique(hashes(400, distance))
    assert {tuple(pair) for pair in near_pairs(values, distance).tolist()} == brute_force(values, distance)


@pytest.mark.parametrize("distance", [0, 15, 31, 63])
def test_the_pairs_of_long_hashes_are_those_of_comparing_all_with_all(distance):
    values = np.unique(long_hashes(600, distance), axis=0)
    expected = brute_force(values, distance)
    assert len(expected) >= (0 if distance == 0 else 20)
    assert {tuple(pair) for pair in near_pairs(values, distance).tolist()} == expected


def test_equal_long_hashes_are_chained_through_the_first():
    values = long_hashes(3, "equal")[[0, 1, 0, 2, 0]]
    assert near_pairs(values, 31).tolist() == [[0, 2], [0, 4]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=30), st.integers(0, 3))
def test_the_groups_are_those_of_comparing_all_with_all(values, distance):
    values = np.array(values, np.uint64)
    expected = np.array(sorted(brute_force(values, distance)), np.int64).reshape(-1, 2)
    assert clusters(len(values), near_pairs(values, distance)).tolist() == clusters(len(values), expected).tolist()


def test_a_million_times_the_same_hash_does_not_explode():
    values = np.full(1_000_000, 0x1234, np.uint64)
    assert len(near_pairs(values, 6)) == 999_999


def test_no_images_have_no_pairs_and_no_groups():
    none = near_pairs(np.zeros(0, np.uint64), 6)
    assert none.shape == (0, 2)
    assert clusters(0, none).tolist() == []


def test_a_distance_out_of_range_is_refused():
    with pytest.raises(ValueError, match="expected 0 to 15"):
        near_pairs(np.zeros(2, np.uint64), 16)
    with pytest.raises(ValueError, match="expected 0 to 63"):
        near_pairs(np.zeros((2, 4), np.uint64), 64)


def test_hamming_distance_counts_bits():
    a = np.array([0, 2**64 - 1, 0b1010], np.uint64)
    assert hamming_distances(a, np.array([0, 0, 0b0110], np.uint64)).tolist() == [0, 64, 2]
    long = np.full((2, 4), 2**64 - 1, np.uint64)
    assert hamming_distances(long, np.zeros(4, np.uint64)).tolist() == [256, 256]


def test_equal_digests_are_linked_to_their_first():
    assert exact_pairs(["b", "a", "b", "c", "b"]).tolist() == [[0, 2], [0, 4]]
    assert exact_pairs([]).shape == (0, 2)


def test_links_join_into_groups_named_by_their_first_row():
    assert clusters(6, np.array([[1, 3], [3, 5], [0, 2]])).tolist() == [0, 1, 0, 1, 4, 1]
