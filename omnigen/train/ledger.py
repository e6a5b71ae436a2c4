"""Sums of a logging interval: one vector that ranks add up, and its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from omnigen.train.objective import FlowPack, SampleLosses
from omnigen.train.validate import BINS, bin_names, bin_of


class Ledger:
    """The vector: weighted loss, samples, bad samples, stop wishes; then (loss, tokens) by task and by interval."""

    weighted, samples, bad, stop = range(4)

    def __init__(self, tasks: tuple[str, ...]) -> None:
        self.tasks = tasks
        self._task_start = 4
        self._bin_start = self._task_start + 2 * len(tasks)

    def empty(self) -> Tensor:
        """Returns zeros, float64."""
        return torch.zeros(self._bin_start + 2 * BINS, dtype=torch.float64)

    def add(self, sums: Tensor, pack: FlowPack, losses: SampleLosses) -> None:
        """Adds a pack to `sums`."""
        sums[self.weighted] += losses.weighted_S.detach().double().sum().cpu()
        sums[self.samples] += len(pack.keys)
        rows = zip(pack.tasks, pack.timesteps_S.tolist(), losses.plain_S.tolist(), pack.tokens)
        for task, t, loss, tokens in rows:
            pair = torch.tensor([loss, tokens], dtype=torch.float64)
            for start in (self._task_start + 2 * self.tasks.index(task), self._bin_start + 2 * bin_of(t)):
                sums[start : start + 2] += pair

    def accumulate(
        self, before: Mapping[str, float], sums: Tensor, tokens: int, capacity: int, norm: float
    ) -> dict[str, float]:
        """Returns the interval so far: `before`, and a step with these sums and gradient norm.

        tokens: planned, of `capacity` that the packs of the step can hold.
        """
        step = {f"{i}": float(value) for i, value in enumerate(sums)}
        step |= {"planned": float(tokens), "capacity": float(capacity)}
        total = {name: before.get(name, 0.0) + value for name, value in step.items()}
        return {**total, "grad_norm": norm}

    def report(self, total: Mapping[str, float]) -> dict[str, Any]:
        """Returns the means of an interval.

        loss: as minimised, per target token, over the interval. tasks, timesteps: without edit weighting. grad_norm: of
        the last step, before clipping. fill: share of the packs' capacity that held tokens.
        """
        sums = [total[f"{i}"] for i in range(self._bin_start + 2 * BINS)]
        tokens = sum(sums[self._bin_start + 2 * i + 1] for i in range(BINS))
        return {
            "loss": sums[self.weighted] / max(tokens, 1.0),
            "grad_norm": total["grad_norm"],
            "tasks": self._means(sums, self._task_start, self.tasks),
            "timesteps": self._means(sums, self._bin_start, bin_names()),
            "fill": total["planned"] / total["capacity"],
        }

    def _means(self, sums: list[float], start: int, names: tuple[str, ...] | list[str]) -> dict[str, float]:
        pairs = {name: (sums[start + 2 * i], sums[start + 2 * i + 1]) for i, name in enumerate(names)}
        return {name: loss / tokens for name, (loss, tokens) in pairs.items() if tokens}
