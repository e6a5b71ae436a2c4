"""What training costs, by arithmetic alone: floating-point operations and bytes, before anything is built.

Operations count the decoder's matrix products and attention; patch embeddings, time networks and the final layer are
left out (under 0.1 percent). Memory counts what is held between the forward and the backward pass, which is the peak up
to temporaries; what the allocator wastes and the codec holds comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from omnigen.config import ModelConfig
from omnigen.layout import PackLayout

FP32, BF16 = 4, 2
ADAM_MOMENTS = 2
TIME_FREQUENCIES = 256
# Dense bf16 peaks of the makers' data sheets, in operations a second, by a part of the device's name.
PEAK_FLOPS: tuple[tuple[str, float], ...] = (
    ("B200", 2250e12),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989e12),
    ("A100", 312e12),
)


def peak_flops(device_name: str) -> float | None:
    """Returns the bf16 peak of a device by its name (`torch.cuda.get_device_name()`); None if it is not in the list."""
    return next((peak for part, peak in PEAK_FLOPS if part in device_name), None)


def visible_pairs(layout: PackLayout) -> int:
    """Returns how many (query, key) pairs the mask of a pack lets through: the sum of hi - lo over its tokens."""
    pairs = 0
    for segment in layout.segments:
        queries, keys = segment.query_end - segment.query_start, segment.key_hi - segment.key_lo
        pairs += queries * keys - (queries * (queries - 1) // 2 if segment.causal else 0)
    return pairs


def layer_parameters(config: ModelConfig) -> int:
    """Returns the elements of one layer's matrices: qkv, output, gate and up, down."""
    return config.hidden_size * (4 * config.hidden_size + 3 * config.intermediate_size)


def num_parameters(config: ModelConfig) -> int:
    """Returns the elements of all parameters: 3,762,072,592 for `phi3-mini`."""
    width, patch = config.hidden_size, config.in_channels * config.patch_size**2
    decoder = config.num_layers * (layer_parameters(config) + 2 * width) + width + config.vocab_size * width
    embedders = 2 * (patch * width + width) + 2 * (TIME_FREQUENCIES * width + width + width * width + width)
    final = width * 2 * width + 2 * width + width * patch + patch
    return decoder + embedders + final


def lora_parameters(config: ModelConfig, rank: int) -> int:
    """Returns the elements of LoRA's matrices of `rank` beside every layer's qkv and output projection."""
    return config.num_layers * rank * 6 * config.hidden_size


def forward_flops(config: ModelConfig, work: PackLayout | tuple[int, int]) -> float:
    """Returns the operations of one forward pass. work: a pack, or its (tokens, visible pairs).

    2 * N * T + 4 * layers * hidden_size * pairs, N being the elements of the layers' matrices; a multiplication and an
    addition are two operations.
    """
    tokens, pairs = (work.num_tokens, visible_pairs(work)) if isinstance(work, PackLayout) else work
    products = 2.0 * config.num_layers * layer_parameters(config) * tokens
    return products + 4.0 * config.num_layers * config.hidden_size * pairs


def train_flops(config: ModelConfig, work: PackLayout | tuple[int, int], lora: bool = False) -> float:
    """Returns the operations of one forward and backward pass: three times the forward pass, or with LoRA twice, since
    frozen matrices have no gradient. What checkpointing computes again does not count as work, as is the custom of MFU.
    """
    if not lora:
        return 3 * forward_flops(config, work)
    pairs = visible_pairs(work) if isinstance(work, PackLayout) else work[1]
    return 2 * forward_flops(config, work) + 4.0 * config.num_layers * config.hidden_size * pairs


@dataclass(frozen=True)
class TrainMemory:
    """Bytes on one device.

    parameters: as the optimizer holds them. gradients, optimizer (Adam's two moments), average: fp32, of what is
    trained. compute_copies: weights in the precision of the matrix products, where that is not the parameters', for as
    long as the backward pass needs them; with shards, two whole layers that are gathered at a time. activations: kept
    for the backward pass. recomputed: one layer's activations, while the backward pass computes them again.
    """

    parameters: int
    gradients: int
    optimizer: int
    average: int
    compute_copies: int
    activations: int
    recomputed: int

    @property
    def total(self) -> int:
        """Bytes of everything."""
        return sum(int(getattr(self, field.name)) for field in fields(self))


def train_memory(
    config: ModelConfig,
    tokens: int,
    *,
    checkpointing: Literal["none", "selective", "full"] = "none",
    precision: Literal["fp32", "bf16"] = "bf16",
    lora_rank: int = 0,
    frozen_bytes: int = FP32,
    shards: int = 1,
    average: bool = True,
) -> TrainMemory:
    """Returns what training on packs of `tokens` tokens holds on each device.

    precision: of the matrix products; parameters that are trained are fp32 either way. lora_rank: above 0, only LoRA's
    matrices are trained and the rest is frozen in `frozen_bytes` an element. shards: devices that share parameters,
    gradients and optimizer (FSDP); 1 for a single device or replicas (DDP). average: whether an EMA is held.
    """
    compute = BF16 if precision == "bf16" else FP32
    whole = num_parameters(config)
    trained = lora_parameters(config, lora_rank) if lora_rank else whole
    frozen = whole * frozen_bytes if lora_rank else 0
    held = frozen_bytes if lora_rank else FP32
    copied = {
        "none": config.num_layers * layer_parameters(config),
        "selective": config.num_layers * 3 * config.hidden_size**2 + layer_parameters(config),
        "full": layer_parameters(config),
    }
    copies = 0 if held == compute else copied[checkpointing] * compute
    if shards > 1:
        copies = min(2, config.num_layers) * layer_parameters(config) * compute
    layer = _layer_activations(config, compute, checkpointing, bool(lora_rank)) * tokens
    recomputed = _layer_activations(config, compute, "none", bool(lora_rank)) * tokens
    return TrainMemory(
        parameters=(trained * FP32 + frozen) // shards,
        gradients=trained * FP32 // shards,
        optimizer=ADAM_MOMENTS * trained * FP32 // shards,
        average=trained * FP32 // shards if average else 0,
        compute_copies=copies,
        activations=config.num_layers * layer + _outer_activations(config, compute, bool(lora_rank)) * tokens,
        recomputed=0 if checkpointing == "none" else recomputed - layer,
    )


def _layer_activations(config: ModelConfig, compute: int, checkpointing: str, lora: bool) -> int:
    """Returns the bytes of one token that a layer keeps. The stream between the layers is fp32, the rest `compute`."""
    width, inner = config.hidden_size, config.intermediate_size
    stream = width * FP32
    if checkpointing == "full":
        return stream
    # The normalised input; q, k and v; what attention gave, and the same joined from its segments.
    attention = stream + 6 * width * compute
    if checkpointing == "selective":
        return attention
    # The stream again; its norm and the gated product, which only a trained matrix needs; the projected gate and up.
    frozen_need = 2 * inner * compute
    trained_need = (width + inner) * compute
    return attention + stream + frozen_need + (0 if lora else trained_need)


def _outer_activations(config: ModelConfig, compute: int, lora: bool) -> int:
    """Returns the bytes of one token that the embedders and the final layer keep; every token counts as noisy."""
    rotation, stream = 2 * config.head_dim * FP32, config.hidden_size * FP32
    trained_need = 2 * stream + config.hidden_size * compute  # the final layer's norm, its modulation, its product
    return rotation + 2 * stream + (0 if lora else trained_need)
