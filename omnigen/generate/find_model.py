"""Finds the model that a folder stands for: a model folder, or what a training run has left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen.train.run_folder import RunFolder
from omnigen.weights.formats import is_model_folder
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.weights.lora.delta import Adapter

FETCH = "`hf download Shitao/OmniGen-v1 --local-dir OmniGen-v1`"


@dataclass(frozen=True)
class FoundModel:
    """A model folder, and the adapter that a run has trained beside it, if it trained one.

    timestep_shift: that the adapter was trained with; None: the model folder's.
    """

    folder: Path
    adapters: tuple[Adapter, ...] = ()
    timestep_shift: float | None = None


def find_model(folder: Path) -> Path:
    """Returns the model folder of a training run, or `folder` itself if it is one; else raises UserError."""
    run = RunFolder(folder)
    for candidate in (run.model, folder):
        if is_model_folder(candidate):
            return candidate
    if run.checkpoints.is_dir():
        raise UserError(
            f"{folder}: this run has checkpoints, but no exported model yet (model/config.json); that comes "
            f"when training ends. To finish it, give its configuration to omnigen train again"
        )
    absent = "" if folder.exists() else f"; there is no such folder; {FETCH} fetches the published weights"
    raise UserError(
        f"{folder}: expected the folder of a training run, or a model folder with config.json and model.safetensors"
        f"{absent}"
    )


def find_trained(folder: Path) -> FoundModel:
    """Returns the model to generate with: of a model folder, of a run, or of an adapter's folder.

    Raises UserError if there is none, or an adapter's base is gone.
    """
    is_adapter = (folder / "adapter_config.json").is_file()
    run = RunFolder(folder.parent if is_adapter else folder)
    adapter = folder if is_adapter else run.adapter
    if not is_adapter and (is_model_folder(run.model) or not (adapter / "adapter_config.json").is_file()):
        return FoundModel(find_model(folder))
    from omnigen.weights.lora.files import base_of, read_adapters

    base = Path(base_of(adapter))
    if not base.is_dir():
        raise UserError(
            f"{adapter}: was trained beside the model {base}, which is not there. If it was moved, give its new "
            f"folder and the adapter: --model FOLDER --lora {adapter}"
        )
    return FoundModel(find_model(base), tuple(read_adapters([adapter])), _trained_shift(run))


def _trained_shift(run: RunFolder) -> float | None:
    from omnigen.train.config import load_config
    from omnigen.train.phases import run_phases

    return run_phases(load_config(run.config))[-1].train.timestep_shift if run.config.is_file() else None
