"""One optimizer step: begun on the device without waiting for it, and read when its numbers are on the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from omnigen.device_copies import HostCopy
from omnigen.network.blocks import Checkpointing
from omnigen.network.model import OmniGen
from omnigen.train.ema import Average
from omnigen.train.objective import FlowPack, count_tokens, sample_losses
from omnigen.train.optimizer import set_learning_rate
from omnigen.train.parallel import Ranks
from omnigen.train.sharding import sync_gradients, whole


class StepSettings(Protocol):
    """What a step needs of `OptimizationConfig`."""

    @property
    def attention(self) -> str: ...
    @property
    def checkpointing(self) -> Checkpointing: ...
    @property
    def clip(self) -> float: ...


@dataclass(frozen=True)
class BegunStep:
    """A step that the device may still be computing. packs: this rank's; their memory is needed until the step is done.

    tokens: target tokens that count, of all ranks. numbers: the gradient's norm, then for each pack the weighted losses
    of its samples, the plain ones and the timesteps.
    """

    packs: tuple[FlowPack, ...]
    tokens: int
    numbers: HostCopy

    def read(self) -> tuple[float, list[tuple[FlowPack, Tensor]]]:
        """Waits for the step; returns the gradient's norm before clipping, and each pack with its float32 (3, samples):
        weighted losses, plain losses, timesteps.
        """
        sizes = [3 * len(pack.clean) for pack in self.packs]
        norm, *parts = self.numbers.read().split([1, *sizes])
        return float(norm), [(pack, part.view(3, -1)) for pack, part in zip(self.packs, parts)]


@dataclass(frozen=True)
class Stepper:
    """Takes optimizer steps. average: None if none is kept. sharded: `model` is spread over the ranks; sync_once: its
    gradients are then reduced once a step. autocast: the context in which the network computes.
    """

    model: OmniGen
    optimizer: torch.optim.Optimizer
    average: Average | None
    ranks: Ranks
    autocast: Callable[[], AbstractContextManager[Any]]
    sharded: bool = False
    sync_once: bool = False

    def begin(self, packs: Sequence[FlowPack], settings: StepSettings, step: int, rate: float) -> BegunStep:
        """Begins step number `step`, from 0, at the learning rate `rate`; `packs` are on the device.

        Nothing here waits for the device, so that the next step can be begun before this one is done. Sharded ranks
        must have equally many packs.
        """
        tokens = int(self.ranks.sum(torch.tensor(count_tokens(packs))))
        self.optimizer.zero_grad(set_to_none=True)
        numbers: list[Tensor] = []
        for number, pack in enumerate(packs, 1):
            if self.sharded and self.sync_once:
                sync_gradients(self.model, number == len(packs))
            with self.autocast():
                losses = sample_losses(self.model, pack, settings.attention, settings.checkpointing)
            (losses.weighted_S.sum() / max(tokens, 1)).backward()  # type: ignore[no-untyped-call]
            numbers += [losses.weighted_S.detach(), losses.plain_S, pack.timesteps_S]
        if not self.sharded:
            self.ranks.sum_gradients(self.model)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        norm = whole(torch.nn.utils.clip_grad_norm_(trained, settings.clip))
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model, step)
        return BegunStep(tuple(packs), tokens, HostCopy(torch.cat([norm.reshape(1), *numbers])))
