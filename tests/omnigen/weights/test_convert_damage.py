"""Weights and configurations that cannot be right are refused by name, before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnigen.weights import load_initial_weights, load_model, save_model
from omnigen.weights.convert import convert
from omnigen.weights.options import Conversion
from omnigen.weights.side_files import tokenizer_size
from tests.support.model_folders import equal, tensors
from tests.support.tiny_network import CONFIG, random_model
from x2i.errors import UserError

State = dict[str, torch.Tensor]
QUERY, KEY, VALUE = (f"layers.1.self_attn.to_{part}.weight" for part in "qkv")
FUSED = "llm.layers.1.self_attn.qkv_proj.weight"


@pytest.fixture(scope="module")
def state() -> State:
    return random_model().state_dict()


@pytest.fixture
def ours(tmp_path: Path, state: State) -> Path:
    save_model(tmp_path / "ours", CONFIG, state, tokenizer="bytes", codec="dct:4", image_size=64)
    return tmp_path / "ours"


@pytest.fixture
def diffusers(tmp_path: Path, ours: Path) -> Path:
    convert(ours, tmp_path / "diffusers", Conversion("diffusers"))
    return tmp_path / "diffusers"


@pytest.fixture
def official(tmp_path: Path, ours: Path) -> Path:
    convert(ours, tmp_path / "official", Conversion("official"))
    return tmp_path / "official"


def change(file: Path, edit: Callable[[State], Any]) -> None:
    """Rewrites a safetensors file after `edit` of its tensors."""
    held = {name: tensor.clone() for name, tensor in load_file(file).items()}
    edit(held)
    save_file(held, file)


def edit_json(file: Path, **fields: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def refused(source: Path, message: str, layout: str = "ours", **options: Any) -> None:
    out = source.parent / "never"
    with pytest.raises(UserError, match=message):
        convert(source, out, Conversion(layout, **options))
    assert not list(source.parent.glob("never*"))


def weights_of(folder: Path) -> Path:
    return folder / "transformer" / "diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize("narrow", [(QUERY,), (KEY, VALUE)])
def test_query_key_and_value_of_different_dtypes_are_converted_to_a_dtype_alone_and_used_in_the_widest(
    diffusers: Path, tmp_path: Path, state: State, narrow: tuple[str, ...]
) -> None:
    change(weights_of(diffusers), lambda held: held.update({name: held[name].bfloat16() for name in narrow}))
    for layout in ("ours", "diffusers"):
        refused(diffusers, rf"{narrow[0]} torch\.bfloat16.* expected one dtype.*--dtype", layout)
    parts = zip((QUERY, KEY, VALUE), state[FUSED].chunk(3))
    expected = torch.cat([part.bfloat16().float() if name in narrow else part for name, part in parts])
    for model in (load_initial_weights(diffusers, CONFIG, 0), load_model(diffusers).model):
        assert torch.equal(model.state_dict()[FUSED], expected)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        convert(diffusers, tmp_path / name, Conversion("ours", dtype=name))
        assert equal({FUSED: tensors(tmp_path / name)[FUSED]}, {FUSED: expected.to(dtype)})


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.update({QUERY: torch.zeros(288, 192), KEY: torch.zeros(96, 192)}), r"found \(96, 192\)"),
        (lambda s: s.update({KEY: torch.zeros(192, 100)}), r"found \(192, 100\), expected \(192, 192\)"),
        (lambda s: s.update({QUERY: torch.tensor(1.0)}), r"found \(\), expected \(192, 192\)"),
    ],
)
def test_each_of_query_key_and_value_has_its_shape(
    diffusers: Path, edit: Callable[[State], None], message: str
) -> None:
    change(weights_of(diffusers), edit)
    refused(diffusers, rf"diffusers/transformer: layers\.1\.self_attn\.to_[qk]\.weight: {message}")


@pytest.mark.parametrize(
    ("layout", "file", "fields", "message"),
    [
        ("official", "config.json", {"rope_theta": 9e4}, "rope_theta: found 90000.0, expected 10000.0"),
        ("official", "config.json", {"num_hidden_layers": 1}, "num_layers: found 1, expected 2"),
        ("diffusers", "transformer/config.json", {"patch_size": 4}, "patch_size: found 4, expected 2"),
    ],
)
def test_omnigen_json_does_not_overrule_an_edited_config_json(
    request: pytest.FixtureRequest, layout: str, file: str, fields: dict[str, Any], message: str
) -> None:
    path = request.getfixturevalue(layout) / file
    edit_json(path.with_name("omnigen.json"), model=CONFIG.to_dict())
    assert load_model(request.getfixturevalue(layout)).description.config == CONFIG
    edit_json(path, **fields)
    refused(request.getfixturevalue(layout), rf"{file}: .*{message}, as omnigen\.json beside it says.*[Rr]emove")


def factors(**more: Any) -> dict[str, Any]:
    """Returns an edit of a config.json: LongRoPE with these fields."""
    plain = [1.0] * (CONFIG.head_dim // 2)
    return {"rope_scaling": {"type": "su", "short_factor": plain, "long_factor": plain, **more}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (factors(short_factor=[0.0] * 48), "rope_short_factors: found 0.0, expected a finite number above zero"),
        (factors(long_factor=[1.0] * 47 + [True]), "rope_long_factors: found True"),
        (factors(long_factor=[1.0] * 47 + [float("nan")]), r"rope_scaling.long_factor\[47\]: found nan"),
        (factors(factor="4"), "rope_scaling.factor: found '4', expected 32"),
        ({"rope_theta": float("inf")}, "rope_theta: found inf, expected a finite number"),
        ({"rope_theta": 0}, "rope_theta: found 0.0, expected a finite number above zero"),
        ({"rope_theta": 10**400}, "rope_theta: found 1000"),
        ({"original_max_position_embeddings": 1}, "original_max_position_embeddings: found 1, expected more than 1"),
        ({"original_max_position_embeddings": 0}, "original_max_position_embeddings: found 0"),
        ({"attention_dropout": float("nan")}, "attention_dropout: found nan"),
        ({"num_hidden_layers": 10_000_000}, "num_layers: found 10000000, expected at most 1000"),
    ],
)
def test_a_configuration_that_cannot_be_right_is_refused_by_field(
    official: Path, fields: dict[str, Any], message: str
) -> None:
    edit_json(official / "config.json", **fields)
    refused(official, rf"config\.json: .*{message}")


def test_a_configuration_nested_without_end_is_refused(official: Path) -> None:
    (official / "config.json").write_text("[" * 100_000)
    refused(official, r"config\.json: nested too deeply")


@pytest.mark.parametrize("other", [float("nan"), float("inf"), -float("inf")])
def test_a_value_beyond_fp16_is_refused_beside_one_that_is_not_finite_already(ours: Path, other: float) -> None:
    file = ours / "model.safetensors"
    change(file, lambda held: held["llm.norm.weight"][:2].copy_(torch.tensor([other, 1.0])))
    convert(ours, ours.parent / "out", Conversion("ours", dtype="fp16"))
    found = load_file(ours.parent / "out" / "model.safetensors")["llm.norm.weight"]
    assert torch.equal(found[:1].float().nan_to_num(7.0), torch.tensor([other]).nan_to_num(7.0))
    change(file, lambda held: held["llm.norm.weight"][1].fill_(1e9))
    refused(ours, r"llm\.norm\.weight: holds values beyond the range", dtype="fp16")


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
@pytest.mark.parametrize("layout", ["official", "diffusers"])
def test_weights_of_eight_bits_are_refused(request: pytest.FixtureRequest, layout: str, dtype: torch.dtype) -> None:
    folder = request.getfixturevalue(layout)
    file, name = (folder / "model.safetensors", FUSED) if layout == "official" else (weights_of(folder), QUERY)
    change(file, lambda held: held.update({name: held[name].to(dtype)}))
    for option in ("keep", "bf16"):
        refused(folder, rf"{name}: found {dtype}, .*quantized", dtype=option)
    with pytest.raises(UserError, match="quantized"):
        load_model(folder)


@pytest.mark.parametrize("file", [5, None])
def test_an_index_that_names_no_file_is_refused(official: Path, file: object) -> None:
    index = official / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"llm.norm.weight": file}}))
    (official / "model.safetensors").rename(official / "model-00001-of-00001.safetensors")
    refused(official, r"model\.safetensors\.index\.json: ")


@pytest.mark.parametrize("content", [b"hello world", b"a.", b"\x85"])
def test_a_legacy_file_of_junk_is_refused(official: Path, content: bytes) -> None:
    (official / "model.safetensors").unlink()
    (official / "model.pt").write_bytes(content)
    refused(official, r"model\.pt: ")


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({1: torch.ones(2)}, "found a tensor named 1, expected names that are text"),
        ({"llm.norm.weight": torch.ones(192).to_sparse()}, "llm.norm.weight: found a tensor of kind torch.sparse_coo"),
        ({"llm.norm.weight": torch.ones(192, device="meta")}, "llm.norm.weight: found a tensor of kind meta"),
        ({"llm.norm.weight": torch.ones(192, dtype=torch.complex64)}, "found torch.complex64, expected torch.float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse")
def test_a_legacy_tensor_that_is_none_of_a_network_is_refused(
    official: Path, state: State, odd: dict[Any, torch.Tensor], message: str
) -> None:
    (official / "model.safetensors").unlink()
    torch.save({**state, **odd}, official / "model.pt")
    refused(official, message)


@pytest.mark.parametrize(
    "document",
    [
        {"model": {"vocab": {"a": "x"}}},
        {"model": {"vocab": {"a": True}}},
        {"model": {"vocab": 5}},
        {"model": [1]},
        {"added_tokens": [{"content": "x"}]},
        {"added_tokens": ["x"]},
        {"added_tokens": {"id": 5}},
        {"added_tokens": 5},
    ],
)
def test_a_tokenizer_of_odd_content_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"tokenizer\.json: .*remove it"):
        tokenizer_size(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": True}, "image_size: found True"),
        ({"carried": {"official": {"hidden_size": 1}}}, "carried.official: missing num_hidden_layers.*may be removed"),
    ],
)
def test_what_omnigen_json_says_is_looked_at_before_anything_is_written(
    diffusers: Path, fields: dict[str, Any], message: str
) -> None:
    edit_json(diffusers / "transformer" / "omnigen.json", **fields)
    refused(diffusers, rf"omnigen\.json: {message}", "official")
