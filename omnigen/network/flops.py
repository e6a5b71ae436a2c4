"""What training costs, by arithmetic alone: floating-point operations and bytes, before anything is built.

Operations count the decoder's matrix products and attention; patch embeddings, time networks and the final layer are
left out (under 0.1 percent). Memory counts what is held between the forward and the backward pass, which is the peak up
to temporaries; what the allocator wastes and the codec holds comes on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from omnigen.network.config import ModelConfig
from omnigen.network.layout import PackLayout
from omnigen.weights.lora.config import LoraConfig

FP32, BF16 = 4, 2
ADAM_MOMENTS = 2
TIME_FREQUENCIES = 256
# Dense bf16 peaks, in operations a second, by a part of the device's name: half of what NVIDIA's data sheets
# (nvidia.com/en-us/data-center/h100, h200, a100 and so on) give with sparsity.
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


def linear_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Returns (inputs, outputs) of every linear layer, by its name in the network."""
    width, inner = config.hidden_size, config.intermediate_size
    shapes = {"final_layer.linear": (width, config.in_channels * config.patch_size**2)}
    shapes["final_layer.adaLN_modulation.1"] = width, 2 * width
    for embedder in ("time_token", "t_embedder"):
        shapes |= {f"{embedder}.mlp.0": (TIME_FREQUENCIES, width), f"{embedder}.mlp.2": (width, width)}
    for number in range(config.num_layers):
        layer = f"llm.layers.{number}"
        shapes[f"{layer}.self_attn.qkv_proj"] = width, 3 * width
        shapes[f"{layer}.self_attn.o_proj"] = width, width
        shapes[f"{layer}.mlp.gate_up_proj"] = width, 2 * inner
        shapes[f"{layer}.mlp.down_proj"] = inner, width
    return shapes


def lora_parameters(config: ModelConfig, lora: LoraConfig) -> int:
    """Returns the elements of an adapter's matrices."""
    shapes = linear_shapes(config).items()
    return sum(lora.rank * (inputs + outputs) for name, (inputs, outputs) in shapes if lora.is_target(name))


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
    accumulates: the gradients of one pack are there while another is computed.
    """

    parameters: int
    gradients: int
    optimizer: int
    average: int
    compute_copies: int
    activations: int
    recomputed: int
    accumulates: bool = True

    @property
    def held(self) -> int:
        """Bytes that are there all the time."""
        return self.parameters + self.optimizer + self.average

    @property
    def total(self) -> int:
        """Bytes at the peak: of a single pack, gradients come as activations go."""
        passing = self.compute_copies + self.activations + self.recomputed
        return self.held + (self.gradients + passing if self.accumulates else max(self.gradients, passing))


def train_memory(
    config: ModelConfig,
    tokens: int,
    *,
    checkpointing: Literal["none", "selective", "full"] = "none",
    precision: Literal["fp32", "bf16"] = "bf16",
    lora: LoraConfig | None = None,
    frozen_bytes: int = FP32,
    quantized_bytes: float | None = None,
    shards: int = 1,
    whole_gradients: bool = False,
    average: bool = True,
    accumulates: bool = True,
) -> TrainMemory:
    """Returns what training on packs of `tokens` tokens holds on each device.

    precision: of the matrix products; parameters that are trained are fp32 either way. lora: only this adapter's
    matrices are trained, and the rest is frozen in `frozen_bytes` an element; quantized_bytes: of the layers' matrices
    instead, which one at a time become whole again. shards: devices that share parameters,
    gradients and optimizer (FSDP); 1 for a single device or replicas (DDP). whole_gradients: each device holds
    all of them between its packs. average: whether an EMA is held.
    accumulates: a device computes several packs a step.
    """
    compute = BF16 if precision == "bf16" else FP32
    whole = num_parameters(config)
    trained = lora_parameters(config, lora) if lora else whole
    frozen = whole * frozen_bytes if lora else 0
    if lora and quantized_bytes is not None:
        frozen -= int(config.num_layers * layer_parameters(config) * (frozen_bytes - quantized_bytes))
    held = frozen_bytes if lora else FP32
    copied = {
        "none": config.num_layers * layer_parameters(config),
        "selective": config.num_layers * 3 * config.hidden_size**2 + layer_parameters(config),
        "full": layer_parameters(config),
    }
    copies = 0 if held == compute else copied[checkpointing] * compute
    if shards > 1:
        copies = min(2, config.num_layers) * layer_parameters(config) * compute
    layer = _layer_activations(config, compute, checkpointing, lora) * tokens
    recomputed = _layer_activations(config, compute, "none", lora) * tokens
    return TrainMemory(
        parameters=(trained * FP32 + frozen) // shards,
        gradients=trained * FP32 // (1 if whole_gradients and accumulates else shards),
        optimizer=ADAM_MOMENTS * trained * FP32 // shards,
        average=trained * FP32 // shards if average else 0,
        compute_copies=copies,
        activations=config.num_layers * layer + _outer_activations(config, compute, lora is not None) * tokens,
        recomputed=0 if checkpointing == "none" else recomputed - layer,
        accumulates=accumulates,
    )


def _layer_activations(config: ModelConfig, compute: int, checkpointing: str, lora: LoraConfig | None) -> int:
    """Returns the bytes of one token that a layer keeps, all of it in the precision of the matrix products."""
    width, inner = config.hidden_size, config.intermediate_size
    stream = width * compute
    if checkpointing == "full":
        return stream
    trained = {name.rpartition(".")[2] for name in linear_shapes(config) if lora is None or lora.is_target(name)}
    # What only a trained matrix needs, by the matrix: its input.
    need = {"qkv_proj": width, "o_proj": width, "gate_up_proj": width, "down_proj": inner}
    inputs = {name: size * compute if name in trained else 0 for name, size in need.items()}
    # q, k and v; what attention gave, in pieces (joined, it is the input of o_proj).
    attention = stream + 4 * width * compute + inputs["qkv_proj"] + inputs["o_proj"]
    if checkpointing == "selective":
        return attention
    # The stream again; the projected gate and up.
    return attention + stream + 2 * inner * compute + inputs["gate_up_proj"] + inputs["down_proj"]


def _outer_activations(config: ModelConfig, compute: int, lora: bool) -> int:
    """Returns the bytes of one token that the embedders and the final layer keep; every token counts as noisy."""
    rotation, stream = 2 * config.head_dim * FP32, config.hidden_size * compute
    # The final layer's norm, its modulation, its product.
    trained_need = config.hidden_size * (FP32 + 2 * compute)
    return rotation + 2 * stream + (0 if lora else trained_need)
