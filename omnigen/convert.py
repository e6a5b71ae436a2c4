"""The network's weights on disk: our model folder, the published checkpoint's names, and diffusers' names for them.

Our names are the published ones. To diffusers' `OmniGenTransformer2DModel` the map is a bijection: names change, and
the fused `qkv_proj` is three parameters there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnigen.config import ModelConfig
from x2i.errors import UserError
from x2i.store.atomic import atomic_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

    from omnigen.model import OmniGen

FORMAT = "omnigen"
FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PUBLISHED_IMAGE_SIZE = 1024

QKV_PARTS = ("to_q", "to_k", "to_v")
# Beginnings of names, ours and diffusers'; the inverse map is the same table read backwards.
RENAMES: tuple[tuple[str, str], ...] = (
    ("pos_embed", "patch_embedding.pos_embed"),
    ("x_embedder.proj.", "patch_embedding.output_image_proj."),
    ("input_x_embedder.proj.", "patch_embedding.input_image_proj."),
    ("time_token.mlp.0.", "time_token.linear_1."),
    ("time_token.mlp.2.", "time_token.linear_2."),
    ("t_embedder.mlp.0.", "t_embedder.linear_1."),
    ("t_embedder.mlp.2.", "t_embedder.linear_2."),
    ("final_layer.adaLN_modulation.1.", "norm_out.linear."),
    ("final_layer.linear.", "proj_out."),
    ("llm.embed_tokens.", "embed_tokens."),
    ("llm.norm.", "norm."),
    ("llm.layers.", "layers."),
)
OUTPUT_PROJECTION = ("self_attn.o_proj.", "self_attn.to_out.0.")
QKV = re.compile(r"(llm\.layers\.\d+\.self_attn\.)qkv_proj\.weight")


@dataclass(frozen=True)
class Description:
    """What a model folder's config.json says.

    tokenizer, codec: names of those the network was trained with, as `load_tokenizer` and `load_codec` take them.
    image_size: pixels of the longer side it was trained at, the natural size to generate; None if unknown.
    """

    config: ModelConfig
    tokenizer: str
    codec: str
    image_size: int | None


@dataclass(frozen=True)
class SavedModel:
    """A network read from a folder, in eval mode, with the folder's description."""

    model: OmniGen
    description: Description


def to_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns our (the published) state dict under diffusers' names. Raises UserError for a name that is not ours."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        qkv = QKV.fullmatch(name)
        if qkv:
            prefix = _rename(qkv[1], RENAMES)
            parts = zip(QKV_PARTS, tensor.chunk(3), strict=True)
            renamed.update({f"{prefix}{part}.weight": rows for part, rows in parts})
        else:
            renamed[_rename(name, RENAMES).replace(*OUTPUT_PROJECTION)] = tensor
    return renamed


def from_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns diffusers' state dict under our names: the inverse of `to_diffusers`."""
    import torch

    backwards = tuple((theirs, ours) for ours, theirs in RENAMES)
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ".to_q." in name:
            rows = [state[name.replace(".to_q.", f".{part}.")] for part in QKV_PARTS]
            renamed[_rename(name, backwards).replace(".to_q.", ".qkv_proj.")] = torch.cat(rows)
        elif not any(f".{part}." in name for part in QKV_PARTS):
            renamed[_rename(name, backwards).replace(OUTPUT_PROJECTION[1], OUTPUT_PROJECTION[0])] = tensor
    return renamed


def save_model(
    folder: Path,
    config: ModelConfig,
    state: Mapping[str, Tensor],
    *,
    tokenizer: str,
    codec: str,
    image_size: int | None = None,
) -> None:
    """Writes a model folder: model.safetensors, then config.json, each whole or not at all.

    state: our state dict (of the network, or of its average); saved in the dtypes it has. tokenizer, codec: names, as
    `load_tokenizer` and `load_codec` take them. image_size: pixels of the longer side it was trained at.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(state.items())}
    with atomic_file(folder / WEIGHTS_FILE) as stream:
        stream.write(save(tensors, metadata={"format": "pt"}))
    document = {"format": FORMAT, "format_version": FORMAT_VERSION, "model": config.to_dict()}
    names = {"tokenizer": tokenizer, "codec": codec, "image_size": image_size}
    write_json(folder / CONFIG_FILE, {**document, **names})


def load_model(folder: Path, device: str = "cpu") -> SavedModel:
    """Reads a model folder of ours, or one in the published layout (Shitao/OmniGen-v1), for use: in eval mode.

    A published folder names no tokenizer and codec: they are `hf:<folder>` and `sdxl:<folder>`, which it holds itself.
    Raises UserError if files are missing, or the weights do not fit the configuration.
    """
    import torch
    from safetensors.torch import load_file

    from omnigen.model import OmniGen

    description = read_description(folder)
    weights = folder / WEIGHTS_FILE
    if not weights.is_file():
        raise UserError(f"{weights}: no such file; a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    with torch.device("meta"):
        model = OmniGen(description.config)
    state = load_file(weights, device=device)
    _require_fit(weights, state, model.state_dict())
    model.load_state_dict(state, assign=True)
    return SavedModel(model.eval(), description)


def read_description(folder: Path) -> Description:
    """Reads the config.json of a model folder, ours or published."""
    path = folder / CONFIG_FILE
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; a model folder holds {CONFIG_FILE} and {WEIGHTS_FILE}") from error
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from error
    if document.get("format") == FORMAT:
        if document.get("format_version") != FORMAT_VERSION:
            raise UserError(
                f"{path}: format_version: found {document.get('format_version')!r}, expected {FORMAT_VERSION}"
            )
        missing = [name for name in ("model", "tokenizer", "codec") if name not in document]
        if missing:
            raise UserError(f"{path}: missing {', '.join(missing)}")
        config = ModelConfig.from_dict(document["model"])
        return Description(config, document["tokenizer"], document["codec"], document.get("image_size"))
    if document.get("model_type") == "phi3":
        return Description(_published_config(document), f"hf:{folder}", f"sdxl:{folder}", PUBLISHED_IMAGE_SIZE)
    raise UserError(f"{path}: neither a model folder of omnigen nor the published OmniGen layout (model_type phi3)")


def _published_config(document: Mapping[str, Any]) -> ModelConfig:
    factors = document.get("rope_scaling") or {}
    return ModelConfig(
        hidden_size=document["hidden_size"],
        num_layers=document["num_hidden_layers"],
        num_heads=document["num_attention_heads"],
        intermediate_size=document["intermediate_size"],
        vocab_size=document["vocab_size"],
        in_channels=4,
        rms_norm_eps=document["rms_norm_eps"],
        rope_theta=document["rope_theta"],
        max_position_embeddings=document["max_position_embeddings"],
        original_max_position_embeddings=document["original_max_position_embeddings"],
        rope_short_factors=factors.get("short_factor"),
        rope_long_factors=factors.get("long_factor"),
    )


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        if name.startswith(old):
            return new + name.removeprefix(old)
    raise UserError(f"parameter {name!r} is not one of an OmniGen network")


def _require_fit(path: Path, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or unknown:
        raise UserError(f"{path}: not the parameters of its config.json: missing {missing[:3]}, unknown {unknown[:3]}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            shapes = f"found {tuple(found[name].shape)}, expected {tuple(tensor.shape)}"
            raise UserError(f"{path}: {name}: {shapes}; the weights do not belong to the config.json beside them")
