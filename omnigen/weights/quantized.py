"""Layers whose weights are kept in 8 or 4 bits, by bitsandbytes: frozen beside an adapter, or to generate with."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from x2i.errors import UserError

Kind = Literal["int8", "nf4"]
KINDS: tuple[Kind, ...] = ("int8", "nf4")
BYTES = {"int8": 1.0, "nf4": 0.5625}
"""Of an element of a weight, its share of the scales included (nf4: one fp32 for 64 elements)."""


def quantize_layers(model: nn.Module, kind: Kind) -> None:
    """Replaces the linear layers of the decoder by quantized ones, in place; the rest stays as it is.

    int8 is LLM.int8 (arXiv 2208.07339), whose products also round the input; nf4 is QLoRA's (arXiv 2305.14314), whose
    products are those of the dequantized weights. Each layer becomes small at the next `.to(device)`. Raises UserError
    without bitsandbytes.
    """
    bnb = require_bitsandbytes(kind)
    decoder = model.get_submodule("llm.layers")
    for name, layer in list(decoder.named_modules()):
        if type(layer) is nn.Linear:
            decoder.set_submodule(name, _quantized(bnb, layer, kind))


def is_quantized(layer: nn.Module) -> bool:
    """Whether a layer is one that `quantize_layers` made."""
    return isinstance(layer, nn.Linear) and type(layer).__module__.startswith("bitsandbytes")


def require_bitsandbytes(why: str) -> Any:
    """Returns the library. Raises UserError, which names what needs it, if it is not installed."""
    try:
        import bitsandbytes
    except ImportError as error:
        raise UserError(f"{why} needs bitsandbytes, which is not installed: pip install 'x2i[quant]'") from error
    return bitsandbytes


def _quantized(bnb: Any, layer: nn.Linear, kind: Kind) -> nn.Linear:
    size, weight = (layer.in_features, layer.out_features), layer.weight.detach()
    made: nn.Linear
    if kind == "nf4":
        made = bnb.nn.Linear4bit(*size, bias=False, quant_type="nf4", compute_dtype=weight.dtype, device="meta")
        made.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    else:
        made = bnb.nn.Linear8bitLt(*size, bias=False, has_fp16_weights=False, device="meta")
        made.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False)
    return made.to(weight.device).train(layer.training)
