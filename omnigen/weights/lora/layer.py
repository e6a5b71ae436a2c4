"""Linear layers with an adapter: put into a network, loaded, read out, and merged into the weights again.

The base weight keeps its name (`...qkv_proj.weight`); the adapter's two matrices stand beside it
(`...qkv_proj.lora_A.weight`, `...qkv_proj.lora_B.weight`). So state dicts, sharding and conversion see a network as it
was, and a few small parameters more.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnigen.weights.lora.config import LoraConfig
from omnigen.weights.lora.delta import DOWN, UP, Adapter, changed, layers_of, require_fit
from omnigen.weights.quantized import is_quantized
from x2i.errors import UserError


class LoraLinear(nn.Linear):
    """x W' + b + scaling * (x A') B', with W and b frozen and A, B trainable in fp32, whatever the dtype of W.

    quantized: the base layer, where its weights are in 8 or 4 bits; `weight` is None then.
    """

    def __init__(self, base: nn.Linear, config: LoraConfig) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")
        self.quantized = base if is_quantized(base) else None
        self.weight = None if self.quantized is not None else base.weight  # type: ignore[assignment]
        self.bias = base.bias
        self.config = config
        self.scaling = config.scaling
        place = {"device": base.weight.device, "dtype": torch.float32}
        self.lora_A = nn.Linear(base.in_features, config.rank, bias=False, **place)
        self.lora_B = nn.Linear(config.rank, base.out_features, bias=False, **place)

    def forward(self, x: Tensor) -> Tensor:
        out = F.linear(x, self.weight, self.bias) if self.quantized is None else self.quantized(x)
        # Under autocast the products choose their own dtype; a cast here would only cost memory.
        own = x if torch.is_autocast_enabled(x.device.type) else x.to(self.lora_A.weight.dtype)
        return out + (self.scaling * self.lora_B(self.lora_A(own))).to(out.dtype)

    def plain(self) -> nn.Linear:
        """Returns the base layer alone, of the same parameters."""
        layer = nn.Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight, layer.bias = self.weight, self.bias
        return layer


def add_lora(model: nn.Module, config: LoraConfig, seed: int) -> None:
    """Adds an adapter to `model`, in place, and freezes every other parameter. The output does not change at first.

    B is zero; A is Kaiming-uniform with a = sqrt(5), as in the LoRA paper's code, and depends on `seed` and the model's
    layers alone. Call it before the model is sharded. Raises UserError if a target names no linear layer.
    """
    if any(isinstance(module, LoraLinear) for module in model.modules()):
        raise UserError("this network has an adapter already; merge it before adding another")
    layers = dict(_targets(model, config))
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name, base in layers.items():
        layer = LoraLinear(base, config)
        bound = 1 / math.sqrt(base.in_features)
        drawn = torch.empty(config.rank, base.in_features).uniform_(-bound, bound, generator=generator)
        with torch.no_grad():
            layer.lora_A.weight.copy_(drawn)
            layer.lora_B.weight.zero_()
        layer.train(base.training)
        model.set_submodule(name, layer)


def lora_state(model: nn.Module) -> dict[str, Tensor]:
    """Returns the adapter's tensors, by name; of a sharded model they are DTensors (`full_tensor()` gathers one)."""
    return {name: value.detach() for name, value in model.named_parameters() if name.endswith((DOWN, UP))}


@torch.no_grad()
def load_lora_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copies an adapter's tensors into a model that has had `add_lora`. Raises UserError if they do not fit."""
    own = lora_state(model)
    if not own:
        raise UserError("this network has no adapter to load into; add_lora comes first")
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        raise UserError(
            f"the adapter's tensors are not those of the network's: missing {missing[:3]}, unknown {unknown[:3]}; its "
            f"targets must be those the network was given"
        )
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise UserError(f"{name}: found {tuple(state[name].shape)}, expected {tuple(value.shape)}; another rank?")
        value.copy_(state[name])


@torch.no_grad()
def merge_lora(model: nn.Module) -> None:
    """Adds the adapter to the weights, in place, and removes it: the same output, without the extra cost.

    The sum is taken in fp32 and rounded to the weight's dtype. Parameters stay frozen or not, as they were.
    """
    for name, layer in _adapted(model).items():
        if layer.quantized is not None:
            raise UserError(f"{name}: its weights are quantized; merge the adapter into those it was made from")
        state = {name + DOWN: layer.lora_A.weight, name + UP: layer.lora_B.weight}
        layer.weight.copy_(changed(f"{name}.weight", layer.weight, [Adapter(layer.config, state)]))
        model.set_submodule(name, layer.plain().train(layer.training))


def merge_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Adds an adapter from elsewhere to the weights of a model, in place. Raises UserError if it does not fit."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    require_fit(adapter, {name: layer.weight.shape for name, layer in layers.items()})
    with torch.no_grad():
        for name in layers_of(adapter.state):
            weight = layers[name].weight
            weight.copy_(changed(f"{name}.weight", weight, [adapter]))


def unmerge_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Takes a merged adapter out of the weights again, in place: they come back up to rounding."""
    merge_adapter(model, Adapter(adapter.config, adapter.state, -adapter.scale, adapter.origin))


def _adapted(model: nn.Module) -> dict[str, LoraLinear]:
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    if not layers:
        raise UserError("this network has no adapter")
    return layers


def _targets(model: nn.Module, config: LoraConfig) -> list[tuple[str, nn.Linear]]:
    modules = dict(model.named_modules())
    for target in config.targets:
        found = [name for name in modules if name == target or name.endswith(f".{target}")]
        if not found:
            linear = {n.rpartition(".")[2] for n, m in modules.items() if isinstance(m, nn.Linear)}
            near = difflib.get_close_matches(target, linear, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"such as {', '.join(sorted(linear - {'0', '1', '2'}))}"
            raise UserError(f"lora.targets: {target!r}: the network has no layer of that name; {hint}")
        wrong = [name for name in found if not isinstance(modules[name], nn.Linear)]
        if wrong:
            kind = type(modules[wrong[0]]).__name__
            raise UserError(f"lora.targets: {target!r}: {wrong[0]} is a {kind}; only linear layers take an adapter")
    return [(name, m) for name, m in modules.items() if isinstance(m, nn.Linear) and config.is_target(name)]
