from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen.data.order.permutation import epoch_seed, permute, permute_each


@settings(max_examples=60, deadline=None)
@given(length=st.integers(1, 3000), seed=st.integers(0, 2**63))
def test_every_index_is_visited_exactly_once(length, seed):
    assert sorted(permute(np.arange(length), length, seed)) == list(range(length))


@given(length=st.integers(1, 2**40), seed=st.integers(0, 2**32), data=st.data())
@settings(deadline=None)
def test_one_index_alone_goes_where_it_goes_in_company(length, seed, data):
    indices = data.draw(st.lists(st.integers(0, length - 1), min_size=1, max_size=8))
    together = permute(indices, length, seed)
    assert [int(permute(index, length, seed)) for index in indices] == list(together)
    assert together.min() >= 0
    assert together.max() < length


@given(length=st.integers(1, 300), data=st.data())
@settings(deadline=None)
def test_many_orders_at_once_are_the_orders_one_by_one(length, data):
    seeds = data.draw(st.lists(st.integers(0, 2**63), min_size=1, max_size=4))
    chosen = data.draw(st.lists(st.integers(0, len(seeds) - 1), max_size=8))
    indices = data.draw(st.lists(st.integers(0, length - 1), min_size=len(chosen), max_size=len(chosen)))
    expected = [int(permute(index, length, seeds[which])) for index, which in zip(indices, chosen)]
    assert permute_each(indices, length, seeds, np.array(chosen, int)).tolist() == expected


def test_the_order_is_the_same_on_every_machine_and_in_every_version():
    assert permute(np.arange(10), 10, 7).tolist() == [4, 6, 0, 7, 2, 1, 5, 9, 3, 8]


def test_epochs_have_orders_of_their_own():
    first, second = (permute(np.arange(1000), 1000, epoch_seed(3, epoch)) for epoch in (0, 1))
    assert (first == second).mean() < 0.02


@pytest.mark.parametrize("length", [2, 3, 5, 8, 30])
def test_over_many_seeds_every_index_lands_everywhere_equally_often(length):
    seeds = 600
    counts = np.zeros((length, length))
    for seed in range(seeds):
        counts[np.arange(length), permute(np.arange(length), length, seed)] += 1
    expected = seeds / length
    chi_square = ((counts - expected) ** 2 / expected).sum(axis=1)
    assert chi_square.max() < (length - 1) + 6 * np.sqrt(2 * (length - 1)) + 6


def test_neighbors_do_not_stay_neighbors():
    placed = permute(np.arange(10_000), 10_000, 1)
    assert abs(np.corrcoef(np.arange(10_000), placed)[0, 1]) < 0.05
    assert (np.abs(np.diff(placed)) == 1).mean() < 0.002


def test_an_index_outside_the_range_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 5\)"):
        permute(5, 5, 0)
