"""The training configuration: frozen dataclasses, read from YAML with every mistake named before anything runs.

Durations are in optimizer steps, sizes in tokens or pixels, and nothing is in seconds. Paths in a file are relative to
that file; paths given by `--set` are relative to the current folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from x2i.settings import apply_overrides, build_settings, read_yaml

Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveNumber = Annotated[float, Field(gt=0)]


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    shards: dataset folders, or folders of training shards. validation_fraction: share of the source photographs that
    are held out, with every sample made from them; split_seed: which. weights: how often each task is drawn, in any
    unit; without them each sample counts the same; tasks not named are left out. max_side: longest side of an image in
    pixels. workers: processes that decode ahead, for each rank. bad_samples: how many undecodable ones to pass over.
    """

    shards: tuple[str, ...] = ()
    validation_fraction: Share = 0.05
    split_seed: int = 0
    weights: dict[str, Annotated[float, Field(ge=0)]] | None = None
    max_side: Annotated[int, Field(ge=16)] = 256
    workers: NotNegative = 0
    bad_samples: NotNegative = 100


@dataclass(frozen=True)
class NetworkConfig:
    """Which network. preset, overrides: see `omnigen.config`. codec: dct, dct:CHANNELS or sdxl:FOLDER. tokenizer: bytes
    or hf:FOLDER. init: a model folder whose weights to start from; null starts from random ones.
    """

    preset: str = "tiny"
    overrides: dict[str, Any] = field(default_factory=dict)
    codec: str = "dct"
    tokenizer: str = "bytes"
    init: str | None = None


@dataclass(frozen=True)
class OptimizationConfig:
    """How it is trained.

    steps: optimizer steps. packs_per_step: packs in one step over all ranks; a rank with several accumulates their
    gradients. pack_tokens: token budget of a pack. lr: peak learning rate, reached after `warmup` steps; `cosine` falls
    to min_lr_ratio * lr at the last step, `constant` stays. clip: largest gradient norm. dropout_text, dropout_images,
    dropout_both: probability of training without the words, the input images, or either. timestep_shift: s in
    t / (t + s - s t), 1 for none. edit_weighting: weigh what an edit changes. precision: auto is bf16 on CUDA, fp32 on
    a CPU. checkpointing: what the backward pass computes again instead of keeping it: none, selective (of every layer
    what follows attention: half the memory or less) or full (every layer whole: the least memory, the slowest).
    threads: of each rank on the CPU, 0 for torch's choice; sums are split among them, so runs are equal bit for bit
    only if their numbers of threads are.
    """

    steps: Positive = 1000
    packs_per_step: Positive = 1
    pack_tokens: Positive = 4096
    lr: PositiveNumber = 1e-4
    warmup: NotNegative = 100
    schedule: Literal["cosine", "constant"] = "constant"
    min_lr_ratio: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: PositiveNumber = 1.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    seed: int = 0
    dropout_text: Share = 0.05
    dropout_images: Share = 0.05
    dropout_both: Share = 0.1
    timestep_mean: float = 0.0
    timestep_std: PositiveNumber = 1.0
    timestep_shift: PositiveNumber = 1.0
    edit_weighting: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    attention: Literal["auto", "segment", "flex", "varlen"] = "auto"
    checkpointing: Literal["none", "selective", "full"] = "none"
    threads: NotNegative = 0

    def __post_init__(self) -> None:
        if self.dropout_text + self.dropout_images + self.dropout_both > 1:
            raise ValueError("dropout_text + dropout_images + dropout_both of at most 1")


@dataclass(frozen=True)
class LogConfig:
    """What is written, and how often. A period is in steps; 0 is never.

    every: lines of metrics. validate_every, validation_samples: of held-out samples, each judged at every timestep bin.
    sample_every: of picture grids, drawn from `sample_held_out` held-out samples and from `prompts` (text only) in
    `sample_steps` Euler steps with the given guidance strengths (image_guidance 0: no branch for the images alone).
    """

    every: Positive = 10
    validate_every: NotNegative = 500
    validation_samples: Positive = 64
    sample_every: NotNegative = 500
    sample_held_out: NotNegative = 8
    sample_steps: Positive = 50
    guidance: Annotated[float, Field(ge=0)] = 2.5
    image_guidance: Annotated[float, Field(ge=0)] = 1.6
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class CheckpointConfig:
    """every: steps between checkpoints (0: only the last); keep: how many of the newest stay."""

    every: NotNegative = 500
    keep: Positive = 2


@dataclass(frozen=True)
class TrainingConfig:
    """A whole training run."""

    data: DataConfig = DataConfig()
    model: NetworkConfig = field(default_factory=NetworkConfig)
    train: OptimizationConfig = OptimizationConfig()
    log: LogConfig = LogConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    def to_dict(self) -> dict[str, Any]:
        """Returns the plain form, as YAML and JSON hold it."""
        document: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return document

    def to_yaml(self) -> str:
        """Returns the configuration as YAML that `load_config` reads back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def load_config(path: Path, overrides: Sequence[str] = ()) -> TrainingConfig:
    """Reads a YAML file and applies `section.key=value` overrides, whose values are YAML too.

    Raises UserError naming the file, the key path, what was found and what was expected.
    """
    document = read_yaml(path)
    _anchor_paths(document, path.parent)
    document = apply_overrides(document, overrides)
    _anchor_paths(document, Path.cwd())  # what the file gave is absolute by now
    return build_settings(TrainingConfig, document, str(path))


def differences(old: TrainingConfig, new: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Returns {"section.key": (old, new)} for every setting that differs."""
    before, after = old.to_dict(), new.to_dict()
    return {
        f"{section}.{key}": (before[section][key], after[section][key])
        for section in before
        for key in before[section]
        if before[section][key] != after[section][key]
    }


def _anchor_paths(document: dict[str, Any], folder: Path) -> None:
    """Makes data.shards and model.init absolute. Leaves alone what has a wrong type; validation says so."""
    data, model = document.get("data"), document.get("model")
    if isinstance(data, dict) and isinstance(data.get("shards"), str):
        data["shards"] = [data["shards"]]
    if isinstance(data, dict) and isinstance(data.get("shards"), list):
        data["shards"] = [_anchored(item, folder) for item in data["shards"]]
    if isinstance(model, dict) and isinstance(model.get("init"), str):
        model["init"] = _anchored(model["init"], folder)


def _anchored(path: Any, folder: Path) -> Any:
    return str((folder / path).resolve()) if isinstance(path, str) else path
