"""Training runs in this process, to look at what they hold between two steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from omnigen.data.loading.loader import LoadedStep
from omnigen.train.config import load_config
from omnigen.train.parallel import Ranks
from omnigen.train.prepare import prepare_step
from omnigen.train.setup import PhaseParts, assemble
from omnigen.train.trainer import Event, Trainer

CPU = Ranks(0, 1, torch.device("cpu"))


@contextmanager
def training(config: Path, run: Path, *overrides: str) -> Iterator[Trainer]:
    """Gives the trainer of a run, with nothing done yet; its log is closed at the end."""
    trainer = Trainer(assemble(load_config(config, overrides), CPU), run)
    try:
        yield trainer
    finally:
        trainer.checkpoints.wait()
        trainer.close()


def go_on(life: Iterator[Event], until: Callable[[Event], bool] = lambda event: False) -> list[Event]:
    """Takes the events of `Trainer.train()` up to the first that `until` accepts, or to the end; returns them."""
    happened = []
    for event in life:
        happened.append(event)
        if until(event):
            break
    return happened


def first_step(trainer: Trainer, parts: PhaseParts) -> LoadedStep:
    """Returns the step that a trainer would take next in a phase, loaded."""
    return next(iter(trainer._loader(parts)))


def take_step(trainer: Trainer, loaded: LoadedStep, parts: PhaseParts) -> None:
    """Takes a loaded step to its end."""
    prepared = prepare_step(loaded, trainer.setup, parts)
    trainer._read(prepared, trainer._begin(prepared, parts, trainer.state.step), parts)


def wake(trainer: Trainer) -> None:
    """Gives the last layer weights: with none, as a fresh network has it, the layers before it have no gradient."""
    weight = trainer.setup.model.final_layer.linear.weight
    torch.nn.init.normal_(weight, std=0.1, generator=torch.Generator().manual_seed(1))
