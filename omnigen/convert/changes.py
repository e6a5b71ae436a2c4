"""What can be done to weights on their way from one folder to another, lazily: cast, merge adapters, fuse, split."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from omnigen.convert.names import diffusers_names, our_name
from omnigen.convert.stored import Stored, Weights
from omnigen.lora.delta import Adapter, changed, layers_of, require_fit, summed
from x2i.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "pos_embed"


def from_diffusers_weights(weights: Weights) -> dict[str, Stored]:
    """Returns weights with diffusers' names under ours, query, key and value fused."""
    ours = dict.fromkeys(our_name(name) for name in weights)
    return {name: _joined([weights[theirs] for theirs in diffusers_names(name)]) for name in ours}


def cast(weights: Weights, dtype: torch.dtype) -> dict[str, Stored]:
    """Returns the weights in `dtype`; the fixed position table keeps its own.

    Reading raises UserError for a value that `dtype` cannot hold.
    """
    return {
        name: one if name == TABLE or one.dtype == dtype else Stored(one.shape, dtype, _casting(name, one, dtype))
        for name, one in weights.items()
    }


def uniform(weights: Weights) -> dict[str, Stored]:
    """Returns the weights in one dtype, the widest that there is; the fixed position table keeps its own."""
    dtypes = {one.dtype for name, one in weights.items() if name != TABLE}
    return cast(weights, functools.reduce(torch.promote_types, sorted(dtypes, key=str)))


def merged(weights: Weights, adapters: Sequence[Adapter], rounded: bool = True) -> dict[str, Stored]:
    """Returns the weights plus the adapters' changes. Raises UserError if one does not fit.

    rounded: a sum has its weight's dtype; otherwise fp32 (or better), to be cast to another.
    """
    shapes = {name.removesuffix(".weight"): one.shape for name, one in weights.items() if len(one.shape) == 2}
    touched = set()
    for adapter in adapters:
        require_fit(adapter, shapes)
        touched |= {f"{layer}.weight" for layer in layers_of(adapter.state)}

    def sum_of(name: str, one: Stored) -> Stored:
        dtype = one.dtype if rounded else summed(one.dtype)
        return replace(one, dtype=dtype, read=lambda: changed(name, one.read(), adapters, rounded))

    return {name: sum_of(name, one) if name in touched else one for name, one in weights.items()}


def _joined(parts: list[Stored]) -> Stored:
    if len(parts) == 1:
        return parts[0]
    rows = sum(part.shape[0] for part in parts)
    return Stored((rows, *parts[0].shape[1:]), parts[0].dtype, lambda: torch.cat([part.read() for part in parts]))


def _casting(name: str, one: Stored, dtype: torch.dtype) -> Callable[[], Tensor]:
    def read() -> Tensor:
        tensor = one.read()
        out = tensor.to(dtype)
        # Least and greatest first: they cost no copy of the tensor, as a look at every element would.
        if not all(end.isfinite() for end in out.aminmax()) and tensor.isfinite().all():
            raise UserError(f"{name}: holds values beyond the range of {dtype}; use --dtype bf16")
        return out

    return read
