"""`omnigen merge`, `unmerge`, `convert --lora` and `generate --lora` agree with the adapter in the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omnigen.network.config import preset
from omnigen.network.model import OmniGen
from omnigen.weights import load_model, save_model
from omnigen.weights.lora import LoraConfig, add_lora, lora_state, merge_lora, save_adapter
from tests.omnigen.test_cli import omnigen
from tests.omnigen.weights.test_lora import CONFIGURED, adapted, distance, outputs
from tests.support.model_folders import equal, tensors
from tests.support.tiny_network import CONFIG, random_model


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A model in base/, and adapters for it in a/ and b/."""
    save_model(tmp_path / "base", CONFIG, random_model().state_dict(), tokenizer="bytes", codec="dct:4", image_size=64)
    save_adapter(tmp_path / "a", CONFIGURED, lora_state(adapted(seed=1)), base="base")
    other = LoraConfig(rank=2, targets=("o_proj", "down_proj"))
    save_adapter(tmp_path / "b", other, lora_state(adapted(seed=2, config=other)), base="base")
    return tmp_path


@pytest.mark.parametrize("layout", ["ours", "official", "diffusers"])
def test_a_merged_folder_draws_what_the_adapter_draws(folders: Path, layout: str) -> None:
    assert omnigen("merge", folders / "base", folders / "a", folders / "out", "--to", layout) == 0
    model, merged = adapted(seed=1), load_model(folders / "out").model
    assert distance(outputs(merged), outputs(model)) < 3e-6
    merge_lora(model)
    assert equal(merged.state_dict(), model.state_dict())


def test_unmerging_returns_the_base_to_rounding(folders: Path) -> None:
    assert omnigen("merge", folders / "base", folders / "a", folders / "merged", "--scale", 0.7) == 0
    assert omnigen("unmerge", folders / "merged", folders / "a", folders / "again", "--scale", 0.7) == 0
    base, merged, again = (tensors(folders / name) for name in ("base", "merged", "again"))
    changed = {name for name in base if not torch.equal(base[name], merged[name])}
    assert changed == {f"llm.layers.{i}.self_attn.{p}.weight" for i in range(2) for p in ("qkv_proj", "o_proj")}
    for name in base:
        if name in changed:
            assert (again[name] - base[name]).abs().max() < 1e-7 * max(1, float(merged[name].abs().max())), name
        else:
            assert torch.equal(again[name], base[name]), name


def test_adapters_add_up_and_round_once(folders: Path) -> None:
    arguments = ["--lora", folders / "a", "--lora", folders / "b", "--dtype", "bf16"]
    assert omnigen("convert", folders / "base", folders / "both", "--to", "ours", *arguments) == 0
    for first, second, out in (("base", "a", "one"), ("one", "b", "two")):
        assert omnigen("merge", folders / first, folders / second, folders / out) == 0
    found, expected = tensors(folders / "both"), tensors(folders / "two")
    for name, tensor in expected.items():
        rounded = tensor if name == "pos_embed" else tensor.bfloat16()
        assert (found[name].float() - rounded.float()).abs().max() <= 2**-8 * tensor.abs().max(), name
    assert not equal(found, {name: tensor.bfloat16() for name, tensor in tensors(folders / "base").items()})


def test_a_change_too_small_for_bf16_survives_a_merge_into_fp32(folders: Path) -> None:
    assert omnigen("convert", folders / "base", folders / "half", "--to", "ours", "--dtype", "bf16") == 0
    merge = ("merge", folders / "half", folders / "a", folders / "out", "--scale", 1e-4)
    assert omnigen(*merge, "--dtype", "fp32") == 0
    before, after = tensors(folders / "half"), tensors(folders / "out")
    name = "llm.layers.0.self_attn.qkv_proj.weight"
    state = lora_state(adapted(seed=1))
    down, up = (state[name.replace("weight", f"lora_{part}.weight")] for part in "AB")
    expected = before[name].float() + 1e-4 * CONFIGURED.scaling * (up @ down)
    torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=1e-9)
    assert after[name].dtype == torch.float32
    assert not torch.equal(after[name], before[name].float())


@pytest.mark.parametrize("scale", ["nan", "inf"])
def test_a_scale_that_is_no_number_is_refused(folders: Path, scale: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert omnigen("merge", folders / "base", folders / "a", folders / "out", "--scale", scale) == 2
    assert f"scale: found {scale}, expected a number" in capsys.readouterr().err
    assert not (folders / "out").exists()


def test_an_adapter_that_lacks_layers_is_refused(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = {name: tensor for name, tensor in lora_state(adapted(seed=1)).items() if "layers.0." not in name}
    save_adapter(folders / "part", CONFIGURED, state, base="base")
    assert omnigen("merge", folders / "base", folders / "part", folders / "out") == 2
    error = capsys.readouterr().err
    assert "has nothing for 2 layers that its targets name, the first llm.layers.0.self_attn." in error


def test_generate_draws_with_adapters(tmp_path: Path) -> None:
    config = preset("tiny", hidden_size=64, num_heads=2, num_layers=2, intermediate_size=64, in_channels=8)
    model = random_model(config)
    names = {"tokenizer": "bytes", "codec": "dct:8", "image_size": 64}
    save_model(tmp_path / "base", config, model.state_dict(), **names)
    add_lora(model, LoraConfig(rank=2, alpha=1.0), seed=0)
    with torch.no_grad():
        for name, value in lora_state(model).items():
            if ".lora_B." in name:
                value.normal_(std=0.3, generator=torch.Generator().manual_seed(1))
    save_adapter(tmp_path / "adapter", LoraConfig(rank=2, alpha=1.0), lora_state(model), base="base")
    halved = {name: value / 2 if ".lora_B." in name else value for name, value in lora_state(model).items()}
    save_adapter(tmp_path / "half", LoraConfig(rank=2, alpha=1.0), halved, base="base")

    def draw(folder: str, *options: object) -> np.ndarray:
        out = tmp_path / "picture.png"
        arguments = ("--model", tmp_path / folder, "--prompt", "a cat", "--steps", 2, "--out", out, *options)
        assert omnigen("generate", *arguments) == 0
        return np.asarray(Image.open(out)).astype(int)

    def close(found: np.ndarray, expected: np.ndarray) -> bool:
        return bool(np.abs(found - expected).max() <= 1)

    merge_lora(model)
    save_model(tmp_path / "merged", config, model.state_dict(), **names)
    base, merged = draw("base"), draw("merged")
    adapter, half = tmp_path / "adapter", tmp_path / "half"
    assert not close(base, merged)
    assert close(draw("base", "--lora", adapter), merged)
    assert close(draw("base", "--lora", half, "--lora", half), merged)
    assert close(draw("base", "--lora", half, "--lora-scale", 2), merged)
    assert close(draw("base", "--lora", adapter, "--lora", half, "--lora-scale", 0.5, "--lora-scale", 1), merged)
    assert close(draw("base", "--lora", adapter, "--lora-scale", 0), base)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["merge", "{base}", "{base}", "{out}"], "adapter_config.json"),
        (["merge", "{base}", "{wide}", "{out}"], "the model has 192 x 192"),
        (["merge", "{base}", "{deep}", "{out}"], "the nearest is llm.layers.1"),
        (["generate", "--model", "{base}", "--prompt", "a", "--out", "{out}.png", "--lora-scale", "2"], "--lora-scale"),
        (["generate", "--model", "{base}", "--prompt", "a", "--out", "{out}.png", "--lora", "{wide}"], "another size"),
    ],
)
def test_an_adapter_that_does_not_fit_is_told(
    folders: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    state = lora_state(adapted())
    wide = {name: torch.zeros(*(side * 2 if side != 4 else 4 for side in t.shape)) for name, t in state.items()}
    deep = {name.replace("layers.1", "layers.9"): tensor for name, tensor in state.items()}
    save_adapter(folders / "wide", CONFIGURED, wide, base="")
    save_adapter(folders / "deep", CONFIGURED, deep, base="")
    for name in ("base", "wide", "deep", "out"):
        arguments = [argument.replace(f"{{{name}}}", str(folders / name)) for argument in arguments]
    assert omnigen(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert "writing" not in error
    assert not (folders / "out").exists()


def test_every_command_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    for name, words in (
        ("convert", ["official", "diffusers", "Phi-3", "--max-shard-size", "must not exist"]),
        ("merge", ["LoRA", "--scale", "adapter_config.json"]),
        ("unmerge", ["rounding", "--scale"]),
        ("generate", ["--lora", "--lora-scale"]),
    ):
        assert omnigen(name, "--help") == 0
        text = " ".join(capsys.readouterr().out.split())
        assert all(word in text for word in words), name


def test_the_network_with_adapters_has_few_more_parameters() -> None:
    with torch.device("meta"):
        model = OmniGen(preset("phi3-mini"))
    assert sum(p.numel() for p in model.parameters()) == 3_762_072_592
    add_lora(model, LoraConfig(rank=8), seed=0)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trainable == 32 * 8 * ((3072 + 9216) + (3072 + 3072))
    assert sum(p.numel() for p in model.parameters()) == 3_762_072_592 + trainable
