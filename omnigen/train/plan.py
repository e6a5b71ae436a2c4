"""What fits which card: the longest pack of common GPUs, the image it holds, and the hours that a run takes there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnigen.images import TOKEN_PIXELS
from omnigen.network.flops import train_flops, train_memory
from omnigen.train.memory import GB, MODES, USABLE, frozen_bytes, quantized_bytes
from omnigen.train.phases import run_phases
from omnigen.weights.lora.config import LoraConfig

if TYPE_CHECKING:
    from omnigen.network.config import ModelConfig
    from omnigen.train.config import TrainingConfig

ROUND = 64
"""Packs are as long as a multiple of this many tokens."""
LONGEST = 1 << 18
TEXT = 128
"""Tokens of a pack that are kept for the text when its image is told."""


@dataclass(frozen=True)
class Card:
    """Some GPUs. gigabytes: of each. tflops: the dense bf16 peak of each, summed in fp32, of `example`.

    GeForce: appendix A of NVIDIA's Ada architecture paper (twice the fp32 rate, since sums in fp32 run at half speed),
    images.nvidia.com/aem-dam/Solutions/geforce/ada/nvidia-ada-gpu-architecture.pdf. H100 SXM: the data sheet, half of
    the 1,979 that it gives with sparsity, nvidia.com/en-us/data-center/h100.
    """

    count: int
    gigabytes: int
    tflops: float
    example: str


CARDS = (
    Card(1, 12, 80.2, "RTX 4070 Ti"),
    Card(1, 16, 97.5, "RTX 4080"),
    Card(1, 24, 165.2, "RTX 4090"),
    Card(1, 80, 989, "H100"),
    Card(8, 80, 989, "H100"),
)


@dataclass(frozen=True)
class Fit:
    """What a run comes to on a card. longest: tokens of the longest pack, with full checkpointing; 0: nothing fits.

    checkpointing: that which recomputes least among those with which the run's own packs fit; None if none does.
    hours: of the run's steps; None with `checkpointing`, or where its steps are not known.
    """

    longest: int
    checkpointing: str | None
    hours: float | None


def fit(config: TrainingConfig, network: ModelConfig, card: Card, lora: LoraConfig | None, mfu: float) -> Fit:
    """Returns what `config` comes to on a card, whose GPUs share the network (FSDP). lora: None trains all of it."""

    def fits(tokens: int, mode: str, packs: int) -> bool:
        memory = train_memory(
            network,
            tokens,
            checkpointing=mode,  # type: ignore[arg-type]
            precision="bf16",
            lora=lora,
            frozen_bytes=frozen_bytes(config),
            quantized_bytes=quantized_bytes(config),
            shards=card.count,
            accumulates=packs > card.count,
        )
        return memory.total <= USABLE * card.gigabytes * GB

    packs, tokens = (
        max(getattr(phase.train, name) for phase in run_phases(config)) for name in ("packs_per_step", "pack_tokens")
    )
    low, high = 0, LONGEST // ROUND
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle * ROUND, "full", packs) else (low, middle - 1)
    mode = next((mode for mode in MODES if tokens and fits(tokens, mode, packs)), None)
    hours = None
    if mode is not None and all(phase.train.steps for phase in run_phases(config)):
        peak = (config.log.peak_tflops or card.tflops) * 1e12
        busy = min(card.count, packs)  # a GPU without a pack of its own waits
        hours = run_flops(config, network, lora is not None) / (peak * mfu * busy) / 3600
    return Fit(low * ROUND, mode, hours)


def run_flops(config: TrainingConfig, network: ModelConfig, lora: bool) -> float:
    """Returns the operations of all steps with full packs, each token of which sees half of its pack."""
    return sum(
        phase.train.steps
        * train_flops(network, (phase.tokens_per_step, phase.tokens_per_step * phase.train.pack_tokens // 2), lora)
        for phase in run_phases(config)
    )


def plan(config: TrainingConfig, network: ModelConfig, mfu: float) -> str:
    """Returns what `omnigen train --plan` prints. mfu: the share of a card's peak that training is taken to reach."""
    adapter = config.lora.adapter() or LoraConfig()
    lines = [
        f"  {'what is trained':18}{'GPUs':>12}{'longest pack':>16}{'one image':>12}{'checkpointing':>16}{'hours':>9}"
    ]
    for name, lora in ((f"LoRA, rank {adapter.rank}", adapter), ("whole network", None)):
        for card in CARDS:
            found = fit(config, network, card, lora, mfu)
            gpus = f"{card.count} x {card.gigabytes} GB"
            side = min(image_side(found.longest), network.pos_embed_max_size * TOKEN_PIXELS)
            pack = f"{found.longest:,} tokens" if found.longest else "nothing fits"
            image = f"{side} px" if side else ""
            hours = f"{found.hours:,.1f}" if found.hours is not None else ""
            lines.append(f"  {name:18}{gpus:>12}{pack:>16}{image:>12}{found.checkpointing or '':>16}{hours:>9}")
    examples = ", ".join(f"{card.gigabytes} GB {card.example} {card.tflops:g}" for card in CARDS[:-1])
    lines += [
        "",
        f"longest pack: with full checkpointing, {1 - USABLE:.0%} of the memory to spare. One image: the side of a",
        "square target that fills it, without input images. Checkpointing: what the run's own packs need; hours: of",
        f"its steps at an MFU of {mfu:.0%} of the data sheets' bf16 TFLOP/s (log.peak_tflops replaces them):",
        f"{examples}.",
        "The codec comes on top unless latents are kept (omnigen encode). All of it is arithmetic.",
    ]
    return "\n".join(lines)


def image_side(tokens: int) -> int:
    """Returns the side in pixels of the largest square target that a pack of `tokens` holds beside its text."""
    return math.isqrt(max(0, tokens - TEXT)) * TOKEN_PIXELS
