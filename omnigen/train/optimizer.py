"""AdamW on fp32 weights, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from omnigen.weights.quantized import require_bitsandbytes
from x2i.errors import UserError

if TYPE_CHECKING:
    from omnigen.train.config import OptimizationConfig

BETAS = (0.9, 0.999)
FRESH = "fresh"
SCALE = "lr_scale"
"""Of a parameter group: the factor of its learning rate."""


def build_optimizer(
    model: nn.Module,
    lr: float,
    weight_decay: float = 0.0,
    lr_scales: Mapping[str, float] = MappingProxyType({}),
    kind: str = "adamw",
) -> torch.optim.Optimizer:
    """Returns AdamW over the parameters of `model`, which must be fp32; only matrices decay, not norms and biases.

    lr_scales: as in `OptimizationConfig`; parameters of one factor are a group, those without any the first. kind:
    "adamw" or "adamw8bit". On CUDA it is torch's fused kernel: a third of the time, and no temporary as large as the
    parameters. Raises UserError for a factor of no parameter, or without the library that `kind` needs.
    """
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert all(parameter.dtype == torch.float32 for _, parameter in named), "master weights are fp32"
    scales = {name: _scale_of(name, lr_scales) for name, _ in named}
    for prefix in lr_scales:
        if not any(_begins(name, prefix) for name in scales):
            raise UserError(f"train.lr_scales.{prefix}: no parameter that is trained has a name that begins so")
    groups: list[dict[str, Any]] = []
    for scale in sorted({1.0, *scales.values()}, key=lambda scale: (scale != 1.0, scale)):
        for matrices in (True, False):
            chosen = [p for name, p in named if scales[name] == scale and (p.ndim >= 2) is matrices]
            if chosen or scale == 1.0:
                own = {} if scale == 1.0 else {SCALE: scale}
                groups.append({"params": chosen, "weight_decay": weight_decay if matrices else 0.0, **own})
    if kind == "adamw8bit":
        adamw8bit = require_bitsandbytes("train.optimizer: adamw8bit").optim.AdamW8bit
        return adamw8bit([group for group in groups if group["params"]], lr=lr, betas=BETAS)
    fused = all(parameter.device.type == "cuda" for _, parameter in named) or None
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=fused)


def _begins(name: str, prefix: str) -> bool:
    if prefix == FRESH:
        return not name.startswith("llm.")
    return name == prefix or name.startswith(f"{prefix}.")


def _scale_of(name: str, scales: Mapping[str, float]) -> float:
    """Returns the factor of the longest prefix that fits; 1 if none does."""
    fitting = [prefix for prefix in scales if _begins(name, prefix)]
    return scales[max(fitting, key=lambda prefix: (prefix != FRESH, len(prefix)))] if fitting else 1.0


def learning_rate(step: int, config: OptimizationConfig) -> float:
    """Returns the rate of step `step`, from 0: linear warm-up to `lr`, then constant or a cosine to its floor."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.lr
    progress = (step - config.warmup) / max(1, config.steps - 1 - config.warmup)
    floor = config.lr * config.min_lr_ratio
    return floor + (config.lr - floor) * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of every parameter group, times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(SCALE, 1.0)
