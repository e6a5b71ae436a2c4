"""Weights that lie on disk, read one tensor at a time: safetensors in one file or several, or a legacy model.pt.

A network's weights are a mapping from name to `LazyTensor`: its shape and dtype, known from the file's header, and a
function that reads it. What changes weights (renaming, merging, casting) maps such a mapping to another, so that no
more than one tensor is in memory at a time.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from omnigen.weights.json_files import read_document
from x2i.errors import UserError

INDEX = ".index.json"
DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
}  # fmt: skip


# Dtypes of a network's weights. Those of fewer bits are quantized: they mean something only with scales kept elsewhere.
READ = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is not in memory yet. `read` gives it, of this shape and dtype, on the CPU."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    @property
    def num_bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


Weights = Mapping[str, LazyTensor]


def in_memory(tensor: Tensor) -> LazyTensor:
    """Returns a tensor that is in memory already."""
    return LazyTensor(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def find_weights(folder: Path, file: str) -> Path | None:
    """Returns the weights in `folder`: `file`, or the index of its shards, or model.pt; None if there are none."""
    for candidate in (folder / file, folder / f"{file}{INDEX}", folder / "model.pt"):
        if candidate.is_file():
            return candidate
    return None


def open_weights(path: Path) -> dict[str, LazyTensor]:
    """Reads the headers of what `find_weights` found. Raises UserError for damaged files, named, and for pickles."""
    if path.name.endswith(INDEX):
        return _open_shards(path)
    if path.suffix == ".pt":
        return _open_legacy(path)
    return open_safetensors(path)


def open_safetensors(path: Path) -> dict[str, LazyTensor]:
    """Reads the header of one safetensors file."""
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kinds = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file") from error
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error}); copy it again") from error
    unknown = sorted({kind for _, kind in kinds.values()} - DTYPES.keys())
    if unknown:
        raise UserError(f"{path}: holds tensors of dtype {unknown[0]}, expected one of {', '.join(DTYPES)}")

    def reader(name: str) -> Callable[[], Tensor]:
        return lambda: _read(path, name)

    return {name: LazyTensor(shape, DTYPES[kind], reader(name)) for name, (shape, kind) in kinds.items()}


def _read(path: Path, name: str) -> Tensor:
    # Opened for each tensor: the file's mapping, and so the memory of the pages read, goes with the tensor.
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(name)
    return tensor


def _open_shards(index: Path) -> dict[str, LazyTensor]:
    files = read_document(index).get("weight_map")
    if not isinstance(files, dict):
        raise UserError(
            f"{index}: weight_map: found {type(files).__name__}, expected a JSON object with the file of each tensor"
        )
    strange = [name for name in files.values() if not _is_shard(name)]
    if strange:
        raise UserError(f"{index}: weight_map: found {strange[0]!r}, expected the name of a file beside it")
    names = sorted(set(files.values()))
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise UserError(f"{index}: {len(missing)} of {len(names)} files are not there, the first {missing[0]}")
    shards = {name: open_safetensors(index.parent / name) for name in names}
    for tensor, name in files.items():
        if tensor not in shards[name]:
            raise UserError(f"{index}: weight_map says that {tensor} is in {name}, which does not hold it")
    for name, held in shards.items():
        others = [tensor for tensor in held if files.get(tensor) != name]
        if others:
            there = files.get(others[0], "no file")
            raise UserError(
                f"{index}: weight_map: {others[0]}: found {there}, expected {name}, which holds it; the files are "
                f"not of one network, copy all of them again"
            )
    return {tensor: shards[name][tensor] for tensor, name in files.items()}


def _is_shard(name: object) -> bool:
    return isinstance(name, str) and Path(name).name == name and name.endswith(".safetensors")


def _open_legacy(path: Path) -> dict[str, LazyTensor]:
    try:
        try:
            document: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # not a zip archive, which alone can be mapped
            document = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: a pickle that holds more than tensors, or is damaged; it is not read, for reading it can run any "
            f"code. Convert it to safetensors where it was made"
        ) from error
    except Exception as error:  # whatever the bytes lead the unpickler to: KeyError, IndexError, AssertionError...
        raise UserError(f"{path}: not a whole file of torch.save: {error!r}; copy it again") from error
    if not isinstance(document, Mapping) or not all(isinstance(value, Tensor) for value in document.values()):
        raise UserError(f"{path}: expected a state dict, a mapping from names to tensors")
    for name, tensor in document.items():
        if not isinstance(name, str):
            raise UserError(f"{path}: found a tensor named {name!r}, expected names that are text")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            kind = tensor.device.type if tensor.is_meta else tensor.layout
            raise UserError(f"{path}: {name}: found a tensor of kind {kind}, expected a plain one with its values")
    return {name: in_memory(tensor) for name, tensor in document.items()}
