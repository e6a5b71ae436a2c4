"""Writes safetensors as a stream: the header follows from the shapes, then tensors go past one at a time.

The format (huggingface/safetensors): 8 bytes, the length of the header, little-endian; the header, JSON, padded with
spaces to a multiple of 8 bytes; the tensors' bytes end to end. Larger dtypes come first, so that all are aligned.
Several files get the names and the index that the Hugging Face libraries give.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from omnigen.weights.tensor_reader import DTYPES, INDEX, LazyTensor, Weights
from x2i.store.files.atomic import atomic_file, write_json

ALIGNMENT = 8
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Target:
    """A tensor to be written under `names`, cut along its rows into as many equal parts."""

    names: tuple[str, ...]
    source: LazyTensor

    @property
    def part(self) -> tuple[int, ...]:
        """The shape of each part."""
        if len(self.names) == 1:
            return self.source.shape
        return (self.source.shape[0] // len(self.names), *self.source.shape[1:])


@dataclass(frozen=True)
class WeightFiles:
    """Which tensors go into which file of a folder, in order."""

    file: str
    shards: tuple[tuple[Target, ...], ...]

    @property
    def num_bytes(self) -> int:
        return sum(target.source.num_bytes for shard in self.shards for target in shard)


def assign_files(
    weights: Weights, names: Callable[[str], tuple[str, ...]], file: str, max_shard_size: int
) -> WeightFiles:
    """Returns where each tensor goes: in files of at most `max_shard_size` bytes, a larger tensor in one of its own.

    names: under which names a tensor of `weights` is written; several cut it along its rows. file: the name of the
    file, if it is one, such as model.safetensors.
    """
    shards: list[list[Target]] = [[]]
    size = 0
    for name, source in sorted(weights.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        if shards[-1] and size + source.num_bytes > max_shard_size:
            shards.append([])
            size = 0
        shards[-1].append(Target(names(name), source))
        size += source.num_bytes
    return WeightFiles(file, tuple(tuple(shard) for shard in shards))


def write(folder: Path, files: WeightFiles, on_bytes: Callable[[int], object] | None = None) -> None:
    """Writes the files, each whole or not at all; on_bytes: called with the size of each tensor written."""
    stem = files.file.removesuffix(".safetensors")
    count = len(files.shards)
    placed: dict[str, str] = {}
    for number, shard in enumerate(files.shards, 1):
        file = files.file if count == 1 else f"{stem}-{number:05d}-of-{count:05d}.safetensors"
        placed.update(dict.fromkeys((name for target in shard for name in target.names), file))
        with atomic_file(folder / file) as stream:
            parts = ((name, target.source.dtype, target.part) for target in shard for name in target.names)
            stream.write(safetensors_header(parts, {"format": "pt"}))
            for target in shard:
                tensor = target.source.read()
                found, expected = (tuple(tensor.shape), tensor.dtype), (target.source.shape, target.source.dtype)
                assert found == expected, f"{target.names}: read {found}, announced {expected}"
                stream.write(tensor_bytes(tensor))
                if on_bytes is not None:
                    on_bytes(target.source.num_bytes)
    if count > 1:
        index = {"metadata": {"total_size": files.num_bytes}, "weight_map": placed}
        write_json(folder / f"{files.file}{INDEX}", index)


def tensor_bytes(tensor: Tensor) -> memoryview:
    """Returns the bytes of a CPU tensor, row by row, without a copy if they lie so already."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def safetensors_header(tensors: Iterable[tuple[str, torch.dtype, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """Returns the header of a safetensors file that holds `tensors` (name, dtype, shape), end to end in this order."""
    document: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, dtype, shape in tensors:
        start, end = end, end + math.prod(shape) * dtype.itemsize
        document[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text
