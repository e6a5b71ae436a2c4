"""What a run says it will take is reckoned for that run: its packs, its ranks, its adapter, its pictures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from omnigen.network.config import preset
from omnigen.network.flops import num_parameters
from omnigen.train.config import LoraSettings, OptimizationConfig, ParallelConfig, PhaseConfig, TrainingConfig
from omnigen.train.memory import describe, planned_network, report, sampling_memory, training_memory

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
