"""Step caching: the network is computed at some steps only, and its velocity forecast between (arXiv 2503.06923).

TaylorSeer forecasts every layer's features by their derivatives; here the last of them alone, the velocity, is
forecast, so that nothing but a few latents is kept. What it costs in accuracy: docs/guides/generate.md.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]


class ForecastVelocity:
    """Calls `velocity` at every `interval`-th of `steps` steps, and extrapolates it in t at the others.

    order: of the polynomial: 0 keeps the last velocity, 1 follows the line through the last two. The first order + 1
    steps and the last one are computed, and so are those after `kind` of the time changes, which says what the
    velocity is made of (guided or not). computed: how often the network was called.
    """

    def __init__(
        self, velocity: Velocity, steps: int, interval: int, order: int, kind: Callable[[float], object]
    ) -> None:
        self._velocity, self._last, self._interval, self._order, self._kind = velocity, steps - 1, interval, order, kind
        self._known: list[tuple[float, Tensor]] = []
        self._step = self._since = self.computed = 0
        self._now: object = None

    def __call__(self, z: Tensor, t: float) -> Tensor:
        """Returns the velocity of the next step, at time t."""
        kind = self._kind(t)
        if kind != self._now:
            self._known, self._now = [], kind
        due = len(self._known) <= self._order or self._since + 1 >= self._interval or self._step == self._last
        self._step += 1
        if not due:
            self._since += 1
            return self._forecast(t)
        self._since = 0
        self.computed += 1
        v = self._velocity(z, t)
        self._known = [*self._known, (t, v)][-self._order - 1 :]
        return v

    def _forecast(self, t: float) -> Tensor:
        """Returns Lagrange's polynomial through the known velocities, at t."""
        total = None
        for at, v in self._known:
            weight = 1.0
            for other, _ in self._known:
                if other != at:
                    weight *= (t - other) / (at - other)
            total = weight * v if total is None else total + weight * v
        assert total is not None
        return total
