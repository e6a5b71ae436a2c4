"""Which task the sample at each index of a run belongs to: shuffled blocks of fixed composition give exact frequencies.

The weights become whole numbers, one count per task; a block holds each task that many times, and every block is
shuffled by its own seed. After whole blocks the frequencies equal the weights exactly; inside a block they are off by
less than the block. How often a task came before an index follows from the index: nothing needs counting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from omnigen.data.order.permutation import permute
from x2i.seeding import stable_hash

SMALLEST_BLOCK = 256  # samples; shorter blocks would make the order of tasks predictable
LARGEST_BLOCK = 65536  # samples; weights that need more are rounded to this many parts


@dataclass(frozen=True)
class Block:
    """Consecutive samples. task: int64, number of the task. visit: int64, how often the run had that task before."""

    task: npt.NDArray[np.int64]
    visit: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Mixture:
    """A seeded endless sequence of tasks. counts: how often each task stands in one block."""

    counts: tuple[int, ...]
    seed: int

    @classmethod
    def from_weights(cls, weights: Sequence[float], seed: int) -> Mixture:
        """Returns the mixture with frequencies weights / sum(weights). Raises ValueError unless some are positive."""
        return cls(block_counts(tuple(weights)), seed)

    @property
    def block_length(self) -> int:
        return sum(self.counts)

    def block(self, number: int) -> Block:
        """Returns samples [number * block_length, (number + 1) * block_length)."""
        return _block(self, number)

    def task_at(self, index: int) -> tuple[int, int]:
        """Returns (task, visit) at `index`: the number of its task, and how often that task came before."""
        number, position = divmod(index, self.block_length)
        block = self.block(number)
        return int(block.task[position]), int(block.visit[position])

    def visits_before(self, index: int) -> tuple[int, ...]:
        """Returns how often each task comes in samples [0, index)."""
        number, position = divmod(index, self.block_length)
        inside = np.bincount(self.block(number).task[:position], minlength=len(self.counts))
        return tuple(number * count + int(n) for count, n in zip(self.counts, inside))


def task_at(index: int, seed: int, weights: Sequence[float]) -> int:
    """Returns the number of the task at `index`: a pure function, see `Mixture`."""
    return Mixture.from_weights(weights, seed).task_at(index)[0]


@lru_cache(maxsize=64)
def block_counts(weights: tuple[float, ...]) -> tuple[int, ...]:
    """Returns the smallest whole numbers in the proportions of `weights`, scaled up to a block of useful length.

    Weights whose proportions need more than LARGEST_BLOCK parts are rounded to that many (each positive weight keeps at
    least one part). Raises ValueError for negative or non-finite weights, or if none is positive.
    """
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights) > 0:
        raise ValueError(f"weights {weights}: expected numbers of at least 0, one of them above")
    exact = [Fraction(str(weight)) for weight in weights]
    scale = math.lcm(*(value.denominator for value in exact))
    counts = [int(value * scale) for value in exact]
    counts = [count // math.gcd(*counts) for count in counts]
    if sum(counts) > LARGEST_BLOCK:
        total = sum(exact)
        counts = [max(1, round(value / total * LARGEST_BLOCK)) if value else 0 for value in exact]
    repeat = -(-SMALLEST_BLOCK // sum(counts))
    return tuple(count * repeat for count in counts)


@lru_cache(maxsize=16)
def _block(mixture: Mixture, number: int) -> Block:
    length, counts = mixture.block_length, np.asarray(mixture.counts)
    ends = counts.cumsum()
    shuffled = permute(np.arange(length), length, stable_hash("mixture", mixture.seed, number))
    task = np.searchsorted(ends, shuffled, side="right")
    by_task = np.argsort(task, kind="stable")
    rank = np.empty(length, dtype=np.int64)
    rank[by_task] = np.arange(length) - (ends - counts)[task[by_task]]
    return Block(task.astype(np.int64), number * counts[task] + rank)
