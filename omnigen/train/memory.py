"""The memory that a training run takes, and the devices it fits: arithmetic, before anything is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen.codecs.base import codec_channels
from omnigen.network.config import preset
from omnigen.network.flops import BF16, FP32, TrainMemory, num_parameters, train_memory
from omnigen.tokenizer import ByteTokenizer, load_tokenizer
from omnigen.train.phases import Phase, run_phases
from omnigen.weights.lora.config import LoraConfig
from omnigen.weights.quantized import BYTES as QUANTIZED

if TYPE_CHECKING:
    from omnigen.network.blocks import Checkpointing
    from omnigen.network.config import ModelConfig
    from omnigen.train.config import TrainingConfig

GB = 1e9
DEVICES = (24, 48, 80, 141)
"""Memory of common GPUs, in GB."""
USABLE = 0.92
"""Of a device's memory: the rest is the driver's, the allocator's and the codec's."""
ROOMY = 0.8
"""Of a device's memory, where more is taken than need be."""
RANKS = (1, 2, 4, 8)
MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")


@dataclass(frozen=True)
class ParallelOption:
    """A way to train the same network: ranks that share it, whole or as an adapter. memory: of each device."""

    name: str
    shards: int
    checkpointing: Checkpointing
    memory: TrainMemory

    def smallest_device(self) -> str:
        """Returns the smallest of DEVICES on which this fits, such as "80 GB"."""
        fitting = [size for size in DEVICES if self.memory.total <= USABLE * size * GB]
        return f"{fitting[0]} GB" if fitting else "none"


def planned_network(config: TrainingConfig) -> tuple[ModelConfig, list[str]]:
    """Returns the network of a run without loading anything from elsewhere, and what was assumed for it."""
    own, sizes, notes = preset(config.model.preset, **config.model.overrides), {}, []
    tokenizer, codec = config.model.tokenizer, config.model.codec
    if tokenizer == ByteTokenizer.name or (":" in tokenizer and Path(tokenizer.partition(":")[2]).is_dir()):
        sizes["vocab_size"] = load_tokenizer(tokenizer).vocab_size
    else:
        notes.append(f"tokenizer {tokenizer}: is not here; assumed to have the preset's {own.vocab_size:,} ids")
    if (channels := codec_channels(codec)) is not None:
        sizes["in_channels"] = channels
    else:
        notes.append(f"codec {codec}: not loaded; assumed to have the preset's {own.in_channels} channels")
    return preset(config.model.preset, **{**sizes, **config.model.overrides}), notes


def training_memory(config: TrainingConfig, network: ModelConfig, world: int, bf16: bool) -> TrainMemory:
    """Returns what each device of a run of `world` ranks holds in the phase that takes most."""
    shards = {"ddp": 1, "fsdp": world, "hsdp": config.parallel.shard or 1}[config.parallel.mode]
    return max(
        (
            train_memory(
                network,
                phase.train.pack_tokens,
                checkpointing=phase.train.checkpointing,
                precision="bf16" if bf16 else "fp32",
                lora=config.lora.adapter(),
                frozen_bytes=frozen_bytes(config),
                quantized_bytes=quantized_bytes(config),
                shards=shards,
                whole_gradients=config.parallel.sync == "step",
                accumulates=phase.train.packs_per_step > world,
            )
            for phase in run_phases(config)
        ),
        key=lambda memory: memory.total,
    )


def with_sync(
    config: TrainingConfig, network: ModelConfig, world: int, bf16: bool, device_bytes: int | None
) -> TrainingConfig:
    """Returns the settings with parallel.sync decided: where it is auto, once a step if the estimate then leaves a
    fifth of `device_bytes` free. None: of a device that does not say how much it has; there after each pack.
    """
    if config.parallel.sync != "auto":
        return config
    once = replace(config, parallel=replace(config.parallel, sync="step"))
    if device_bytes is not None and training_memory(once, network, world, bf16).total <= ROOMY * device_bytes:
        return once
    return replace(config, parallel=replace(config.parallel, sync="pack"))


def frozen_bytes(config: TrainingConfig) -> int:
    """Returns the bytes of an element of the weights beside which an adapter is trained, outside quantized layers."""
    return FP32 if config.lora.frozen == "fp32" else BF16


def quantized_bytes(config: TrainingConfig) -> float | None:
    """Returns the bytes of an element of quantized layers; None if there are none."""
    return QUANTIZED.get(config.lora.frozen)


def sampling_memory(config: TrainingConfig, network: ModelConfig, world: int) -> int:
    """Returns the bytes that generating samples takes on the first device: a whole copy of a network in shards."""
    whole_copy = config.parallel.is_sharded(world) and config.log.sample_every
    return num_parameters(network) * FP32 if whole_copy else 0


def parallel_options(config: TrainingConfig, network: ModelConfig) -> list[ParallelOption]:
    """Returns the ways to train on GPUs in bf16, with the longest packs of the configuration."""
    phases = run_phases(config)
    tokens, packs = (max(getattr(phase.train, name) for phase in phases) for name in ("pack_tokens", "packs_per_step"))
    adapter = config.lora.adapter() or LoraConfig()
    found = []
    for name, lora in (("whole network", None), (f"LoRA, rank {adapter.rank}", adapter)):
        for shards in RANKS:
            for mode in MODES:
                memory = train_memory(
                    network,
                    tokens,
                    checkpointing=mode,
                    precision="bf16",
                    lora=lora,
                    frozen_bytes=frozen_bytes(config),
                    quantized_bytes=quantized_bytes(config),
                    shards=shards,
                    accumulates=packs > shards,
                )
                found.append(ParallelOption(name, shards, mode, memory))
    return found


def describe(memory: TrainMemory, sampling: int = 0) -> str:
    """Returns what each device holds at the peak, and what it is made of. sampling: see `sampling_memory`."""
    parts = {
        "weights": memory.parameters + memory.compute_copies,
        "gradients": memory.gradients,
        "optimizer": memory.optimizer,
        "average": memory.average,
        "activations": memory.activations + memory.recomputed,
    }
    listed = ", ".join(f"{name} {format_bytes(count)}" for name, count in parts.items())
    turns = "" if memory.accumulates else " (gradients as activations go)"
    text = f"about {format_bytes(memory.total)} on each device: {listed}{turns}"
    pictures = memory.held + memory.gradients + sampling
    return text if pictures <= memory.total else f"{text}; about {format_bytes(pictures)} on the first for pictures"


def report(config: TrainingConfig, network: ModelConfig) -> str:
    """Returns what `omnigen train --estimate` prints."""
    phases = run_phases(config)
    total = num_parameters(network)
    lines = [
        f"{total / 1e6:,.1f} million parameters: {format_bytes(total * FP32)} in fp32, "
        f"{format_bytes(total * BF16)} in bf16",
        *(_phase_line(phase) for phase in phases),
        "",
        "memory of each GPU, computing in bf16, weights and optimizer in fp32, with the longest packs:",
        "",
        f"  {'what is trained':18}{'GPUs that share it':>20}{'checkpointing':>16}{'memory':>11}   fits",
    ]
    lines += [
        f"  {option.name:18}{option.shards:>20}{option.checkpointing:>16}{format_bytes(option.memory.total):>11}   "
        f"{option.smallest_device()}"
        for option in parallel_options(config, network)
    ]
    lines += [
        "",
        "GPUs that share it: parallel.mode=fsdp on that many ranks (hsdp: ranks of one group); 1 is one GPU, or ddp.",
        f"fits: the smallest of {', '.join(map(str, DEVICES))} GB with {1 - USABLE:.0%} to spare. The codec comes on",
        f"top unless latents are kept (omnigen encode). An adapter's frozen weights are {config.lora.frozen} "
        "(lora.frozen).",
    ]
    return "\n".join(lines)


def _phase_line(phase: Phase) -> str:
    train = phase.train
    return (
        f"{phase.name or 'all'}: {train.steps:,} steps at {phase.max_side} px, {phase.tokens_per_step:,} tokens a step "
        f"in packs of {train.pack_tokens:,}, learning rate {train.lr:g}, {_mixture(phase)}"
    )


def _mixture(phase: Phase) -> str:
    if phase.weights is None:
        return "every sample counts the same"
    total = sum(phase.weights.values())
    return ", ".join(f"{task} {weight / total:.0%}" for task, weight in phase.weights.items())


def format_bytes(count: int) -> str:
    """Returns a number of bytes, such as "15.0 GB"."""
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.1f} kB"
