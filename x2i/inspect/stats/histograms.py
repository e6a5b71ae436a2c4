"""How positive numbers are spread, gathered from a stream: logarithmic bins, fixed before anything is seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from x2i.inspect.report.distributions import Histogram

if TYPE_CHECKING:
    import numpy as np

PER_OCTAVE = 8
LOWEST, HIGHEST = -10, 50  # powers of two
MOST_BARS = 40


@dataclass(frozen=True)
class Spread:
    """A histogram with unequal bins (each 2**(1/8) times as wide as the one before it), and the exact extremes.

    The histogram's median is read from the bins, so it is right to about 5%.
    """

    histogram: Histogram
    minimum: float
    mean: float
    maximum: float


class Gathering:
    """Counts positive values into bins; memory is a few kB however many there are. Zeros and NaN are left out."""

    def __init__(self, title: str, unit: str = "") -> None:
        import numpy as np

        self._title, self._unit = title, unit
        self._counts = np.zeros((HIGHEST - LOWEST) * PER_OCTAVE, np.int64)
        self._sum, self._low, self._high = 0.0, float("inf"), 0.0

    def add(self, values: np.ndarray) -> None:
        import numpy as np

        values = np.asarray(values, np.float64)
        values = values[np.isfinite(values) & (values > 0)]
        if not values.size:
            return
        places = np.floor((np.log2(values) - LOWEST) * PER_OCTAVE).astype(np.int64)
        self._counts += np.bincount(places.clip(0, self._counts.size - 1), minlength=self._counts.size)
        self._sum += float(values.sum())
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))

    def spread(self) -> Spread | None:
        """Returns what was gathered; None if nothing was."""
        import numpy as np

        total = int(self._counts.sum())
        if not total:
            return None
        used = np.flatnonzero(self._counts)
        first, last = int(used[0]), int(used[-1]) + 1
        edges = np.exp2(np.arange(first, last + 1) / PER_OCTAVE + LOWEST)
        counts = self._counts[first:last]
        below = np.concatenate([[0], np.cumsum(counts)])
        median = float(np.clip(np.interp(total / 2, below, edges), self._low, self._high))
        while counts.size > MOST_BARS:
            if counts.size % 2:
                counts, edges = np.append(counts, 0), np.append(edges, edges[-1] * edges[-1] / edges[-2])
            counts, edges = counts.reshape(-1, 2).sum(axis=1), edges[::2]
        histogram = Histogram(self._title, self._unit, tuple(map(float, edges)), tuple(map(int, counts)), median, total)
        return Spread(histogram, self._low, self._sum / total, self._high)
