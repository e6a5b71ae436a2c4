"""What training costs by arithmetic is what running it costs: operations as torch counts them, bytes as autograd keeps
them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from omnigen.network.blocks import Checkpointing
from omnigen.network.config import PRESETS, ModelConfig
from omnigen.network.flops import (
    forward_flops,
    layer_parameters,
    lora_parameters,
    num_parameters,
    peak_flops,
    train_flops,
    train_memory,
    visible_pairs,
)
from omnigen.network.layout import PackLayout
from omnigen.network.model import OmniGen
from omnigen.weights.lora import LoraConfig, add_lora
from tests.support.tiny_network import SAMPLES, inputs, random_model, sample

MODES: tuple[Checkpointing, ...] = ("none", "selective", "full")
PACK = (
    sample((40,), (), (16, 16)),
    sample((20, 15), ((10, 8),), (16, 16)),
    sample((9, 4, 5), ((6, 8), (8, 8)), (12, 16)),
)


def small(width: int, layers: int, heads: int) -> ModelConfig:
    return replace(
        PRESETS["small"],
        hidden_size=width,
        num_layers=layers,
        num_heads=heads,
        intermediate_size=width * 8 // 3,
        in_channels=4,
        vocab_size=300,
        pos_embed_max_size=24,
    )


CONFIGS = {"tiny": small(256, 4, 4), "small": small(384, 6, 6)}


def kept_bytes(model: OmniGen, run: Callable[[], Any]) -> int:
    """Bytes of the distinct storages that autograd keeps after `run`, the network's own left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    assert result is not None
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_the_count_of_parameters_is_that_of_the_network(name: str) -> None:
    with torch.device("meta"):
        model = OmniGen(PRESETS[name])
    assert num_parameters(PRESETS[name]) == sum(parameter.numel() for parameter in model.parameters())


def test_visible_pairs_are_the_sum_of_hi_minus_lo() -> None:
    layout = PackLayout.build(SAMPLES)
    assert visible_pairs(layout) == int((layout.hi_T - layout.lo_T).sum())


def test_the_full_size_network_costs_what_its_published_sizes_say() -> None:
    assert forward_flops(PRESETS["phi3-mini"], (1, 0)) == 2 * 3_623_878_656
    assert forward_flops(PRESETS["phi3-mini"], (0, 1)) == 393_216


def test_operations_are_those_torch_counts() -> None:
    model, pack = random_model(CONFIGS["small"]), inputs(PACK)
    with FlopCounterMode(display=False) as counter:
        velocities = model(*pack, attention="dense")
    if not any("attention" in str(operation) for operation in counter.get_flop_counts()["Global"]):
        pytest.skip("this torch (2.11) does not count attention on a CPU")
    layout = pack[0]
    everything = forward_flops(model.config, (layout.num_tokens, layout.num_tokens**2))
    assert counter.get_total_flops() == pytest.approx(everything, rel=0.02)
    with FlopCounterMode(display=False) as counter:
        sum(v.sum() for v in velocities).backward()  # type: ignore[attr-defined]
    # torch counts attention's backward as five products, its recomputed scores too; the custom of MFU is four.
    scores = 2.0 * model.config.num_layers * model.config.hidden_size * layout.num_tokens**2
    backward = train_flops(model.config, (layout.num_tokens, layout.num_tokens**2)) - everything
    assert counter.get_total_flops() == pytest.approx(backward + scores, rel=0.02)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", sorted(CONFIGS))
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_estimated_activations_are_those_autograd_keeps(name: str, mode: Checkpointing, precision: str) -> None:
    model, pack = random_model(CONFIGS[name]), inputs(PACK)
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext():
        measured = kept_bytes(model, lambda: model(*pack, checkpointing=mode))
    estimate = train_memory(model.config, pack[0].num_tokens, checkpointing=mode, precision=precision)  # type: ignore[arg-type]
    one_layer = layer_parameters(model.config) * 2 if precision == "bf16" and mode != "none" else 0
    copies = estimate.compute_copies - one_layer  # which is made while a layer is computed again
    assert measured == pytest.approx(estimate.activations + copies, rel=0.15)


def test_the_full_size_network_in_plain_bytes() -> None:
    memory = train_memory(PRESETS["phi3-mini"], 0, precision="bf16")
    assert memory.total == 3_762_072_592 * 20 + 3_623_878_656 * 2
    eighth = train_memory(PRESETS["phi3-mini"], 0, precision="bf16", shards=8)
    assert eighth.total == 3_762_072_592 * 20 // 8 + 2 * 113_246_208 * 2


def test_each_mode_keeps_less_than_the_one_before() -> None:
    totals = [train_memory(PRESETS["phi3-mini"], 16384, checkpointing=mode).activations for mode in MODES]
    assert totals[0] > 2 * totals[1] > 4 * totals[2]


def test_lora_trains_a_thousandth_and_keeps_less() -> None:
    lora = train_memory(PRESETS["phi3-mini"], 4096, lora=LoraConfig(8), frozen_bytes=2)
    full = train_memory(PRESETS["phi3-mini"], 4096)
    assert lora.optimizer == 8 * 32 * 8 * 6 * 3072
    assert lora.parameters == 3_762_072_592 * 2 + 4 * 32 * 8 * 6 * 3072
    assert lora.compute_copies == 0
    assert lora.activations < full.activations


TARGETS = {
    "as the authors": ("qkv_proj", "o_proj"),
    "feed-forward": ("gate_up_proj", "down_proj"),
    "one layer": ("layers.0.self_attn.o_proj",),
    "outside the layers": ("final_layer.linear", "mlp.2", "o_proj"),
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_the_size_of_an_adapter_is_that_of_its_matrices(targets: tuple[str, ...]) -> None:
    model, lora = random_model(CONFIGS["small"]), LoraConfig(6, targets=targets)
    add_lora(model, lora, 0)
    assert lora_parameters(model.config, lora) == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("targets", list(TARGETS.values())[:2], ids=list(TARGETS)[:2])
@pytest.mark.parametrize("mode", MODES)
def test_the_estimate_with_lora_is_what_autograd_keeps(mode: Checkpointing, targets: tuple[str, ...]) -> None:
    model, pack, lora = random_model(CONFIGS["small"]), inputs(PACK), LoraConfig(8, targets=targets)
    add_lora(model, lora, 0)
    measured = kept_bytes(model, lambda: model(*pack, checkpointing=mode))
    estimate = train_memory(model.config, pack[0].num_tokens, checkpointing=mode, precision="fp32", lora=lora)
    assert measured == pytest.approx(estimate.activations, rel=0.15)


def test_gradients_of_a_single_pack_take_the_place_of_activations() -> None:
    several, single = (train_memory(PRESETS["phi3-mini"], 16384, accumulates=wanted) for wanted in (True, False))
    assert several.total - single.total == single.gradients
    short = train_memory(PRESETS["phi3-mini"], 16, accumulates=False, checkpointing="full")
    assert short.total == short.held + short.gradients


def test_peaks_go_by_the_devices_name() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == peak_flops("NVIDIA H200") == 989e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("Some CPU") is None
