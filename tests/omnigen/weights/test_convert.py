"""Model folders: what is saved comes back, the published layout is read, and mistakes are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from omnigen.weights import from_diffusers, load_model, save_model, to_diffusers
from tests.support.tiny_network import CONFIG, SAMPLES, inputs, random_model
from x2i.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = random_model()
    save_model(tmp_path, CONFIG, model.state_dict(), tokenizer="bytes", codec="dct:4", image_size=64)
    return tmp_path


def test_a_saved_model_comes_back_exactly(folder: Path) -> None:
    saved = load_model(folder)
    assert saved.description.config == CONFIG
    assert (saved.description.tokenizer, saved.description.codec, saved.description.image_size) == (
        "bytes",
        "dct:4",
        64,
    )
    with torch.no_grad():
        found, expected = saved.model(*inputs(SAMPLES)), random_model()(*inputs(SAMPLES))
    assert all(torch.equal(a, b) for a, b in zip(found, expected))
    assert not saved.model.training


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    save_model(again, CONFIG, random_model().state_dict(), tokenizer="bytes", codec="dct:4", image_size=64)
    for name in ("model.safetensors", "config.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_the_published_layout_is_read(tmp_path: Path) -> None:
    model = random_model(seed=5)
    published = {
        "model_type": "phi3",
        "hidden_size": CONFIG.hidden_size,
        "num_hidden_layers": CONFIG.num_layers,
        "num_attention_heads": CONFIG.num_heads,
        "intermediate_size": CONFIG.intermediate_size,
        "vocab_size": CONFIG.vocab_size,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": CONFIG.max_position_embeddings,
        "original_max_position_embeddings": CONFIG.original_max_position_embeddings,
        "rope_scaling": {
            "type": "su",
            "short_factor": list(CONFIG.rope_short_factors or ()),
            "long_factor": list(CONFIG.rope_long_factors or ()),
        },
    }
    (tmp_path / "config.json").write_text(json.dumps(published))
    state = model.state_dict()
    from omnigen.network.embedders import position_table

    state["pos_embed"] = position_table(CONFIG.hidden_size, 192)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    saved = load_model(tmp_path)
    assert saved.description.config.pos_embed_max_size == 192
    assert saved.description.tokenizer == f"hf:{tmp_path}"
    assert saved.description.codec == f"sdxl:{tmp_path}"
    assert torch.equal(saved.model.llm.norm.weight, model.llm.norm.weight)


def test_diffusers_names_come_back_whatever_their_order() -> None:
    state = random_model().state_dict()
    shuffled = dict(reversed(to_diffusers(state).items()))
    back = from_diffusers(shuffled)
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())


def test_a_name_that_is_not_of_an_omnigen_network_is_refused() -> None:
    with pytest.raises(UserError, match="lm_head"):
        to_diffusers({"lm_head.weight": torch.zeros(1)})


def test_weights_of_another_size_are_refused_by_name(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    document["model"]["vocab_size"] = 301
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"llm\.embed_tokens\.weight: found \(300, 192\), expected \(301, 192\)"):
        load_model(folder)


def test_missing_weights_are_named(folder: Path) -> None:
    document = json.loads((folder / "config.json").read_text())
    document["model"]["num_layers"] = 3
    (folder / "config.json").write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"missing \['llm\.layers\.2\."):
        load_model(folder)


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "llama"}'])
def test_a_folder_that_is_no_model_is_a_user_error(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        load_model(tmp_path)
