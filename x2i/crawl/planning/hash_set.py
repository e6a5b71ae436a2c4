"""A set of many million 64-bit hashes: 8 bytes each, in a few sorted arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Prefixes = npt.NDArray[np.uint64]
"""The first 64 bits of uids. That two of a hundred million are equal by chance has a probability below 1 in 3,000."""


class SortedHashSet:
    """A growing set of prefixes. Runs are merged when the last is not much smaller than the one before."""

    def __init__(self) -> None:
        self._runs: list[Prefixes] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def contains(self, prefixes: Prefixes) -> npt.NDArray[np.bool_]:
        """Returns for each prefix whether it is in the set."""
        if not self._runs:
            return np.zeros(len(prefixes), dtype=np.bool_)
        order = np.argsort(prefixes, kind="stable")
        found = np.empty(len(prefixes), dtype=np.bool_)
        found[order] = self._contains_sorted(prefixes[order])
        return found

    def add(self, prefixes: Prefixes) -> npt.NDArray[np.bool_]:
        """Adds the prefixes; returns for each whether it was new, the first of equal ones counting as new."""
        ordered, first = np.unique(prefixes, return_index=True)
        fresh = ~self._contains_sorted(ordered)
        is_new = np.zeros(len(prefixes), dtype=np.bool_)
        is_new[first[fresh]] = True
        self._append(ordered[fresh])
        return is_new

    def _contains_sorted(self, ordered: Prefixes) -> npt.NDArray[np.bool_]:
        found = np.zeros(len(ordered), dtype=np.bool_)
        for run in self._runs:
            positions = np.searchsorted(run, ordered)
            found |= run[np.minimum(positions, len(run) - 1)] == ordered
        return found

    def _append(self, run: Prefixes) -> None:
        if not len(run):
            return
        self._runs.append(run)
        while len(self._runs) > 1 and len(self._runs[-2]) < 4 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort(kind="stable")  # two sorted halves: this merges them
            self._runs.append(merged)
