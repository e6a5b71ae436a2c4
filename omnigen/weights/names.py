"""Names of parameters: ours (the published checkpoint's), diffusers', and a Phi-3 language model's.

To diffusers' `OmniGenTransformer2DModel` the map is a bijection: names change, and the fused `qkv_proj` is three
parameters there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from x2i.errors import UserError
from x2i.settings import nearest

if TYPE_CHECKING:
    from torch import Tensor

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
BACKWARDS = tuple((theirs, ours) for ours, theirs in RENAMES)
OUTPUT_PROJECTION = ("self_attn.o_proj.", "self_attn.to_out.0.")
QKV = re.compile(r"(llm\.layers\.\d+\.self_attn\.)qkv_proj\.weight")

PHI3_PREFIX, OUR_DECODER = "model.", "llm."
PHI3_HEAD = "lm_head.weight"


def diffusers_names(name: str) -> tuple[str, ...]:
    """Returns diffusers' name of our parameter; three names, of the query, key and value rows, for a fused one.

    Raises UserError for a name that is not ours.
    """
    qkv = QKV.fullmatch(name)
    if qkv:
        prefix = _rename(qkv[1], RENAMES)
        return tuple(f"{prefix}{part}.weight" for part in QKV_PARTS)
    return (_rename(name, RENAMES).replace(*OUTPUT_PROJECTION),)


def our_name(name: str) -> str:
    """Returns our name of diffusers' parameter; the three parts of a fused one have the same."""
    for part in QKV_PARTS:
        name = name.replace(f".{part}.", ".qkv_proj.")
    return _rename(name, BACKWARDS).replace(OUTPUT_PROJECTION[1], OUTPUT_PROJECTION[0])


def phi3_name(name: str) -> str:
    """Returns a Phi-3 language model's name of a parameter of our decoder (`llm....`)."""
    return PHI3_PREFIX + name.removeprefix(OUR_DECODER)


def to_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns our state dict under diffusers' names. Raises UserError for a name that is not ours."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        names = diffusers_names(name)
        renamed.update(zip(names, tensor.chunk(len(names)), strict=True) if len(names) > 1 else [(names[0], tensor)])
    return renamed


def from_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns diffusers' state dict under our names: the inverse of `to_diffusers`."""
    import torch

    renamed: dict[str, Tensor] = {}
    for name in dict.fromkeys(our_name(name) for name in state):
        parts = [state[theirs] for theirs in diffusers_names(name)]
        renamed[name] = torch.cat(parts) if len(parts) > 1 else parts[0]
    return renamed


def require_names(origin: object, found: Iterable[str], expected: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Raises UserError unless `found` are the `expected` names; names the missing, and the nearest to the unknown.

    origin: the folder, for the message. optional: expected names that need not be there.
    """
    found, expected = set(found), set(expected)
    missing, unknown = sorted(expected - found - set(optional)), sorted(found - expected)
    if not missing and not unknown:
        return
    complaints = []
    if missing:
        complaints.append(f"missing {_list(missing)}")
    if unknown:
        near = f", {nearest(unknown[0], missing or sorted(expected))}" if len(missing or expected) < 1000 else ""
        complaints.append(f"unknown {_list(unknown)}{near}")
    raise UserError(f"{origin}: not the parameters of the config.json beside them: {'; '.join(complaints)}")


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{names[:3]}{more}"


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for old, new in table:
        if name.startswith(old):
            return new + name.removeprefix(old)
    raise UserError(f"parameter {name!r} is not one of an OmniGen network")
