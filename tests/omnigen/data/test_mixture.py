from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen.data.order.mixture import LARGEST_BLOCK, Mixture, block_counts, task_at
from omnigen.data.order.sample_sequence import CatalogSequence

AUTHORS = (0.5, 0.2, 0.1, 0.1, 0.1)


def test_frequencies_over_100k_draws_equal_the_weights():
    mixture = Mixture.from_weights(AUTHORS, 0)
    counts = np.array(mixture.visits_before(100_000))
    assert counts.sum() == 100_000
    expected = np.array(AUTHORS) * 100_000
    assert ((counts - expected) ** 2 / expected).sum() < 9.49  # chi-square, 4 degrees of freedom, 5%


UNEQUAL = {
    "text_to_image": (0.9, 100_000),
    "edit": (0.07, 500),
    "subject": (0.02, 40),
    "try_on": (0.009, 3),
    "rare": (0.001, 7),
}


def draws(count, seed=5):
    """The draws of a run over tasks of very unequal weight and size: (task, row) of each."""
    rows, start = {}, 0
    for task, (_, samples) in UNEQUAL.items():
        rows[task] = np.arange(start, start + samples)
        start += samples
    weights = {task: weight for task, (weight, _) in UNEQUAL.items()}
    made = CatalogSequence(None, rows, weights, seed)
    drawn = np.array([made.catalog_row(number) for number in range(count)])
    return rows, drawn


def test_drawn_tasks_have_the_configured_frequencies_over_many_epochs_of_unequal_tasks():
    rows, drawn = draws(100_000)
    counts = np.array([np.isin(drawn, numbers).sum() for numbers in rows.values()])
    expected = np.array([weight for weight, _ in UNEQUAL.values()]) * 100_000
    assert counts.sum() == 100_000
    assert ((counts - expected) ** 2 / expected).sum() < 9.49  # chi-square, 4 degrees of freedom, 5%
    assert counts[3] / 3 > 250  # epochs of the task of three samples
    for part in np.split(drawn, 4):  # and at every stage of the run
        here = np.array([np.isin(part, numbers).sum() for numbers in rows.values()])
        assert ((here - expected / 4) ** 2 / (expected / 4)).sum() < 9.49


def test_every_epoch_of_every_task_has_each_of_its_samples_once_in_an_order_of_its_own():
    rows, drawn = draws(100_000)
    for task, numbers in rows.items():
        mine = drawn[np.isin(drawn, numbers)]
        whole = len(mine) // len(numbers)
        epochs = mine[: whole * len(numbers)].reshape(whole, len(numbers))
        assert (np.sort(epochs, axis=1) == numbers).all(), task
        if len(numbers) >= 40:
            assert len(np.unique(epochs, axis=0)) == whole, task
        if whole < 1:
            assert len(np.unique(mine)) == len(mine), task
    assert len(np.unique(drawn[np.isin(drawn, rows["try_on"])].reshape(-1)[:300].reshape(-1, 3), axis=0)) == 6
    assert (draws(500, seed=6)[1] != drawn[:500]).mean() > 0.8


def test_frequencies_over_whole_blocks_are_exact():
    mixture = Mixture.from_weights((3, 1.5, 0), 9)
    length = mixture.block_length
    assert mixture.visits_before(7 * length) == (7 * length * 2 // 3, 7 * length // 3, 0)


def test_draws_in_a_row_are_not_predictable():
    mixture = Mixture.from_weights((1, 1), 4)
    tasks = np.concatenate([mixture.block(number).task for number in range(40)])
    pairs = Counter(zip(tasks[:-1].tolist(), tasks[1:].tolist()))
    assert len(pairs) == 4
    assert max(pairs.values()) / min(pairs.values()) < 1.15


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.integers(0, 50), min_size=1, max_size=6).filter(any),
    seed=st.integers(0, 1000),
    index=st.integers(0, 5000),
)
def test_earlier_draws_are_counted_from_the_number_of_the_draw_alone(weights, seed, index):
    mixture = Mixture.from_weights(weights, seed)
    task, visit = mixture.task_at(index)
    assert visit == mixture.visits_before(index)[task]
    assert task == task_at(index, seed, weights)
    after = list(mixture.visits_before(index))
    after[task] += 1
    assert mixture.visits_before(index + 1) == tuple(after)


def test_a_task_of_weight_zero_is_never_drawn():
    mixture = Mixture.from_weights((0, 1, 0, 2), 1)
    assert set(mixture.block(0).task.tolist()) == {1, 3}


def test_weights_that_need_too_many_parts_are_rounded_and_none_vanishes():
    counts = block_counts((10_000_019.0, 1.0, 3_000_017.0))
    assert sum(counts) <= LARGEST_BLOCK + 3
    assert min(counts) == 1
    assert counts[0] / counts[2] == pytest.approx(10_000_019 / 3_000_017, rel=1e-4)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -1.0), (float("nan"),), (float("inf"), 1.0)])
def test_weights_that_mean_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        block_counts(weights)
