"""Filling packs of a fixed token budget from an endless sequence of samples, without losing or starving any.

The oldest waiting sample always opens a pack, so nothing waits for ever. Then waiting samples are taken in arrival
order while there is room for many more; the last gap is closed with the one or two waiting samples that fit it best.
What is packed depends on the lengths and the state alone; the state is the next index and those that wait.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass


def one_more(index: int) -> int:
    """Returns the next whole number."""
    return index + 1


@dataclass(frozen=True)
class PackingState:
    """next: index of the first sample never looked at. waiting: indices looked at and not yet packed, oldest first."""

    next: int = 0
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True)
class Packing:
    """How to pack.

    length_of: tokens of the sample at an index; at most `budget`, and 0 for one to pass over.
    budget: tokens a pack may hold. look_ahead: how many samples may wait; more fill better and mix less locally.
    next_index: the index that follows one.
    """

    length_of: Callable[[int], int]
    budget: int
    look_ahead: int = 96
    next_index: Callable[[int], int] = one_more

    def next_pack(self, state: PackingState) -> tuple[tuple[int, ...], PackingState]:
        """Returns the indices of the samples in the next pack, in arrival order, and the state after it."""
        indices, upcoming = self._refill(state)
        lengths = [self.length_of(index) for index in indices]
        room = self.budget - lengths[0]
        if room < 0:
            raise ValueError(f"sample {indices[0]} has {lengths[0]} tokens, the budget is {self.budget}")
        chosen = {0}
        for position in range(1, len(indices)):
            if room < 2 * max(length for at, length in enumerate(lengths) if at not in chosen):
                break
            chosen.add(position)
            room -= lengths[position]
        while closing := _best_fit([at for at in range(len(indices)) if at not in chosen], lengths, room):
            chosen.update(closing)
            room -= sum(lengths[at] for at in closing)
        waiting = tuple(index for at, index in enumerate(indices) if at not in chosen)
        return tuple(indices[at] for at in sorted(chosen)), PackingState(upcoming, waiting)

    def _refill(self, state: PackingState) -> tuple[list[int], int]:
        indices, upcoming = list(state.waiting), state.next
        room = self.budget - sum(map(self.length_of, indices))
        while len(indices) < self.look_ahead or room > 0:  # look further where many short samples fit into one pack
            if length := self.length_of(upcoming):
                indices.append(upcoming)
                room -= length
            upcoming = self.next_index(upcoming)
        return indices, upcoming


def _best_fit(positions: list[int], lengths: list[int], room: int) -> tuple[int, ...]:
    """Returns the one or two of `positions` whose lengths fill `room` most nearly without exceeding it; () if none."""
    ordered = sorted((lengths[at], at) for at in positions if lengths[at] <= room)
    best: tuple[int, tuple[int, ...]] = (0, ())
    for here, (length, at) in enumerate(ordered):
        if length > best[0]:
            best = (length, (at,))
        other = bisect_right(ordered, (room - length, len(lengths)), hi=here) - 1  # the longest partner that fits
        if other >= 0 and length + ordered[other][0] > best[0]:
            best = (length + ordered[other][0], (at, ordered[other][1]))
    return best[1]
