"""Checkpoints by torch.distributed.checkpoint, with the state of the data beside them and a marker written last.

A checkpoint folder holds DCP's files (weights, average, optimizer), `state.json` (`RunState`) and, once all of it is on
disk, the empty file COMPLETE. A folder without it is what a killed run left, and is cleared away.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from omnigen.data.packing import PackingState
from omnigen.train.ema import Average
from omnigen.train.parallel import Ranks
from x2i.errors import UserError
from x2i.store.atomic import write_bytes, write_json

MARKER = "COMPLETE"
STATE_FILE = "state.json"


@dataclass(frozen=True)
class RunState:
    """Everything about a run that is not a tensor.

    step: steps done. data: where the planner stands. catalog: fingerprint of the samples trained on. samples,
    target_tokens, tokens: seen so far, over all ranks. bad: keys of the samples that could not be decoded. sums: of the
    metrics since the last line, by name.
    """

    step: int = 0
    data: PackingState = field(default_factory=PackingState)
    catalog: str = ""
    samples: int = 0
    target_tokens: int = 0
    tokens: int = 0
    bad: tuple[str, ...] = ()
    sums: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form; floats survive it bit for bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunState:
        """Reads what `to_json` wrote."""
        data = PackingState(document["data"]["next"], tuple(document["data"]["waiting"]))
        return cls(**{**document, "data": data, "bad": tuple(document["bad"])})


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run, in `folder`, of which the `keep` newest stay."""

    folder: Path
    keep: int
    ranks: Ranks

    def save(self, state: RunState, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> Path:
        """Writes the checkpoint of `state.step`, marks it complete, and removes the oldest beyond `keep`."""
        path = self.folder / f"step-{state.step:07d}"
        if self.ranks.is_main and path.exists():
            shutil.rmtree(path)
        self.ranks.wait()
        path.mkdir(parents=True, exist_ok=True)
        with _single_process_is_meant():
            dcp.save(_tensors(model, optimizer, average), checkpoint_id=path, no_dist=self.ranks.world == 1)
        if self.ranks.is_main:
            write_json(path / STATE_FILE, state.to_json())
            write_bytes(path / MARKER, b"")
            for old in self.complete()[: -self.keep]:
                (old / MARKER).unlink()  # first, so that a half-removed checkpoint is never taken for a whole one
                shutil.rmtree(old)
        self.ranks.wait()
        return path

    def complete(self) -> list[Path]:
        """Returns the complete checkpoints, oldest first."""
        return sorted(path.parent for path in self.folder.glob(f"step-*/{MARKER}"))

    def clear_incomplete(self) -> None:
        """Removes what killed saves left."""
        if self.ranks.is_main:
            for path in self.folder.glob("step-*"):
                if not (path / MARKER).exists():
                    shutil.rmtree(path)
        self.ranks.wait()


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average, ranks: Ranks
) -> RunState:  # fmt: skip
    """Loads a complete checkpoint into `model`, `optimizer` and `average`, in place. Raises UserError for any other."""
    if not (path / MARKER).is_file():
        raise UserError(f"{path}: not a complete checkpoint (no file {MARKER} in it)")
    tensors = _tensors(model, optimizer, average)
    with _single_process_is_meant():
        dcp.load(tensors, checkpoint_id=path, no_dist=ranks.world == 1)
    model.load_state_dict(tensors["model"])
    set_optimizer_state_dict(model, optimizer, tensors["optimizer"])
    return RunState.from_json(json.loads((path / STATE_FILE).read_text()))


@contextmanager
def _single_process_is_meant() -> Iterator[None]:
    """DCP warns of a missing process group even where `no_dist` says that none is wanted."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        yield


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> dict[str, Any]:
    return {
        "model": model.state_dict(),
        "optimizer": get_optimizer_state_dict(model, optimizer),
        "average": average.average,
    }
