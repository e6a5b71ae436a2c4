"""What a finished run leaves: the averaged weights, as a model folder or an adapter, and a summary."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

import omnigen
from omnigen.tokenizer import WORDS, WordTokenizer
from omnigen.train.checkpoint import RunState, load_checkpoint
from omnigen.train.checkpoint_files import MARKER, checkpoint_name
from omnigen.train.metrics import read_lines
from omnigen.train.run_folder import METRICS, VALIDATION, RunFolder
from omnigen.train.setup import Setup
from omnigen.train.sharding import whole, whole_state
from omnigen.weights import save_model
from omnigen.weights.formats import INSIDE
from omnigen.weights.lora import lora_state, save_adapter
from x2i.store.files.atomic import write_json


def export(setup: Setup, optimizer: torch.optim.Optimizer, state: RunState, run: RunFolder) -> None:
    """Writes the averaged weights, those of the best step to best/, then the summary: the last thing that a run does.

    Of the best step, the checkpoint is loaded into `setup` and `optimizer`. All ranks must call it; the first one
    writes.
    """
    _export_average(setup, run.adapter if setup.config.lora.rank else run.model)
    best = run.checkpoints / checkpoint_name(state.best_step)
    if setup.config.checkpoint.best and 0 < state.best_step < state.step and (best / MARKER).is_file():
        load_checkpoint(best, setup.model, optimizer, setup.average, setup.ranks)
        _export_average(setup, run.best)
    elif setup.ranks.is_main and run.best.is_dir():  # of an earlier end of this run
        shutil.rmtree(run.best)
    if setup.ranks.is_main:
        write_json(run.summary, _summary(setup, state, run))


def _export_average(setup: Setup, folder: Path) -> None:
    """Writes the average as an adapter, or as a model folder."""
    with setup.average.applied_to(setup.model):
        if adapter := setup.config.lora.adapter():
            tensors = {name: whole(tensor) for name, tensor in lora_state(setup.model).items()}
            if setup.ranks.is_main:
                save_adapter(folder, adapter, tensors, setup.config.model.init or "", setup.base)
        elif setup.config.model.image_attention == "bidirectional":  # causal networks cannot be sampled from
            weights = whole_state(setup.model) if setup.sharded else setup.model.state_dict()
            if setup.ranks.is_main:
                last = setup.phases[-1].phase
                tokenizer = setup.tokenizer.name
                if isinstance(setup.tokenizer, WordTokenizer):  # comes along, as the folder may be moved
                    setup.tokenizer.copy_to(folder / "tokenizer")
                    tokenizer = f"{WORDS}:{INSIDE}tokenizer"
                save_model(
                    folder,
                    setup.model.config,
                    weights,
                    tokenizer=tokenizer,
                    codec=setup.codec.name,
                    image_size=last.max_side,
                    timestep_shift=last.train.timestep_shift,
                )


def _summary(setup: Setup, state: RunState, run: RunFolder) -> dict[str, Any]:
    """Untrained and trained are compared at the last phase's resolution, by its first and last validation."""
    last = setup.phases[-1].phase.index + 1
    lines = [line for line in read_lines(run.path / VALIDATION) if line["phase"] == last]
    first = next((line for line in lines if "mean_predictor" in line), None)  # of the phase's beginning
    final = lines[-1] if lines else None
    metrics = read_lines(run.path / METRICS)
    return {
        "omnigen": omnigen.__version__,
        "steps": state.step,
        "samples": state.samples,
        "tokens": state.tokens,
        "target_tokens": state.target_tokens,
        "parameters": sum(parameter.numel() for parameter in setup.model.parameters()),
        "trained_parameters": sum(parameter.numel() for parameter in setup.trained),
        **setup.data.counts(),
        "too_long": setup.phases[-1].too_long,
        "bad_samples": state.bad,
        "training_loss": metrics[-1]["loss"] if metrics else None,
        "validation": {
            "untrained": _losses(first),
            "mean_predictor": first and first["mean_predictor"],
            "trained": _losses(final),
        },
        "best": {"step": state.best_step, "loss": state.best_loss} if state.best_step else None,
    }


def _losses(line: dict[str, Any] | None) -> dict[str, Any] | None:
    return line and {key: line[key] for key in ("loss", "tasks", "timesteps", "copy_rate", "copy_rates")}
