"""What can be done to weights on their way from one folder to another, lazily: cast, merge adapters, fuse, split."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnigen.weights.lora.delta import Adapter, changed, layers_of, require_fit, summed
from omnigen.weights.names import diffusers_names, our_name
from omnigen.weights.tensor_reader import LazyTensor, Weights
from x2i.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "pos_embed"


def from_diffusers_weights(origin: object, weights: Weights, mixed: bool = False) -> dict[str, LazyTensor]:
    """Returns weights with diffusers' names under ours, query, key and value fused.

    mixed: fuse those of different dtypes in one that holds the values of all; else they raise UserError, for one fused
    tensor cannot keep them bit for bit. origin: the folder, for the message.
    """
    fused = {}
    for name in dict.fromkeys(our_name(name) for name in weights):
        parts = {theirs: weights[theirs] for theirs in diffusers_names(name)}
        if len({part.dtype for part in parts.values()}) > 1 and not mixed:
            found = ", ".join(f"{theirs} {part.dtype}" for theirs, part in parts.items())
            raise UserError(
                f"{origin}: found {found}; expected one dtype, for they are one tensor here. Choose one for the whole "
                f"network: omnigen convert --dtype fp32 (or bf16, fp16)"
            )
        fused[name] = _joined(list(parts.values()))
    return fused


def cast(weights: Weights, dtype: torch.dtype) -> dict[str, LazyTensor]:
    """Returns the weights in `dtype`; the fixed position table keeps its own.

    Reading raises UserError for a value that `dtype` cannot hold.
    """
    return {
        name: one if name == TABLE or one.dtype == dtype else LazyTensor(one.shape, dtype, _casting(name, one, dtype))
        for name, one in weights.items()
    }


def uniform(weights: Weights) -> dict[str, LazyTensor]:
    """Returns the weights in one dtype, the widest that there is; the fixed position table keeps its own."""
    dtypes = {one.dtype for name, one in weights.items() if name != TABLE}
    return cast(weights, functools.reduce(torch.promote_types, sorted(dtypes, key=str)))


def merged(weights: Weights, adapters: Sequence[Adapter], rounded: bool = True) -> dict[str, LazyTensor]:
    """Returns the weights plus the adapters' changes. Raises UserError if one does not fit.

    rounded: a sum has its weight's dtype; otherwise fp32 (or better), to be cast to another.
    """
    shapes = {name.removesuffix(".weight"): one.shape for name, one in weights.items() if len(one.shape) == 2}
    touched = set()
    for adapter in adapters:
        require_fit(adapter, shapes)
        touched |= {f"{layer}.weight" for layer in layers_of(adapter.state)}

    def sum_of(name: str, one: LazyTensor) -> LazyTensor:
        dtype = one.dtype if rounded else summed(one.dtype)
        return replace(one, dtype=dtype, read=lambda: changed(name, one.read(), adapters, rounded))

    return {name: sum_of(name, one) if name in touched else one for name, one in weights.items()}


def _joined(parts: list[LazyTensor]) -> LazyTensor:
    if len(parts) == 1:
        return parts[0]
    rows = sum(part.shape[0] for part in parts)
    dtype = functools.reduce(torch.promote_types, [part.dtype for part in parts])
    return LazyTensor((rows, *parts[0].shape[1:]), dtype, lambda: torch.cat([part.read().to(dtype) for part in parts]))


def _casting(name: str, one: LazyTensor, dtype: torch.dtype) -> Callable[[], Tensor]:
    def read() -> Tensor:
        tensor = one.read()
        out = tensor.to(dtype)
        # Least and greatest first: they cost no copy of the tensor, as a look at every element does.
        if not all(end.isfinite() for end in out.aminmax()) and (tensor.isfinite() & ~out.isfinite()).any():
            raise UserError(f"{name}: holds values beyond the range of {dtype}; use --dtype bf16")
        return out

    return read
