"""What a run says it will take is reckoned for that run: its packs, its ranks, its adapter, its pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from omnigen.network.config import preset
from omnigen.network.flops import num_parameters
from omnigen.network.layout import PackLayout
from omnigen.network.model import OmniGen
from omnigen.train.config import (
    LoraSettings,
    OptimizationConfig,
    ParallelConfig,
    PhaseConfig,
    TrainingConfig,
    build_config,
)
from omnigen.train.finetune import finetune_document
from omnigen.train.memory import (
    GB,
    USABLE,
    describe,
    planned_network,
    report,
    sampling_memory,
    training_memory,
    with_sync,
)
from omnigen.train.plan import CARDS, fit, plan
from omnigen.train.setup import _add_adapter
from tests.support.tiny_network import sample

NETWORK = preset("phi3-mini")
RUN = TrainingConfig(train=OptimizationConfig(packs_per_step=8, pack_tokens=16384))
FSDP = replace(RUN, parallel=ParallelConfig("fsdp"))


def test_gradients_stand_beside_activations_only_where_a_rank_has_several_packs():
    assert training_memory(RUN, NETWORK, 4, True).accumulates
    assert not training_memory(RUN, NETWORK, 8, True).accumulates
    assert training_memory(RUN, NETWORK, 4, True).total - training_memory(
        RUN, NETWORK, 8, True
    ).total == 4 * num_parameters(NETWORK)


def test_the_stage_that_takes_most_decides():
    phases = (PhaseConfig(1, pack_tokens=1024), PhaseConfig(1, pack_tokens=4096), PhaseConfig(1, pack_tokens=2048))
    longest = replace(RUN, train=replace(RUN.train, pack_tokens=4096))
    assert training_memory(replace(RUN, phases=phases), NETWORK, 1, True) == training_memory(longest, NETWORK, 1, True)


def test_an_adapter_is_reckoned_with_the_layers_it_has():
    few, many = (
        training_memory(replace(RUN, lora=LoraSettings(8, targets=targets)), NETWORK, 1, True)
        for targets in (("o_proj",), ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"))
    )
    assert few.gradients == 4 * 32 * 8 * (3072 + 3072)
    assert many.gradients == 4 * 32 * 8 * (4 * 3072 + 6144 + 3072 + 16384 + 8192 + 3072)
    assert many.activations > few.activations


def test_gradients_are_reduced_once_a_step_where_there_is_room_for_all_of_them():
    eight = replace(FSDP, train=replace(FSDP.train, packs_per_step=16, checkpointing="selective"))
    once = replace(eight, parallel=ParallelConfig("fsdp", sync="step"))
    assert 0.8 * 80e9 > training_memory(once, NETWORK, 8, True).total > 0.8 * 48e9
    found = {size: with_sync(eight, NETWORK, 8, True, size * 10**9).parallel.sync for size in (48, 80, 141)}
    assert found == {48: "pack", 80: "step", 141: "step"}
    assert with_sync(eight, NETWORK, 8, True, None).parallel.sync == "pack"
    assert with_sync(once, NETWORK, 8, True, None) == once


def test_a_whole_copy_for_pictures_is_told_where_it_is_the_peak():
    many = training_memory(FSDP, NETWORK, 64, True)
    assert sampling_memory(FSDP, NETWORK, 64) == 4 * num_parameters(NETWORK)
    assert "on the first for pictures" not in describe(many, sampling_memory(FSDP, NETWORK, 64))
    short = replace(FSDP, train=replace(FSDP.train, pack_tokens=512))
    assert "about 16.2 GB on the first for pictures" in describe(
        training_memory(short, NETWORK, 64, True), sampling_memory(short, NETWORK, 64)
    )
    blind = replace(short, log=replace(short.log, sample_every=0))
    assert sampling_memory(blind, NETWORK, 64) == sampling_memory(RUN, NETWORK, 64) == 0


@pytest.mark.parametrize("config", [RUN, FSDP, replace(RUN, lora=LoraSettings(16))])
def test_the_plan_names_every_way(config):
    lines = report(config, NETWORK).splitlines()
    assert sum("whole network" in line for line in lines) == sum("LoRA, rank" in line for line in lines) == 12


def test_a_plan_loads_nothing_from_elsewhere_and_says_what_it_assumes():
    model = replace(RUN.model, preset="phi3-mini", tokenizer="hf:Shitao/OmniGen-v1", codec="sdxl:stabilityai/sdxl-vae")
    network, notes = planned_network(replace(RUN, model=model))
    assert num_parameters(network) == 3_762_072_592
    assert [note.partition(":")[0] for note in notes] == ["tokenizer hf", "codec sdxl"]
    network, notes = planned_network(replace(RUN, model=replace(model, tokenizer="bytes", codec="dct:12")))
    assert (network.vocab_size, network.in_channels, notes) == (272, 12, [])


def finetune(**changes: object) -> TrainingConfig:
    """The settings of `omnigen train --init` for one image of 512 pixels a pack, with its network filled in."""
    found = build_config(finetune_document(), ["model.preset=phi3-mini", "model.codec=dct:4", "data.max_side=512"], "")
    found = replace(found, model=replace(found.model, tokenizer="bytes"))
    return replace(
        found, train=replace(found.train, **{"steps": 1000, "packs_per_step": 4, "pack_tokens": 1152, **changes})
    )


@pytest.mark.slow
def test_the_adapter_of_the_full_network_at_512_pixels_takes_less_than_12_gb_as_counted_on_fake_tensors() -> None:
    """The network of 3.8 billion weights is built without its contents; what autograd keeps of a pass is counted."""
    config = finetune()
    memory = training_memory(config, NETWORK, 1, True)
    layout = PackLayout.build([sample((96,), (), (32, 32))])
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = OmniGen(NETWORK)
        _add_adapter(model, config.lora, 0)
        assert memory.parameters == sum(p.numel() * p.element_size() for p in model.parameters())
        own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
        kept: dict[int, torch.UntypedStorage] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in own:
                kept[storage._cdata] = storage
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
            out = model(layout, [], [torch.empty(4, 64, 64)], torch.empty(1), checkpointing=config.train.checkpointing)
        assert len(out) == 1
        activations = sum(storage.nbytes() for storage in kept.values())
    assert activations == pytest.approx(memory.activations, rel=0.15)
    counted = memory.held + memory.gradients + memory.recomputed + activations
    assert counted < 12e9
    assert memory.total < 12e9


def test_the_plan_says_what_each_card_holds_and_how_long_a_run_takes() -> None:
    config = finetune(pack_tokens=2048)
    small, large = (fit(config, NETWORK, card, config.lora.adapter(), 0.4) for card in (CARDS[0], CARDS[3]))
    for found, card in ((small, CARDS[0]), (large, CARDS[3])):
        for tokens, expected in ((found.longest, True), (found.longest + 64, False)):
            longer = finetune(pack_tokens=tokens, checkpointing="full")
            assert (training_memory(longer, NETWORK, 1, True).total <= USABLE * card.gigabytes * GB) is expected
    assert small.longest > 2048
    assert (small.checkpointing, large.checkpointing) == ("selective", "none")
    assert small.hours == pytest.approx(large.hours * CARDS[3].tflops / CARDS[0].tflops)
    assert fit(config, NETWORK, CARDS[3], None, 0.4).longest == 0  # Adam's moments alone take 30 GB, weights 15
    four_bits = replace(config, lora=replace(config.lora, frozen="nf4"))
    held = (
        training_memory(config, NETWORK, 1, True).parameters - training_memory(four_bits, NETWORK, 1, True).parameters
    )
    assert held == pytest.approx(3_623_878_656 * (2 - 0.5625))
    assert fit(four_bits, NETWORK, CARDS[0], config.lora.adapter(), 0.4).longest > 2 * small.longest
    shared = fit(config, NETWORK, CARDS[4], None, 0.4)
    assert shared.longest > 10_000
    lines = plan(config, NETWORK, 0.4).splitlines()
    assert sum(" GB " in line and "tokens" in line for line in lines) == 6
    assert "MFU of 40%" in " ".join(lines)
    assert fit(finetune(steps=0), NETWORK, CARDS[0], config.lora.adapter(), 0.4).hours is None
