"""Folders with tiny networks of the real architecture, in the layouts in which the world keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from omnigen.network.config import ModelConfig
from tests.support.tiny_network import CONFIG, random_model


def published_document(config: ModelConfig = CONFIG) -> dict[str, Any]:
    """Returns a config.json as the published checkpoint's: an older transformers' Phi-3, with fields we do not know."""
    return {
        "_name_or_path": "Phi-3-vision-128k-instruct",
        "architectures": ["Phi3ForCausalLM"],
        "auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        "model_type": "phi3",
        "num_attention_heads": config.num_heads,
        "num_hidden_layers": config.num_layers,
        "num_key_value_heads": config.num_heads,
        "original_max_position_embeddings": config.original_max_position_embeddings,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "long_factor": list(config.rope_long_factors or ()),
            "short_factor": list(config.rope_short_factors or ()),
            "type": "su",
        },
        "rope_theta": 10000.0,
        "sliding_window": 131072,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.38.1",
        "vocab_size": config.vocab_size,
    }


def published(folder: Path, dtype: torch.dtype = torch.float32, config: ModelConfig = CONFIG) -> Path:
    """Makes a folder as Shitao/OmniGen-v1's: config, weights, tokenizer files at the root, vae/. The table is 192^2."""
    from omnigen.network.embedders import position_table

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(published_document(config), indent=2))
    state = {name: tensor.to(dtype) for name, tensor in random_model(config, seed=5).state_dict().items()}
    # As numpy made it upstream: not the last bit of ours.
    state["pos_embed"] = torch.nextafter(position_table(config.hidden_size, 192), torch.tensor(2.0))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "model.safetensors")
    add_tokenizer(folder)
    add_vae(folder / "vae")
    return folder


def add_tokenizer(folder: Path) -> None:
    from transformers import LlamaTokenizer

    characters = "▁abcdefghijklmnopqrstuvwxyz"
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    LlamaTokenizer(vocab=vocabulary, merges=[], add_bos_token=True).save_pretrained(folder)


def add_vae(folder: Path) -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    kinds = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    AutoencoderKL(
        down_block_types=kinds[0],
        up_block_types=kinds[1],
        block_out_channels=(8, 8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.13025,
    ).save_pretrained(folder)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Returns all tensors of a folder's safetensors files, read by the library."""
    state: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        state.update(load_file(path))
    return state


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts hold the same bits."""
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype
        and found[name].shape == tensor.shape
        and torch.equal(bits(found[name]), bits(tensor))
        for name, tensor in expected.items()
    )
