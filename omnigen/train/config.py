"""The training configuration: frozen dataclasses, read from YAML with every mistake named before anything runs.

Durations are in optimizer steps, sizes in tokens or pixels, and nothing is in seconds. Paths in a file are relative to
that file; paths given by `--set` are relative to the current folder.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field

from omnigen.generate.options import GenerationOptions
from omnigen.images import TOKEN_PIXELS
from omnigen.train.config_paths import anchor_paths
from x2i.settings import apply_overrides, build_settings, read_yaml

if TYPE_CHECKING:
    from omnigen.weights.lora.config import LoraConfig


def _require_token(side: int) -> int:
    if side != 0 and side < TOKEN_PIXELS:
        raise ValueError(f"expected 0, for that of model.init, or at least {TOKEN_PIXELS}")
    return side


Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, AfterValidator(_require_token)]
Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]


def _require_some_weight(weights: Weights | None) -> None:
    if weights is not None and not sum(weights.values()) > 0:
        raise ValueError("expected weights with at least one above 0, or null: every sample counts the same")


@dataclass(frozen=True)
class DataConfig:
    """What is trained on.

    shards: dataset folders, folders of training shards or single tars, local or URLs such as s3://bucket/data;
    "{00000..00999}.tar" is a thousand tars.
    validation_fraction: share of the source photographs that are held out, with every sample made from them;
    split_seed: which. weights: how often each task is drawn, in any unit; without them each sample counts the same;
    tasks not named are left out. max_side: longest side of an image in pixels. workers: processes that decode ahead,
    for each rank. bad_samples: how many undecodable ones to pass over. cache_dir: where copies of shards on a store are
    kept (null: X2I_CACHE), shared by all of a machine; cache_bytes: how much of them (null: X2I_CACHE_GB; 0: none).
    max_side 0: that of model.init, at most 512. trigger: a word put before every instruction that does not have it.
    class_shards: more training shards, of other pictures of the same class (prior preservation): of every step's
    samples class_share come from them. They count as the task `class`, get no trigger and are never held out.
    latents, text: use what `omnigen encode` kept beside the shards: auto where it is valid, never, or require it of
    every shard. flip: probability of mirroring all images of a sample whose task and words allow it; not with latents.
    stream: how many shards to open at a time, for sets too large to look at beforehand
    (docs/guides/training-data.md says what is not promised then); 0 looks at all of them at the start.
    """

    shards: tuple[str, ...] = ()
    validation_fraction: Share = 0.05
    split_seed: int = 0
    weights: Weights | None = None
    max_side: Side = 256
    trigger: str | None = None
    class_shards: tuple[str, ...] = ()
    class_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    workers: NotNegative = 0
    bad_samples: NotNegative = 100
    cache_dir: str | None = None
    cache_bytes: NotNegative | None = None
    latents: Literal["auto", "never", "require"] = "auto"
    text: Literal["auto", "never", "require"] = "auto"
    flip: Share = 0.0
    stream: NotNegative = 0

    def __post_init__(self) -> None:
        _require_some_weight(self.weights)
        if self.flip > 0 and self.latents == "require":
            raise ValueError(
                "expected flip 0 with latents: require, as kept latents cannot be mirrored; to mirror, set "
                "data.latents to never"
            )


@dataclass(frozen=True)
class NetworkConfig:
    """Which network. preset, overrides: see omnigen.network.config; `custom`: the overrides are the whole network.

    preset, codec and tokenizer may each be `init`: that of the folder in `init`, with the timestep shift it was trained
    with unless train.timestep_shift gives another than 1.

    codec: dct:CHANNELS, wavelet:Y+CB+CR, sdxl:FOLDER, or one of your own as mypackage.module:Class=ARGUMENT. tokenizer:
    bytes, hf:FOLDER, or words: trained on the instructions of the data and kept in the run and in its model. init: a
    folder of weights to start from, of any layout that `omnigen convert` reads, or of a Phi-3 language model; null
    starts from random ones. image_attention: causal is the paper's ablation.
    """

    preset: str = "tiny"
    overrides: dict[str, Any] = field(default_factory=dict)
    codec: str = "dct"
    tokenizer: str = "bytes"
    init: str | None = None
    image_attention: Literal["bidirectional", "causal"] = "bidirectional"


@dataclass(frozen=True)
class OptimizationConfig:
    """How it is trained.

    steps: optimizer steps, of a run without `phases`. packs_per_step: packs in one step over all ranks; a rank with
    several accumulates their gradients. pack_tokens: token budget of a pack. 0 for any of the three: chosen by the
    number and the length of the samples. lr: peak learning rate, reached after
    `warmup` steps; `cosine` falls to min_lr_ratio * lr at the last step, `constant` stays. clip: largest gradient norm.
    optimizer: adamw8bit keeps the moments of tensors with 4,096 elements or more in 8 bits (bitsandbytes; not with
    fsdp). lr_scales: factors of the learning rate by the beginning of a parameter's name, such as llm.embed_tokens (the
    text embeddings); `fresh` is all that a language model in model.init does not have.
    dropout_text, dropout_images, dropout_both: probability of training without the words, the input images, or either.
    timestep_shift: s in t / (t + s - s t), 1 for none. edit_weighting: weigh what an edit changes. precision: auto is
    bf16 on CUDA, fp32 on a CPU. checkpointing: what the backward pass computes again instead of keeping it: none,
    selective (of every layer what follows attention: half the memory or less) or full (every layer whole: the least
    memory, the slowest). compile: the layers, by torch.compile; the first steps are slow. threads: of each rank on the
    CPU, 0 for torch's choice; sums are split among them, so runs are equal bit for bit only if their numbers of threads
    are.
    """

    steps: NotNegative = 1000
    packs_per_step: NotNegative = 1
    pack_tokens: NotNegative = 4096
    lr: PositiveNumber = 1e-4
    warmup: NotNegative = 100
    schedule: Literal["cosine", "constant"] = "constant"
    min_lr_ratio: Share = 0.1
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    clip: PositiveNumber = 1.0
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    lr_scales: Weights = field(default_factory=dict)
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    seed: int = 0
    dropout_text: Share = 0.05
    dropout_images: Share = 0.05
    dropout_both: Share = 0.1
    timestep_mean: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    timestep_std: PositiveNumber = 1.0
    timestep_shift: PositiveNumber = 1.0
    edit_weighting: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    attention: Literal["auto", "segment", "padded", "flex", "varlen"] = "auto"
    checkpointing: Literal["none", "selective", "full"] = "none"
    compile: bool = False
    threads: Annotated[int, Field(ge=0, le=1024)] = 0

    def __post_init__(self) -> None:
        total = self.dropout_text + self.dropout_images + self.dropout_both
        if total > 1:
            raise ValueError(f"expected dropout_text + dropout_images + dropout_both of at most 1, they are {total:g}")


@dataclass(frozen=True)
class PhaseConfig:
    """One phase of a run that has several, such as 256 pixels first and 512 after. Every phase begins the data anew.

    steps: how long it lasts. name: what logs call it. The others are those of `data` and `train`, for this phase alone;
    what is null or not given is as there. The learning rate warms up and falls within the phase.
    """

    steps: Positive
    name: str | None = None
    max_side: Annotated[int, Field(ge=16)] | None = None
    weights: Weights | None = None
    pack_tokens: Positive | None = None
    packs_per_step: Positive | None = None
    lr: PositiveNumber | None = None
    warmup: NotNegative | None = None
    schedule: Literal["cosine", "constant"] | None = None
    min_lr_ratio: Share | None = None
    timestep_shift: PositiveNumber | None = None

    def __post_init__(self) -> None:
        _require_some_weight(self.weights)


@dataclass(frozen=True)
class LoraSettings:
    """Training of a low-rank adapter (LoRA) beside frozen weights. rank: 0 trains the whole network instead.

    alpha: the adapter's product is scaled by alpha / rank; null is alpha = rank. targets: names of the linear layers.
    frozen: the precision of the weights that are not trained; the adapter itself is fp32. int8 and nf4 (4 bits) need
    bitsandbytes and keep what is outside the decoder's linear layers in bf16.
    """

    rank: NotNegative = 0
    alpha: PositiveNumber | None = None
    targets: tuple[str, ...] = ("qkv_proj", "o_proj")
    frozen: Literal["fp32", "bf16", "int8", "nf4"] = "fp32"

    def adapter(self) -> LoraConfig | None:
        """Returns the adapter that is to be trained; None if the whole network is."""
        from omnigen.weights.lora.config import LoraConfig

        return LoraConfig(self.rank, self.alpha, self.targets) if self.rank else None


@dataclass(frozen=True)
class ParallelConfig:
    """How the ranks of a run share the network.

    mode: ddp keeps it whole on every rank; fsdp shards weights, gradients, optimizer and average over all ranks; hsdp
    shards over groups of `shard` ranks, each group a full replica. shard: ranks per group, for hsdp. sync: when a
    sharded network's gradients are reduced: after each pack, or once a step, for which every rank holds all of them
    (4 bytes a parameter) while it computes its packs; auto: once a step where a fifth of the GPU's memory stays free.
    """

    mode: Literal["ddp", "fsdp", "hsdp"] = "ddp"
    shard: NotNegative = 0
    sync: Literal["auto", "pack", "step"] = "auto"

    def is_sharded(self, world: int) -> bool:
        """Returns whether each of `world` ranks holds a part of the network only."""
        return self.mode != "ddp" and world > 1


@dataclass(frozen=True)
class LogPrompt:
    """A prompt to draw at intervals. input_images: paths; the prompt marks image k as `<img><|image_k|></img>`."""

    prompt: str
    input_images: tuple[str, ...] = ()


@dataclass(frozen=True)
class LogConfig:
    """What is written, and how often. A period is in steps; 0 is never.

    every: lines of metrics. validate_every, validation_samples: of held-out samples, each evaluated in every timestep
    bin. sample_every: of picture grids, drawn from `sample_held_out` held-out samples and from `prompts` in
    `sample_steps` Euler steps with the given guidance strengths (image_guidance 0: no branch for the images alone).
    prompts: words alone, or {prompt: ..., input_images: [paths]}.
    wandb: project of Weights & Biases to send the numbers to as well. peak_tflops: what a device can do at most, by
    which to tell its share (MFU); null knows some GPUs by name.
    """

    every: Positive = 10
    validate_every: NotNegative = 500
    validation_samples: Positive = 64
    sample_every: NotNegative = 500
    sample_held_out: NotNegative = 8
    sample_steps: Positive = GenerationOptions.steps
    guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = GenerationOptions.guidance
    image_guidance: Annotated[float, Field(ge=0, allow_inf_nan=False)] = GenerationOptions.image_guidance
    prompts: tuple[str | LogPrompt, ...] = ()
    wandb: str | None = None
    peak_tflops: PositiveNumber | None = None


@dataclass(frozen=True)
class CheckpointConfig:
    """every: steps between checkpoints (0: only the last); keep: how many of the newest stay.

    background: write while training goes on, from a copy in memory. best: also save and keep the checkpoint of the
    lowest validation loss, and export its average to best/.
    """

    every: NotNegative = 500
    keep: Positive = 2
    background: bool = True
    best: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """A whole training run."""

    data: DataConfig = DataConfig()
    model: NetworkConfig = field(default_factory=NetworkConfig)
    train: OptimizationConfig = OptimizationConfig()
    phases: tuple[PhaseConfig, ...] = ()
    lora: LoraSettings = LoraSettings()
    parallel: ParallelConfig = ParallelConfig()
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
    anchor_paths(document, path.parent)
    return build_config(document, overrides, str(path))


def build_config(document: dict[str, Any], overrides: Sequence[str], origin: str) -> TrainingConfig:
    """Like `load_config`, of a document whose paths are absolute or relative to the current folder."""
    document = apply_overrides(document, overrides)
    anchor_paths(document, Path.cwd())
    return build_settings(TrainingConfig, document, origin)


def differences(old: TrainingConfig, new: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """Returns {"section.key": (old, new)} for every setting that differs."""
    before, after = old.to_dict(), new.to_dict()
    found = {
        f"{section}.{key}": (before[section][key], after[section][key])
        for section in before
        if isinstance(before[section], dict)
        for key in before[section]
        if before[section][key] != after[section][key]
    }
    if before["phases"] != after["phases"]:
        found["phases"] = (before["phases"], after["phases"])
    return found
