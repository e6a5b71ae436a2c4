"""Adapters on disk: PEFT loads ours and ours loads PEFT's, to the same output; what is not plain LoRA is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnigen.weights import from_diffusers, save_model
from omnigen.weights.convert import convert
from omnigen.weights.lora import (
    Adapter,
    LoraConfig,
    add_lora,
    load_adapter,
    load_lora_state,
    lora_state,
    merge_adapter,
    save_adapter,
)
from omnigen.weights.options import Conversion
from tests.omnigen.weights.test_lora import CONFIGURED, adapted, outputs
from tests.support.tiny_network import CONFIG, random_model, relative_error
from x2i.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_adapter(tmp_path, CONFIGURED, lora_state(adapted()), base="runs/base")
    return tmp_path


def test_a_saved_adapter_comes_back_exactly(folder: Path) -> None:
    config, state = load_adapter(folder)
    assert (config.rank, config.scaling, set(config.targets)) == (4, 1.5, {"qkv_proj", "o_proj"})
    expected = lora_state(adapted())
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    names = load_file(folder / "adapter_model.safetensors")
    assert "base_model.model.llm.layers.0.self_attn.qkv_proj.lora_A.weight" in names


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_adapter(tmp_path / "again", CONFIGURED, lora_state(adapted()), base="runs/base")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_peft_loads_ours(folder: Path) -> None:
    peft = pytest.importorskip("peft")
    theirs = peft.PeftModel.from_pretrained(random_model(), folder)
    assert relative_error(outputs(theirs), outputs(adapted())) < 1e-6


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 6, "target_modules": ["qkv_proj", "o_proj"]},
        {"r": 4, "lora_alpha": 3, "target_modules": ["qkv_proj"], "use_rslora": True},
        {"r": 2, "lora_alpha": 2, "target_modules": ["down_proj"], "layers_to_transform": [1]},
        {"r": 2, "lora_alpha": 4, "target_modules": r".*layers\.0\.mlp\.(gate_up|down)_proj"},
        {"r": 2, "lora_alpha": 4, "target_modules": "all-linear", "init_lora_weights": "gaussian"},
    ],
)
def test_ours_loads_what_peft_wrote(tmp_path: Path, options: dict) -> None:
    peft = pytest.importorskip("peft")
    theirs = peft.get_peft_model(random_model(), peft.LoraConfig(**options))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05, generator=generator)
    theirs.save_pretrained(tmp_path)
    config, state = load_adapter(tmp_path)
    ours = random_model()
    add_lora(ours, config, seed=0)
    load_lora_state(ours, state)
    expected = outputs(theirs)
    assert relative_error(outputs(random_model()), expected) > 1e-3
    assert relative_error(outputs(ours), expected) < 1e-6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type: found 'IA3'"),
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["final_layer"]}, "modules_to_save"),
        ({"rank_pattern": {"o_proj": 2}}, "rank_pattern"),
        ({"alpha_pattern": {"o_proj": 2}}, "alpha_pattern"),
        ({"bias": "all"}, "bias"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"an_invention_of_next_year": 1}, "an_invention_of_next_year"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"lora_alpha": "six"}, "lora.alpha: found 'six'"),
        ({"target_modules": [1]}, "target_modules: found"),
        ({"use_rslora": "false"}, "use_rslora: found 'false', expected true or false"),
        ({"r": 8}, "ranks 4 and 4"),
        ({"r": 0}, "adapter_config.json: lora.rank"),
        ({"target_modules": ["o_proj"]}, "qkv_proj, which target_modules"),
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(folder: Path, change: dict, message: str) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=message):
        load_adapter(folder)


def test_damaged_and_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/adapter_config\.json: No such file"):
        load_adapter(tmp_path / "nowhere")
    weights = folder / "adapter_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_adapter(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: no such file"):
        load_adapter(folder)
    weights.write_bytes(whole)
    state = load_file(weights)
    dropped = next(iter(state))
    save_file({name: tensor for name, tensor in state.items() if name != dropped}, weights)
    with pytest.raises(UserError, match="is there without"):
        load_adapter(folder)
    save_file({name: tensor.flatten() for name, tensor in state.items()}, weights)
    with pytest.raises(UserError, match="expected a matrix"):
        load_adapter(folder)
    save_file({"base_model.model.llm.embed_tokens.lora_embedding_A": torch.zeros(2, 2)}, weights)
    with pytest.raises(UserError, match="expected names such as"):
        load_adapter(folder)


@pytest.mark.parametrize(
    "options",
    [
        {"use_dora": True},
        {"modules_to_save": ["final_layer.linear"]},
        {"bias": "lora_only"},
    ],
)
def test_what_peft_writes_of_other_kinds_is_refused_by_the_name_of_the_kind(tmp_path: Path, options: dict) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules=["final_layer.linear" if "bias" in options else "o_proj"], **options)
    peft.get_peft_model(random_model(), config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=next(iter(options))):
        load_adapter(tmp_path)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [(lambda x: x.to(torch.int8), "quantized weights are not read"), (lambda x: x / 0, "values that are not finite")],
)
def test_an_adapters_numbers_are_looked_at(folder: Path, spoilt: Callable, message: str) -> None:
    weights = folder / "adapter_model.safetensors"
    state = load_file(weights)
    name = next(iter(state))
    save_file({**state, name: spoilt(state[name])}, weights)
    with pytest.raises(UserError, match=f"{re.escape(name)}: .*{message}"):
        load_adapter(folder)


def test_a_configuration_of_another_factor_is_another_output(tmp_path: Path) -> None:
    state = lora_state(adapted())
    save_adapter(tmp_path, LoraConfig(rank=4, alpha=2.0, rslora=True), state, base="")
    config, _ = load_adapter(tmp_path)
    assert config.scaling == 1.0


@pytest.mark.parametrize(
    "targets",
    [["to_q", "to_k", "to_v"], ["to_v"], ["to_q", "to_out.0", "down_proj"], ["linear_1", "proj_out", "to_k"]],
)
def test_an_adapter_of_diffusers_network_changes_ours_in_the_same_way(tmp_path: Path, targets: list[str]) -> None:
    peft, diffusers = pytest.importorskip("peft"), pytest.importorskip("diffusers")
    model = random_model()
    save_model(tmp_path / "ours", CONFIG, model.state_dict(), tokenizer="bytes", codec="dct:4", image_size=64)
    convert(tmp_path / "ours", tmp_path / "theirs", Conversion("diffusers"))
    base = diffusers.OmniGenTransformer2DModel.from_pretrained(tmp_path / "theirs/transformer")
    theirs = peft.get_peft_model(base, peft.LoraConfig(r=2, lora_alpha=3, target_modules=targets))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.05, generator=generator)
    theirs.save_pretrained(tmp_path / "adapter")
    merge_adapter(model, Adapter(*load_adapter(tmp_path / "adapter")))
    expected = from_diffusers(theirs.merge_and_unload().state_dict())
    for name, weight in model.state_dict().items():
        assert torch.allclose(weight, expected[name], atol=1e-6), name
