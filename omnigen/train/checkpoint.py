"""Checkpoints by torch.distributed.checkpoint, with the state of the data beside them and a marker written last.

A checkpoint folder holds DCP's files (trained weights, average, optimizer), `state.json` (`RunState`), `files.json`
and, once all of it is on disk, the empty file COMPLETE. A folder without it is what a killed run left, and is cleared
away.
"""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint import CheckpointException
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

from omnigen.data.order.packing import PackingState
from omnigen.train.checkpoint_files import (
    FILES,
    MARKER,
    STATE_FILE,
    FileEntry,
    all_checkpoints,
    checkpoint_name,
    checkpoint_step,
    complete_checkpoints,
    require_undamaged,
    written_by,
)
from omnigen.train.ema import Average
from omnigen.train.parallel import Ranks
from x2i.errors import RunError, UserError
from x2i.store.files.atomic import write_bytes, write_json

OF_MODEL = "model."  # how DCP names the parameters


@dataclass(frozen=True)
class RunState:
    """Everything about a run that is not a tensor.

    step: steps done. phase: index of the phase of the last step, -1 before any. data: where that phase's schedule
    stands. catalog: fingerprint of the samples trained on. samples, target_tokens, tokens: seen so far, over all ranks.
    bad: keys of the samples that could not be decoded. sums: of the metrics since the last line, by name.
    evaluation_due: a stop put off the validation and the pictures of this step. base: fingerprint of the frozen
    weights beside which an adapter is trained. codec, tokenizer: their fingerprints; "" in older checkpoints.
    best_step, best_loss: of the lowest validation loss since the beginning of the phase; step 0: none yet.
    """

    step: int = 0
    phase: int = -1
    data: PackingState = field(default_factory=PackingState)
    catalog: str = ""
    samples: int = 0
    target_tokens: int = 0
    tokens: int = 0
    bad: tuple[str, ...] = ()
    sums: Mapping[str, float] = field(default_factory=dict)
    evaluation_due: bool = False
    base: str = ""
    codec: str = ""
    tokenizer: str = ""
    best_step: int = 0
    best_loss: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Returns the JSON form; floats survive it bit for bit."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> RunState:
        """Reads what `to_json` wrote."""
        data = PackingState(document["data"]["next"], tuple(document["data"]["waiting"]))
        return cls(**{**document, "data": data, "bad": tuple(document["bad"])})


class Checkpoints:
    """The checkpoints of a run, in `folder`, of which the `keep` newest stay.

    background: `save` copies everything to memory and returns; a thread writes while training goes on.
    """

    def __init__(self, folder: Path, keep: int, ranks: Ranks, background: bool = False) -> None:
        self.folder, self.keep, self.ranks, self.background = folder, keep, ranks, background
        # The writing thread talks to the other ranks' threads on a channel of its own, beside training's.
        self._group = cast("dist.ProcessGroup", dist.new_group(backend="gloo")) if ranks.world > 1 else None
        self._writing: Thread | None = None
        self._failure: BaseException | None = None

    def save(self, state: RunState, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> Path:
        """Writes the checkpoint of `state.step`, marks it complete, and removes the oldest beyond `keep`, but for that
        of `state.best_step`.

        Waits for the one before to be written. Raises what went wrong with it.
        """
        self.wait()
        path = self.folder / checkpoint_name(state.step)
        if self.ranks.is_main and path.exists():
            shutil.rmtree(path)
        self.ranks.wait()
        path.mkdir(parents=True, exist_ok=True)
        tensors = _tensors(model, optimizer, average)
        if self.background:
            self._writing = Thread(target=self._write_noting_failure, args=(path, state, _copied(tensors)), daemon=True)
            self._writing.start()
        else:
            try:
                self._write(path, state, tensors)
            except (OSError, CheckpointException) as error:
                raise _write_failure(error, path) from error
        return path

    def wait(self) -> None:
        """Returns when the last checkpoint is complete. Raises what went wrong with it."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._failure is not None:
            raise _write_failure(self._failure, self.folder)
        self.ranks.wait()

    def complete(self) -> list[Path]:
        """Returns the complete checkpoints, oldest first."""
        return complete_checkpoints(self.folder)

    def clear_incomplete(self) -> None:
        """Removes what killed saves left."""
        if self.ranks.is_main:
            for path in all_checkpoints(self.folder):
                if not (path / MARKER).exists():
                    shutil.rmtree(path)
        self.ranks.wait()

    def clear_after(self, step: int) -> list[Path]:
        """Removes the checkpoints of later steps, of a life that is not continued; returns them."""
        later = [path for path in self.complete() if checkpoint_step(path) > step]
        self.ranks.wait()  # until all have looked
        if self.ranks.is_main:
            for path in later:
                (path / MARKER).unlink()
        self.clear_incomplete()
        return later

    def _write_noting_failure(self, path: Path, state: RunState, tensors: dict[str, Any]) -> None:
        try:
            self._write(path, state, tensors)
        except BaseException as error:  # noqa: BLE001 a thread has nobody to raise to: `wait` raises it
            self._failure = error

    def _write(self, path: Path, state: RunState, tensors: dict[str, Any]) -> None:
        with _without_group_warning():
            dcp.save(tensors, checkpoint_id=path, process_group=self._group, no_dist=self.ranks.world == 1)
        if self.ranks.is_main:
            write_json(path / STATE_FILE, state.to_json())
        files: list[dict[str, FileEntry]] = [written_by(path, self.ranks.rank)]
        if self._group is not None:
            mine, files = files[0], [{}] * self.ranks.world
            dist.all_gather_object(files, mine, group=self._group)
        if not self.ranks.is_main:
            return
        write_json(path / FILES, {name: entry for part in files for name, entry in part.items()})
        write_bytes(path / MARKER, b"")
        for old in self.complete()[: -self.keep]:
            if checkpoint_step(old) == state.best_step:
                continue
            (old / MARKER).unlink()  # first, so that a half-removed checkpoint is never taken for a whole one
            shutil.rmtree(old)


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average, ranks: Ranks
) -> RunState:  # fmt: skip
    """Loads a complete checkpoint into `model`, `optimizer` and `average`, in place.

    Raises RunError if it is damaged, UserError if it is of other parameters than are trained here.
    """
    if not (path / MARKER).is_file():
        raise UserError(f"{path}: not a complete checkpoint (no file {MARKER} in it)")
    require_undamaged(path, ranks)
    tensors = _tensors(model, optimizer, average)
    _require_same_parameters(path, tensors["model"])
    with _without_group_warning():
        dcp.load(tensors, checkpoint_id=path, no_dist=ranks.world == 1)
    set_optimizer_state_dict(model, optimizer, tensors["optimizer"])
    return RunState.from_json(json.loads((path / STATE_FILE).read_text()))


def _require_same_parameters(path: Path, wanted: Mapping[str, Tensor]) -> None:
    """DCP itself would pass over what a checkpoint has beyond what is asked of it."""
    entries = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
    held = {
        name.removeprefix(OF_MODEL): tuple(entry.size)
        for name, entry in entries.items()
        if name.startswith(OF_MODEL) and isinstance(entry, TensorStorageMetadata)
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in wanted.items()}
    unequal = sorted(name for name in {*held, *shapes} if held.get(name) != shapes.get(name))
    if unequal:
        name = unequal[0]
        raise UserError(
            f"{path}: of another network or adapter than the one configured: {len(unequal)} of its parameters differ, "
            f"such as {name}: {held.get(name, 'nothing')} there, {shapes.get(name, 'nothing')} here. Restore the "
            f"settings of model and lora that it was trained with"
        )


def _write_failure(error: BaseException, path: Path) -> BaseException:
    """Returns what went wrong with writing: a RunError if it was the disk."""
    causes = [cause for cause, _ in error.failures.values()] if isinstance(error, CheckpointException) else [error]
    if not all(isinstance(cause, OSError) for cause in causes):
        return error
    return RunError(f"{path}: the checkpoint could not be written: {causes[0]}; the one before is unharmed")


@contextmanager
def _without_group_warning() -> Iterator[None]:
    """DCP warns of a missing process group even where `no_dist` says that none is wanted."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")
        yield


def _tensors(model: nn.Module, optimizer: torch.optim.Optimizer, average: Average) -> dict[str, Any]:
    """The trained parameters (an adapter's alone, if that is what is trained), sharing memory with the network."""
    return {
        "model": {name: p.detach() for name, p in model.named_parameters() if p.requires_grad},
        "optimizer": get_optimizer_state_dict(model, optimizer),
        "average": average.average,
    }


def _copied(value: Any) -> Any:
    """Returns `value` with every tensor in it copied to the CPU."""
    if isinstance(value, Tensor):
        return value.detach().clone() if value.device.type == "cpu" else value.detach().cpu()
    if isinstance(value, Mapping):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(item) for item in value)
    return value
