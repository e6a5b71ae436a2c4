"""Where a model's files lie and what fixes them: a folder or file of the user's, or a repository of the Hub."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from x2i.errors import UserError

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".onnx")


def digest_of(path: Path) -> str:
    """Returns the sha256, in hex, of a weight file, or of all weight files and JSON of a folder.

    Raises UserError if there is nothing to read.
    """
    files = [path] if path.is_file() else sorted(p for p in path.glob("*") if p.suffix in (*WEIGHT_SUFFIXES, ".json"))
    if not any(file.suffix in WEIGHT_SUFFIXES for file in files):
        raise UserError(f"{path}: no weights there (expected one of {', '.join(WEIGHT_SUFFIXES)})")
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name} {sha256_of_file(file)}\n".encode())
    return total.hexdigest()


def sha256_of_file(path: Path) -> str:
    """Returns the sha256 of one file, in hex; a file that has not changed is read once. Raises UserError if none is."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    state = path.stat()
    return _file_digest(str(path), state.st_size, state.st_mtime_ns)


def hub_commit(model: str, revision: str) -> str:
    """Returns the commit of `model` on the Hub that `revision` ("" for its main branch) means.

    Offline, the commit is that of the copy in the Hub's cache. Raises UserError if neither can be had.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    # The base class of the HTTP library's errors, whichever library huggingface_hub uses.
    unreachable = tuple(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")
    try:
        if not HF_HUB_OFFLINE:
            return str(HfApi().model_info(model, revision=revision or None, timeout=20).sha)
        return cached_snapshot(model, revision).name
    except (*unreachable, HFValidationError, LocalEntryNotFoundError, OSError) as error:
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
