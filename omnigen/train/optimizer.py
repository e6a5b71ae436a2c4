"""AdamW on fp32 weights, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from omnigen.train.config import OptimizationConfig

BETAS = (0.9, 0.999)


def build_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """Returns AdamW over the parameters of `model`, which must be fp32; only matrices decay, not norms and biases.

    On CUDA it is torch's fused kernel: a third of the time, and no temporary as large as the parameters.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.dtype == torch.float32 for parameter in parameters), "master weights are fp32"
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type == "cuda" for parameter in parameters) or None
    return torch.optim.AdamW(groups, lr=lr, betas=BETAS, fused=fused)


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
    """Sets the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate
