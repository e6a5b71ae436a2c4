"""A running average of the weights, in fp32: in bf16 an average with decay 0.9999 rounds back to where it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from omnigen.train.sharding import local, reshard


class Average:
    """The exponential moving average of a network's trained parameters.

    decay: its end value; the n-th update (from 0) uses min(decay, (1 + n) / (10 + n)), so that a short run is not an
    average of its random beginning. average: fp32, by parameter name; sharded as the parameters are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().float().clone() for name, p in _trained(model)}

    @torch.no_grad()
    def update(self, model: nn.Module, count: int) -> None:
        """Moves the average towards the weights; `count` updates came before."""
        rate = 1 - min(self.decay, (1 + count) / (10 + count))
        averages = [local(tensor) for tensor in self.average.values()]
        torch._foreach_lerp_(averages, [local(p.detach()).float() for _, p in _trained(model)], rate)

    @contextmanager
    def applied_to(self, model: nn.Module) -> Iterator[None]:
        """Inside the block the network has the average's weights; after it, its own again."""
        self._swap(model)
        try:
            yield
        finally:
            self._swap(model)

    @torch.no_grad()
    def _swap(self, model: nn.Module) -> None:
        reshard(model)
        for name, parameter in _trained(model):
            now, average = local(parameter.detach()), local(self.average[name])
            own = now.clone()
            now.copy_(average)
            average.copy_(own)

    def state_dict(self, model: nn.Module) -> dict[str, Tensor]:
        """Returns the network's state dict with averaged parameters: what is exported."""
        return {**model.state_dict(), **self.average}


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
