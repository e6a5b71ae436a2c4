"""Settings that change how a step is computed, and not, or hardly, what comes out: they are in force, and it is so."""

from __future__ import annotations

import shutil
from collections import Counter

import pytest
import torch
from torch._dynamo.utils import counters

from omnigen.train.metrics import read_lines
from tests.support.in_process_training import first_step, go_on, take_step, training, wake
from tests.support.training_runs import train, write_config


@pytest.fixture(scope="module")
def small(shards, tmp_path_factory):
    """A run of four steps."""
    return write_config(
        tmp_path_factory.mktemp("config") / "run.yaml",
        shards,
        train={"steps": 4, "warmup": 0},
        log={"validate_every": 4, "validation_samples": 2},
        checkpoint={"every": 0},
    )


def losses(config, run, *overrides):
    """The losses of training and of validation, in order."""
    with training(config, run, *overrides) as trainer:
        events = go_on(trainer.train())
        assert {parameter.dtype for parameter in trainer.setup.trained} == {torch.float32}
    return [event.values["loss"] for event in events if event.kind in ("metrics", "validation")]


def test_in_bf16_losses_are_nearly_those_of_fp32_and_the_weights_stay_fp32(small, tmp_path):
    whole, half = (losses(small, tmp_path / name, f"train.precision={name}") for name in ("fp32", "bf16"))
    assert whole == losses(small, tmp_path / "auto"), "a processor computes in fp32 unless told"
    assert half == pytest.approx(whole, rel=0.01)
    assert half[2:] != whole[2:]
    assert half[-1] != whole[-1], "validation is computed as training is"


def test_in_bf16_the_matrix_products_are_bf16_and_so_is_what_flows_between_the_layers(small, tmp_path):
    with training(small, tmp_path, "train.precision=bf16") as trainer:
        found = set()
        for layer in trainer.setup.model.llm.layers:
            for module in (layer, layer.input_layernorm, layer.self_attn.qkv_proj):
                module.register_forward_hook(lambda module, given, out: found.add((given[0].dtype, out.dtype)))
        go_on(trainer.train(), lambda event: event.kind == "metrics")
        assert found == {(torch.bfloat16, torch.bfloat16)}


@pytest.mark.parametrize(("mode", "expected"), [("none", (1, 1)), ("selective", (1, 2)), ("full", (2, 2))])
def test_checkpointing_computes_again_what_it_says_and_the_loss_is_the_same(small, tmp_path, mode, expected):
    plain = losses(small, tmp_path / "plain")
    found = losses(small, tmp_path / mode, f"train.checkpointing={mode}")
    assert found == pytest.approx(plain, rel=1e-6)
    with training(small, tmp_path / "counted", f"train.checkpointing={mode}", "train.packs_per_step=1") as trainer:
        wake(trainer)
        calls: Counter[str] = Counter()
        layer, parts = trainer.setup.model.llm.layers[0], trainer.setup.phases[0]
        for name in ("input_layernorm", "post_attention_layernorm"):
            getattr(layer, name).register_forward_hook(lambda *_, name=name: calls.update([name]))
        take_step(trainer, first_step(trainer, parts), parts)
        assert (calls["input_layernorm"], calls["post_attention_layernorm"]) == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_compiled_a_run_has_the_losses_that_it_has_uncompiled(small, tmp_path):
    little = ("model.overrides.num_layers=1", "data.validation_fraction=0.0", "train.steps=3")
    plain = losses(small, tmp_path / "plain", *little)
    counters.clear()
    compiled = losses(small, tmp_path / "compiled", *little, "train.compile=true")
    assert compiled == pytest.approx(plain, rel=1e-5)
    assert counters["stats"]["unique_graphs"] == 2, "one before attention, one after"


@pytest.mark.slow
def test_sharded_in_bf16_a_run_has_nearly_the_losses_of_fp32_on_one_rank(small, tmp_path):
    whole = losses(small, tmp_path / "whole")
    result = train(small, tmp_path / "two", "--set", "parallel.mode=fsdp", "--set", "train.precision=bf16", ranks=2)
    assert result.returncode == 0, result.stderr
    assert "2 ranks on cpu, fsdp" in result.stdout
    validation, metrics = (read_lines(tmp_path / "two" / f"{name}.jsonl") for name in ("validation", "metrics"))
    half = [line["loss"] for line in (validation[0], *metrics, validation[1])]
    assert half == pytest.approx(whole, rel=0.01)
    assert half[2:] != whole[2:]
