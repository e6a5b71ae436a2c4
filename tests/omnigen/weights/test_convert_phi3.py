"""Beginning from a Phi-3 language model: its decoder computes what transformers computes; others are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from omnigen.network.attention import plan_attention
from omnigen.network.config import PHI3_LONG_FACTORS, PHI3_SHORT_FACTORS, ModelConfig
from omnigen.network.layout import Grid, PackLayout, SampleLayout
from omnigen.network.model import OmniGen
from omnigen.weights import load_initial_weights, load_model, save_model
from omnigen.weights.convert import convert
from omnigen.weights.options import Conversion
from tests.omnigen.test_cli import omnigen
from tests.support.model_folders import add_tokenizer, equal, tensors
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model
from x2i.errors import UserError

transformers = pytest.importorskip("transformers")

LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "original_max_position_embeddings": 64,
    "short_factor": list(PHI3_SHORT_FACTORS),
    "long_factor": list(PHI3_LONG_FACTORS),
}
PLAIN = {"rope_type": "default", "rope_theta": 500000.0}


def phi3(folder: Path, rope: dict[str, Any], **saving: Any) -> Any:
    """Saves a tiny Phi-3 language model with random weights, and returns it."""
    config = transformers.Phi3Config(
        hidden_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        intermediate_size=256,
        vocab_size=300,
        max_position_embeddings=2048,
        original_max_position_embeddings=64,
        rope_parameters=rope,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    model = transformers.Phi3ForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(folder, **saving)
    return model


def edited(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def old_style(folder: Path, kind: str) -> None:
    """Rewrites the configuration as transformers 4 wrote it."""
    path = folder / "config.json"
    document = json.loads(path.read_text())
    rope = document.pop("rope_parameters")
    document["rope_theta"] = rope["rope_theta"]
    document["rope_scaling"] = None
    if rope["rope_type"] == "longrope":
        document["rope_scaling"] = {name: rope[name] for name in ("short_factor", "long_factor")} | {"type": kind}
    path.write_text(json.dumps(document))


def hidden_states(model: OmniGen, ids: list[int]) -> torch.Tensor:
    """Runs our decoder on text alone: a sample's condition, without time and noise."""
    layout = PackLayout.build((SampleLayout((tuple(ids),), (), Grid(1, 1)),), conditions_only=True)
    attends = [plan_attention(layout, "segment")] * model.config.num_layers
    # The length that chooses the factors counts the time and the noisy token too.
    assert layout.longest == len(ids) + 2
    return model.decode(model.embed_text(layout), model.angles(layout), attends)


@pytest.mark.parametrize("length", [40, 90])
@pytest.mark.parametrize(("rope", "style"), [(LONG, "5"), (LONG, "su"), (LONG, "longrope"), (PLAIN, "5"), (PLAIN, "4")])
def test_the_decoder_computes_what_transformers_computes(
    tmp_path: Path, rope: dict[str, Any], style: str, length: int
) -> None:
    theirs = phi3(tmp_path / "phi3", rope, max_shard_size="400KB")
    if style != "5":
        old_style(tmp_path / "phi3", style)
    written = convert(tmp_path / "phi3", tmp_path / "out", Conversion(codec="dct:4"))
    assert (written.source_layout, written.layout) == ("phi3", "ours")
    ids = torch.randint(3, 300, (length,), generator=torch.Generator().manual_seed(1)).tolist()
    with torch.no_grad():
        expected = theirs.model(torch.tensor([ids])).last_hidden_state[0]
        found = hidden_states(load_model(tmp_path / "out").model, ids)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)


def test_the_rest_is_fresh_by_seed_and_as_training_from_scratch_begins(tmp_path: Path) -> None:
    phi3(tmp_path / "phi3", LONG)
    for number, seed in enumerate((0, 0, 1)):
        convert(tmp_path / "phi3", tmp_path / str(number), Conversion(seed=seed, codec="dct:8"))
    first, again, other = (tensors(tmp_path / str(number)) for number in range(3))
    assert equal(again, first)
    config = load_model(tmp_path / "0").description.config
    assert (config.in_channels, config.pos_embed_max_size) == (8, 192)
    scratch = OmniGen.initialized(config, 0).state_dict()
    decoder = {
        name.replace("model.", "llm.", 1): t for name, t in load_file(tmp_path / "phi3/model.safetensors").items()
    }
    for name, tensor in first.items():
        if name.startswith("llm."):
            assert torch.equal(tensor, decoder[name]), name
        elif ".mlp." in name and name.endswith("weight"):
            assert 0.0195 < float(tensor.std()) < 0.0205, name
            assert abs(float(tensor.mean())) < 1e-3, name
        else:
            assert torch.equal(tensor, scratch[name]), name
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert {"x_embedder.proj.weight", "time_token.mlp.0.weight"} <= changed
    assert not any(name.startswith("llm.") for name in changed)


def test_tokenizer_files_come_along_and_the_vocabulary_grows_to_their_ids(tmp_path: Path) -> None:
    phi3(tmp_path / "phi3", LONG)
    add_tokenizer(tmp_path / "phi3")
    path = tmp_path / "phi3" / "tokenizer.json"
    document = json.loads(path.read_text())
    extra = {**document["added_tokens"][0], "id": 309, "content": "<extra>"}
    path.write_text(json.dumps({**document, "added_tokens": [*document["added_tokens"], extra]}))
    written = convert(tmp_path / "phi3", tmp_path / "out", Conversion())
    saved = load_model(tmp_path / "out")
    assert saved.description.config.vocab_size == 310
    assert saved.description.tokenizer == f"hf:{tmp_path / 'out' / 'tokenizer'}"
    assert any("no vae" in note for note in written.notes)
    embedding = load_file(tmp_path / "phi3/model.safetensors")["model.embed_tokens.weight"]
    found = saved.model.llm.embed_tokens.weight
    assert torch.equal(found[:300], embedding)
    assert 0.01 < float(found[300:].detach().std()) < 0.03


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_key_value_heads": 1}, "num_key_value_heads: found 1, expected 2"),
        ({"rope_parameters": {**LONG, "partial_rotary_factor": 0.75}}, "partial_rotary_factor: found 0.75"),
        ({"rope_parameters": {**LONG, "rope_type": "yarn"}}, "rope_scaling.type: found 'yarn'"),
        ({"rope_parameters": {**LONG, "attention_factor": 3.0}}, "attention_factor: found 3.0"),
        ({"rope_parameters": {**LONG, "factor": 2.0}}, "factor: found 2.0"),
        ({"hidden_act": "gelu"}, "hidden_act: found 'gelu'"),
        ({"head_dim": 64}, "head_dim: found 64, expected 96"),
        ({"num_attention_heads": "2"}, "num_attention_heads: found '2'"),
        ({"model_type": "llama"}, "no network known here"),
        ({"num_hidden_layers": 3}, r"missing \['model.layers.2."),
        ({"num_hidden_layers": 1}, r"unknown \['model.layers.1."),
        ({"vocab_size": 400}, r"embed_tokens.weight: found \(300, 192\), expected \(400, 192\)"),
    ],
)
def test_what_our_decoder_does_not_have_is_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    phi3(tmp_path / "phi3", LONG)
    edited(tmp_path / "phi3", **fields)
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "phi3", tmp_path / "out", Conversion())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("sdxl:", "codec 'sdxl:': expected"),
        ("sdxl", "codec 'sdxl:': expected"),
        ("sdx", "no codec 'sdx': did you mean 'sdxl'"),
        ("dct:x", "codec 'dct:x': expected"),
        ("dct:500", "codec 'dct:500': expected"),
    ],
)
def test_a_codec_that_is_none_is_refused(tmp_path: Path, codec: str, message: str) -> None:
    phi3(tmp_path / "phi3", LONG)
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "phi3", tmp_path / "out", Conversion(codec=codec))
    assert not (tmp_path / "out").exists()


def test_training_begins_from_a_phi3_with_another_vocabulary(tmp_path: Path) -> None:
    theirs = phi3(tmp_path / "phi3", LONG)
    for vocabulary in (272, 300, 320):
        wanted = replace(CONFIG, vocab_size=vocabulary, in_channels=8)
        model = load_initial_weights(tmp_path / "phi3", wanted, seed=3)
        assert model.training
        assert model.config == wanted
        assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
        kept = min(vocabulary, 300)
        assert torch.equal(model.llm.embed_tokens.weight[:kept], theirs.model.embed_tokens.weight[:kept])
        assert torch.equal(model.llm.layers[1].mlp.down_proj.weight, theirs.model.layers[1].mlp.down_proj.weight)
        again = load_initial_weights(tmp_path / "phi3", wanted, seed=3)
        assert equal(again.state_dict(), model.state_dict())
    with pytest.raises(UserError, match=r"another network than the one configured: num_layers 2 there, 4 here"):
        load_initial_weights(tmp_path / "phi3", replace(CONFIG, num_layers=4), seed=0)
    plain = replace(CONFIG, rope_short_factors=None, rope_long_factors=None)
    with pytest.raises(UserError, match=r"rope_short_factors \[1.05, 1.05... 3.05\] there, None here.*model.overrides"):
        load_initial_weights(tmp_path / "phi3", plain, seed=0)
    phi3(tmp_path / "plain", {**PLAIN, "rope_theta": 10000.0})
    load_initial_weights(tmp_path / "plain", replace(plain, max_position_embeddings=131072), seed=0)


@pytest.mark.parametrize("layout", ["ours", "official", "diffusers"])
def test_training_begins_from_any_layout_and_does_not_touch_the_file(tmp_path: Path, layout: str) -> None:
    state = random_model().state_dict()
    save_model(tmp_path / "ours", CONFIG, state, tokenizer="bytes", codec="dct:4")
    convert(tmp_path / "ours", tmp_path / "other", Conversion(layout, dtype="bf16"))
    before = {path: path.read_bytes() for path in (tmp_path / "other").rglob("*.safetensors")}
    model = load_initial_weights(tmp_path / "other", CONFIG, seed=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name] if name == "pos_embed" else state[name].bfloat16().float()), name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert {path: path.read_bytes() for path in before} == before
    sum(v.sum() for v in model(*inputs(SAMPLES))).backward()


def test_a_phi3_is_not_taken_for_a_network_to_draw_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    phi3(tmp_path / "phi3", LONG)
    out = tmp_path / "x.png"
    assert omnigen("generate", "--model", tmp_path / "phi3", "--prompt", "a cat", "--out", out) == 2
    assert "omnigen convert makes one of it" in capsys.readouterr().err


def test_the_network_of_the_paper_keeps_its_size(tmp_path: Path) -> None:
    """From the published Phi-3's numbers, without its weights: on the meta device."""
    from omnigen.network.config import preset
    from omnigen.weights.configs import parse_phi3, write_phi3
    from omnigen.weights.convert import network_size

    config: ModelConfig = preset("phi3-mini")
    assert parse_phi3(write_phi3(config), "config.json") == config
    assert network_size(config) == 3_762_072_592
