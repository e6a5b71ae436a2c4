"""Where a model's files lie and what fixes them: a folder or file of the user's, or a repository of the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from x2i.errors import UserError

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".onnx")


def digest_of(path: Path) -> str:
    """Returns the sha256, in hex, of a weight file, or of all weight files and JSON of a folder.

    A pipeline of diffusers has them in folders of its folder. Raises UserError if there is nothing to read.
    """
    pattern = "**/*" if (path / "model_index.json").is_file() else "*"
    files = (
        [path] if path.is_file() else sorted(p for p in path.glob(pattern) if p.suffix in (*WEIGHT_SUFFIXES, ".json"))
    )
    if not any(file.suffix in WEIGHT_SUFFIXES for file in files):
        raise UserError(f"{path}: no weights there (expected one of {', '.join(WEIGHT_SUFFIXES)})")
    return digest_of_files(files)


def digest_of_files(files: Sequence[Path]) -> str:
    """Returns the sha256, in hex, over the names and digests of those of `files` that are there."""
    lines = [f"{file.name} {sha256_of_file(file)}\n" for file in files if file.is_file()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_state(path: Path, key: str = "") -> dict[str, Any]:
    """Returns the tensors of a .safetensors or torch file by name; the latter is read with weights_only=True.

    key: where a torch file holds them, if not at its top. Raises UserError if the file is missing or holds no tensors.
    """
    import torch

    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path}: cannot be read as tensors: {type(error).__name__}: {error}") from error
    state = read.get(key, read) if isinstance(read, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{path}: cannot be read as tensors: it holds other things too")
    return state


def sha256_of_file(path: Path) -> str:
    """Returns the sha256 of one file, in hex; a file that has not changed is read once. Raises UserError if none is."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    state = path.stat()
    return _file_digest(str(path), state.st_size, state.st_mtime_ns)


def hub_commit(model: str, revision: str) -> str:
    """Returns the commit of `model` on the Hub that `revision` ("" for its main branch) means.

    Offline, the commit is that of the copy in the Hub's cache. Raises UserError if neither can be had, or if the name
    is that of a folder, which is not there.
    """
    if model.startswith(("/", "~", ".")):
        raise UserError(f"{model}: no such folder")
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    # The base class of the HTTP library's errors, whichever library huggingface_hub uses.
    unreachable = (k for k in HfHubHTTPError.__mro__ if k.__name__ == "HTTPError")
    not_had: tuple[type[Exception], ...] = (*unreachable, HFValidationError, LocalEntryNotFoundError, OSError)
    try:
        if not HF_HUB_OFFLINE:
            return str(HfApi().model_info(model, revision=revision or None, timeout=20).sha)
        return cached_snapshot(model, revision).name
    except not_had as error:
        raise UserError(
            f"model {model!r}: no such folder, and not to be had from the Hub: {str(error).rstrip('.')}. Name a "
            "folder, or use the copy in the Hub's cache with HF_HUB_OFFLINE=1"
        ) from error


def cached_snapshot(model: str, revision: str) -> Path:
    """Returns the folder of the copy of a Hub model in the local cache. Raises LocalEntryNotFoundError if none is."""
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, revision=revision or None, local_files_only=True))


@lru_cache(maxsize=256)
def _file_digest(path: str, size: int, changed: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
