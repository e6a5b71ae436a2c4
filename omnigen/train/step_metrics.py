"""Sums of a logging interval: a vector for each step, which the ranks add up, and the means that they give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from omnigen.train.objective import FlowPack
from omnigen.train.validate import bin_names, bin_of

WEIGHTED, SAMPLES, BAD, NOT_FINITE = "weighted", "samples", "bad", "not finite"
PLANNED, CAPACITY, NORM = "planned", "capacity", "grad_norm"
TASK, INTERVAL = "task ", "interval "


class StepMetrics:
    """The sums of one step, float64: weighted loss, samples, bad samples, samples whose loss is not finite; (loss,
    tokens) by task and by interval of t. tasks: of the whole step, so that every rank has the same vector.
    """

    def __init__(self, tasks: tuple[str, ...]) -> None:
        pairs = [*(TASK + task for task in tasks), *(INTERVAL + name for name in bin_names())]
        names = [
            WEIGHTED,
            SAMPLES,
            BAD,
            NOT_FINITE,
            *(f"{pair} {kind}" for pair in pairs for kind in ("loss", "tokens")),
        ]
        self._position = {name: position for position, name in enumerate(names)}
        self.sums = torch.zeros(len(names), dtype=torch.float64)

    def __getitem__(self, name: str) -> float:
        return float(self.sums[self._position[name]])

    def add(self, name: str, value: float) -> None:
        """Adds `value` to one sum."""
        self.sums[self._position[name]] += value

    def add_pack(self, pack: FlowPack, numbers: Tensor) -> list[str]:
        """Adds what a pack came to, as `BegunStep.read` gives it; returns the keys whose loss is not finite."""
        weighted_S, plain_S, timesteps_S = numbers
        self.add(WEIGHTED, weighted_S.double().sum().item())
        self.add(SAMPLES, len(pack.keys))
        for task, t, loss, tokens in zip(pack.tasks, timesteps_S.tolist(), plain_S.tolist(), pack.tokens):
            for pair in (TASK + task, INTERVAL + bin_names()[bin_of(t)]):
                self.add(f"{pair} loss", loss)
                self.add(f"{pair} tokens", tokens)
        wrong = [key for key, finite in zip(pack.keys, torch.isfinite(weighted_S).tolist()) if not finite]
        self.add(NOT_FINITE, len(wrong))
        return wrong

    def accumulate(self, before: Mapping[str, float], tokens: int, capacity: int, norm: float) -> dict[str, float]:
        """Returns the interval so far: `before` and this step.

        tokens: planned, of `capacity` that the packs of the step can hold. norm: of the gradient.
        """
        step = {name: self[name] for name in self._position}
        step |= {PLANNED: float(tokens), CAPACITY: float(capacity)}
        total = {name: before.get(name, 0.0) + step.get(name, 0.0) for name in sorted({*before, *step} - {NORM})}
        return {**total, NORM: norm}


def report(total: Mapping[str, float]) -> dict[str, Any]:
    """Returns the means of an interval, from what `StepMetrics.accumulate` gave.

    loss: as minimized, per target token, over the interval. tasks, timesteps: without edit weighting. grad_norm: of
    the last step, before clipping. fill: share of the packs' capacity that held tokens.
    """
    intervals = [INTERVAL + name for name in bin_names()]
    tasks = [name.removesuffix(" tokens") for name in total if name.startswith(TASK) and name.endswith(" tokens")]
    tokens = sum(total[f"{name} tokens"] for name in intervals)
    return {
        "loss": total[WEIGHTED] / max(tokens, 1.0),
        "grad_norm": total[NORM],
        "tasks": _means(total, tasks, TASK),
        "timesteps": _means(total, intervals, INTERVAL),
        "fill": total[PLANNED] / total[CAPACITY],
    }


def _means(total: Mapping[str, float], names: list[str], prefix: str) -> dict[str, float]:
    pairs = {name.removeprefix(prefix): (total[f"{name} loss"], total[f"{name} tokens"]) for name in names}
    return {name: loss / tokens for name, (loss, tokens) in pairs.items() if tokens}
