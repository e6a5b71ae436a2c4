"""The change that an adapter makes to a weight, as tensors: used on a network in memory and on files streamed past."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from omnigen.weights.lora.config import LoraConfig
from x2i.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

DOWN, UP = ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class Adapter:
    """An adapter ready to be added to a network's weights.

    state: A (rank, in) and B (out, rank) of each layer, named `<layer>.lora_A.weight` and `<layer>.lora_B.weight`.
    scale: multiplies the change besides the configuration's own factor: 1 adds it, -1 takes it away; finite, or
    UserError is raised. origin: a path to name in errors. base: fingerprint of the weights it was trained beside; "" if
    unknown, None to add it to any network of its size.
    """

    config: LoraConfig
    state: Mapping[str, Tensor]
    scale: float = 1.0
    origin: str = "adapter"
    base: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise UserError(f"{self.origin}: scale: found {self.scale}, expected a number such as 1.0")


def layers_of(state: Mapping[str, Tensor]) -> list[str]:
    """Returns the names of the layers that an adapter's state changes."""
    return [name.removesuffix(DOWN) for name in state if name.endswith(DOWN)]


def require_fit(adapter: Adapter, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raises UserError if the adapter changes a layer that is not there, or one of another size, or lacks one of those
    that its configuration names.

    shapes: of the weights of the network's linear layers, by the layer's name.
    """
    layers = layers_of(adapter.state)
    unknown = [name for name in layers if name not in shapes]
    if unknown:
        near = difflib.get_close_matches(unknown[0], shapes, n=1)
        hint = f", the nearest is {near[0]}" if near else ""
        raise UserError(
            f"{adapter.origin}: changes {len(unknown)} layers that the model does not have, the first "
            f"{unknown[0]}{hint}"
        )
    lacking = [name for name in shapes if adapter.config.is_target(name) and name not in layers]
    if lacking:
        raise UserError(
            f"{adapter.origin}: has nothing for {len(lacking)} layers that its targets name, the first {lacking[0]}; "
            f"it was made for a network of another size, or a part of its file is lost"
        )
    for name in layers:
        found = adapter.state[name + UP].shape[0], adapter.state[name + DOWN].shape[1]
        if found != tuple(shapes[name]):
            raise UserError(
                f"{adapter.origin}: {name}: the adapter changes a weight of {found[0]} x {found[1]}, the model has "
                f"{' x '.join(map(str, shapes[name]))}; it was made for a network of another size"
            )


def changed(name: str, weight: Tensor, adapters: Sequence[Adapter], rounded: bool = True) -> Tensor:
    """Returns the parameter `name` plus the adapters' changes: summed in fp32 (or better), rounded once.

    A parameter that none of them changes is returned itself. rounded: to the weight's dtype, otherwise the sum as it
    is. The shapes must fit; see `require_fit`.
    """
    layer = name.removesuffix(".weight")
    ours = [each for each in adapters if layer + DOWN in each.state]
    if not ours:
        return weight
    total = weight.to(summed(weight.dtype))
    for adapter in ours:
        down, up = adapter.state[layer + DOWN].to(total), adapter.state[layer + UP].to(total)
        total = torch.addmm(total, up, down, alpha=adapter.scale * adapter.config.scaling)
    return total.to(weight.dtype) if rounded else total


def summed(dtype: torch.dtype) -> torch.dtype:
    """Returns the dtype in which a weight of `dtype` and its changes are added up."""
    return torch.promote_types(dtype, torch.float32)
