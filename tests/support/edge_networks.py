"""Weight files of edge networks: HED and PiDiNet of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipelines.gallery.hed import CONVOLUTIONS


def save_controlnet_hed(path: Path, seed: int = 0) -> dict[str, Any]:
    """Saves random weights in the layout of ControlNet's HED; returns them."""
    import torch
    from safetensors.torch import save_file

    random, state, channels = torch.Generator().manual_seed(seed), {"norm": torch.full((1, 3, 1, 1), 110.0)}, 3
    for block, (count, width) in enumerate(zip(CONVOLUTIONS, (64, 128, 256, 512, 512), strict=True), 1):
        for number in range(count):
            shape, name = (width, channels, 3, 3), f"block{block}.convs.{number}"
            state[f"{name}.weight"] = torch.randn(shape, generator=random) * (2 / (9 * channels)) ** 0.5
            state[f"{name}.bias"] = torch.zeros(width)
            channels = width
        state[f"block{block}.projection.weight"] = torch.randn(1, width, 1, 1, generator=random) * 1e-3
        state[f"block{block}.projection.bias"] = torch.zeros(1)
    save_file(state, path)
    return state


def save_pidinet(path: Path, seed: int = 0, width: int = 8, dilated: int = 4) -> dict[str, Any]:
    """Saves a narrow PiDiNet of random weights as its authors do; returns them by their names in the file."""
    import torch

    random, state = torch.Generator().manual_seed(seed), {}

    def put(name: str, *shape: int) -> None:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        state[f"module.{name}"] = torch.randn(shape, generator=random) * fan**-0.5

    put("init_block.weight", width, 3, 3, 3)
    widths, before = (width, 2 * width, 4 * width, 4 * width), width
    for stage, wide in enumerate(widths, 1):
        for block in range(1, 4 if stage == 1 else 5):
            name = f"block{stage}_{block}"
            if stage > 1 and block == 1:
                put(f"{name}.shortcut.weight", wide, before, 1, 1)
                put(f"{name}.shortcut.bias", wide)
            put(f"{name}.conv1.weight", before, 1, 3, 3)
            put(f"{name}.conv2.weight", wide, before, 1, 1)
            before = wide
        number = stage - 1
        put(f"dilations.{number}.conv1.weight", dilated, wide, 1, 1)
        put(f"dilations.{number}.conv1.bias", dilated)
        for branch in range(1, 5):
            put(f"dilations.{number}.conv2_{branch}.weight", dilated, dilated, 3, 3)
        put(f"attentions.{number}.conv1.weight", 4, dilated, 1, 1)
        put(f"attentions.{number}.conv1.bias", 4)
        put(f"attentions.{number}.conv2.weight", 1, 4, 3, 3)
        put(f"conv_reduces.{number}.conv.weight", 1, dilated, 1, 1)
        put(f"conv_reduces.{number}.conv.bias", 1)
    put("classifier.weight", 1, 4, 1, 1)
    put("classifier.bias", 1)
    torch.save({"epoch": 19, "state_dict": state}, path)
    return state
