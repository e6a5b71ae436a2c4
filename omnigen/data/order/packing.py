"""Filling packs of a fixed token budget from an endless numbered sequence of samples, without losing or starving any.

The oldest waiting sample always opens a pack, so nothing waits for ever. Then waiting samples are taken in arrival
order while there is room for many more; the last gap is closed with the one or two waiting samples that fit it best.
What is packed depends on the lengths and the state alone; the state is the next number and those that wait.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass


def one_more(number: int) -> int:
    """Returns the next whole number."""
    return number + 1


@dataclass(frozen=True)
class PackingState:
    """next: number of the first sample never looked at. waiting: numbers looked at and not yet packed, oldest first."""

    next: int = 0
    waiting: tuple[int, ...] = ()


@dataclass(frozen=True)
class Packing:
    """How to pack.

    length_of: tokens of the sample with a given number; at most `budget`, and 0 for one to pass over.
    budget: tokens a pack may hold. look_ahead: how many samples may wait; more fill better and mix less locally.
    following: the number after a given one.
    """

    length_of: Callable[[int], int]
    budget: int
    look_ahead: int = 96
    following: Callable[[int], int] = one_more

    def next_pack(self, state: PackingState) -> tuple[tuple[int, ...], PackingState]:
        """Returns the numbers of the samples in the next pack, in arrival order, and the state after it."""
        numbers, upcoming = self._refill(state)
        lengths = [self.length_of(number) for number in numbers]
        room = self.budget - lengths[0]
        if room < 0:
            raise ValueError(f"sample {numbers[0]} has {lengths[0]} tokens, the budget is {self.budget}")
        chosen = {0}
        for place in range(1, len(numbers)):
            if room < 2 * max(length for at, length in enumerate(lengths) if at not in chosen):
                break
            chosen.add(place)
            room -= lengths[place]
        while closing := _best_fit([at for at in range(len(numbers)) if at not in chosen], lengths, room):
            chosen.update(closing)
            room -= sum(lengths[at] for at in closing)
        waiting = tuple(number for at, number in enumerate(numbers) if at not in chosen)
        return tuple(numbers[at] for at in sorted(chosen)), PackingState(upcoming, waiting)

    def _refill(self, state: PackingState) -> tuple[list[int], int]:
        numbers, upcoming = list(state.waiting), state.next
        room = self.budget - sum(map(self.length_of, numbers))
        while len(numbers) < self.look_ahead or room > 0:  # look further where many short samples fit into one pack
            if length := self.length_of(upcoming):
                numbers.append(upcoming)
                room -= length
            upcoming = self.following(upcoming)
        return numbers, upcoming


def _best_fit(places: list[int], lengths: list[int], room: int) -> tuple[int, ...]:
    """Returns the one or two of `places` whose lengths fill `room` most nearly without exceeding it; () if none."""
    ordered = sorted((lengths[at], at) for at in places if lengths[at] <= room)
    best: tuple[int, tuple[int, ...]] = (0, ())
    for here, (length, at) in enumerate(ordered):
        if length > best[0]:
            best = (length, (at,))
        other = bisect_right(ordered, (room - length, len(lengths)), hi=here) - 1  # the longest partner that fits
        if other >= 0 and length + ordered[other][0] > best[0]:
            best = (length + ordered[other][0], (at, ordered[other][1]))
    return best[1]
