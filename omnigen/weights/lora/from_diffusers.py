"""Adapters of diffusers' `OmniGenTransformer2DModel`: renamed to our layers, with query, key and value made one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from omnigen.weights.lora.config import LoraConfig
from omnigen.weights.lora.delta import DOWN, UP, layers_of
from omnigen.weights.names import QKV_PARTS, RENAMES, our_name

if TYPE_CHECKING:
    from torch import Tensor

_THEIRS = tuple(theirs for _, theirs in RENAMES)


def from_diffusers(config: LoraConfig, state: Mapping[str, Tensor]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Returns an adapter under our names; one that has them already comes back as it is.

    The change of `qkv_proj` is that of its three parts below each other: A (3 rank, in) holds theirs one below the
    other, B (out, 3 rank) has theirs on its diagonal. A part that is not changed has zeros: as many as another part has
    rows, since its size is not in the file. The configuration keeps the rank that its factor is computed with.
    """
    layers = layers_of(state)
    if not any(f"{layer}.".startswith(_THEIRS) for layer in layers):
        return config, dict(state)
    parts: dict[str, dict[str, str]] = {}
    for layer in layers:
        ours = our_name(f"{layer}.").removesuffix(".") if f"{layer}.".startswith(_THEIRS) else layer
        parts.setdefault(ours, {})[layer.rpartition(".")[2]] = layer
    renamed: dict[str, Tensor] = {}
    for ours, found in parts.items():
        if found.keys() <= set(QKV_PARTS):
            renamed[ours + DOWN], renamed[ours + UP] = _joined(found, state)
        else:
            [layer] = found.values()
            renamed[ours + DOWN], renamed[ours + UP] = state[layer + DOWN], state[layer + UP]
    return replace(config, targets=tuple(parts)), renamed


def _joined(found: Mapping[str, str], state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Returns A and B of the three parts together. found: the layers of those that are changed, by their last name."""
    import torch

    ups = {part: state[layer + UP] for part, layer in found.items()}
    # Keys and values have one size, which in grouped attention is not that of the queries.
    like = {"to_q": ("to_k", "to_v"), "to_k": ("to_v", "to_q"), "to_v": ("to_k", "to_q")}
    blocks = []
    for part in QKV_PARTS:
        rows = next(ups[name].shape[0] for name in (part, *like[part]) if name in ups)
        blocks.append(ups[part] if part in ups else ups[next(iter(ups))].new_zeros(rows, 0))
    downs = [state[found[part] + DOWN] for part in QKV_PARTS if part in found]
    return torch.cat(downs), torch.block_diag(*blocks)
