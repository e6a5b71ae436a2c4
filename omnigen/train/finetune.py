"""Fine-tuning without a configuration file: the settings of `omnigen train --init FOLDER --data D`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnigen.train.config import TrainingConfig, build_config
from x2i.errors import UserError

ORIGIN = "omnigen train --init"
FULL = {"train.lr": 2e-5, "lora.rank": 0}
"""What differs where all weights are trained."""


def finetune_document() -> dict[str, Any]:
    """Returns the settings of manifests/train/finetune.yaml, without a folder and data."""
    return {
        "data": {"shards": [], "validation_fraction": 0.1, "max_side": 0, "workers": 1},
        "model": {"preset": "init", "codec": "init", "tokenizer": "init", "init": None},
        "lora": {"rank": 8, "frozen": "bf16"},
        "train": {
            "steps": 0,
            "packs_per_step": 0,
            "pack_tokens": 0,
            "lr": 1.0e-3,
            "warmup": 20,
            "ema_decay": 0.99,
            "dropout_text": 0.05,
            "dropout_images": 0.05,
            "dropout_both": 0.1,
            "checkpointing": "selective",
        },
        "log": {"every": 10, "validate_every": 100, "sample_every": 250, "sample_held_out": 4},
        "checkpoint": {"every": 100, "keep": 2, "best": True},
    }


def finetune_config(
    init: Path,
    data: Sequence[str],
    overrides: Sequence[str] = (),
    *,
    steps: int | None = None,
    full: bool = False,
    trigger: str | None = None,
    class_shards: Sequence[str] = (),
    needs_data: bool = True,
) -> TrainingConfig:
    """Returns the settings of a fine-tune of the network in `init` on the shards in `data`, overrides applied last.

    Raises UserError for data that are missing or values that do not fit.
    """
    if not data and needs_data:
        raise UserError("--data: missing; give the folder of a dataset, or of training shards, to train on")
    document = finetune_document()
    document["model"]["init"] = str(init)
    document["data"].update(shards=list(data), trigger=trigger, class_shards=list(class_shards))
    if full:
        for name, value in FULL.items():
            section, key = name.split(".")
            document[section][key] = value
    if steps is not None:
        document["train"]["steps"] = steps
    return build_config(document, overrides, ORIGIN)
