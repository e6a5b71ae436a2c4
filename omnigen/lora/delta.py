"""The change that an adapter makes to a weight, as tensors: used on a network in memory and on files streamed past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from omnigen.lora.config import LoraConfig
from x2i.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

DOWN, UP = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Adapter:
    """An adapter ready to be added to a network's weights.

    state: A (rank, in) and B (out, rank) of each layer, named `<layer>.lora_A.weight` and `<layer>.lora_B.weight`.
    scale: multiplies the change besides the configuration's own factor: 1 adds it, -1 takes it away.
    origin: a path to name in errors.
    """

    config: LoraConfig
    state: Mapping[str, Tensor]
    scale: float = 1.0
    origin: str = "adapter"


def layers_of(state: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of the layers that an adapter's state changes."""
    return [name.removesuffix(DOWN) for name in state if name.endswith(DOWN)]


def changed(name: str, weight: Tensor, adapters: Sequence[Adapter]) -> Tensor:
    """Returns the parameter `name` plus the adapters' changes: summed in fp32 (or better), rounded once.

    A parameter that none of them changes is returned itself. Raises UserError where an adapter's shapes do not fit.
    """
    layer = name.removesuffix(".weight")
    ours = [each for each in adapters if layer + DOWN in each.state]
    if not ours:
        return weight
    total = weight.to(torch.promote_types(weight.dtype, torch.float32))
    for adapter in ours:
        down, up = adapter.state[layer + DOWN].to(total), adapter.state[layer + UP].to(total)
        if (up.shape[0], down.shape[1]) != tuple(weight.shape):
            raise UserError(
                f"{adapter.origin}: {layer}: the adapter changes a weight of {up.shape[0]} x {down.shape[1]}, the "
                f"model has {' x '.join(map(str, weight.shape))}; it was made for a network of another size"
            )
        total = torch.addmm(total, up, down, alpha=adapter.scale * adapter.config.scaling)
    return total.to(weight.dtype)
