"""Paths, listings and small files of a dataset, whether it lies in a folder or, as an fsspec URL, on an object store.

A path on a store is a `upath.UPath`. It has pathlib's methods, so code that goes through methods need not know; what
pathlib cannot do on a store (mmap, pread, rename, append) goes through this file. Credentials and endpoints are the
business of each fsspec library and its environment variables, such as AWS_ENDPOINT_URL for s3fs.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from x2i.errors import UserError
from x2i.store import paths

_VERSION_NAMES = ("ETag", "etag", "generation", "mtime", "created", "LastModified", "last_modified")


def dataset_path(text: str | Path) -> Path:
    """Returns the path that `text` names: a local one, or one on a store for a URL such as s3://bucket/data.

    Raises UserError for a protocol that fsspec does not know, or whose library is not installed.
    """
    if not isinstance(text, str):
        return text
    if "://" not in text:
        return Path(text)
    from upath import UPath

    try:
        # Other processes write to the same folder: a listing must never come from this one's memory.
        path = UPath(text.rstrip("/"), use_listings_cache=False)
        _ = path.fs
    except (ValueError, ImportError) as error:
        raise UserError(f"{text}: {error} (object stores need an extra: pip install 'x2i[cloud]')") from error
    return Path(path.path) if path.protocol in ("", "file", "local") else cast("Path", path)


def is_remote(path: Any) -> bool:
    """Whether `path` lies on a store."""
    return not isinstance(path, str | os.PathLike) and hasattr(path, "fs")


def list_files(folder: Path, suffix: str) -> list[Path]:
    """Returns the files in `folder` (not below it) whose names end so, by name; none if there is no folder."""
    if not is_remote(folder):
        return sorted(folder.glob(f"*{suffix}"))
    try:
        names = _fs(folder).ls(_key(folder), detail=False)
    except FileNotFoundError:
        return []
    return [folder / name for name in sorted(name.rpartition("/")[2] for name in names) if name.endswith(suffix)]


def file_sizes(folder: Path) -> dict[str, int]:
    """Returns the size in bytes of every file in `folder` (not below it), by name; {} if there is no folder."""
    return {name: size for name, (size, _) in file_versions(folder).items()}


def file_versions(folder: Path) -> dict[str, tuple[int, str]]:
    """Returns the size in bytes and the version of every file in `folder` (not below it); {} if there is no folder.

    The version is what the store tells versions apart by: a checksum or a time; "" where it tells nothing.
    """
    if is_remote(folder):
        try:
            infos = _fs(folder).ls(_key(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {i["name"].rpartition("/")[2]: (i["size"], _version(i)) for i in infos if i["type"] == "file"}
    try:
        with os.scandir(folder) as entries:
            states = {entry.name: entry.stat() for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}
    return {name: (state.st_size, str(state.st_mtime_ns)) for name, state in states.items()}


def file_version(path: Path) -> tuple[int, str] | None:
    """Returns the size in bytes and the version of one file, without listing its folder; None if it is not there."""
    try:
        if is_remote(path):
            info = _fs(path).info(_key(path))
            return (info["size"], _version(info)) if info["type"] == "file" else None
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_size, str(state.st_mtime_ns)


def read_many(files: list[Path]) -> list[bytes]:
    """Returns the bytes of many small files; those on a store are asked for side by side."""
    if not files or not is_remote(files[0]):
        return [path.read_bytes() for path in files]
    found = _fs(files[0]).cat([_key(path) for path in files])
    return [found[_key(path)] for path in files] if isinstance(found, dict) else [found]


def append_log(root: Path, log: str, document: Mapping[str, Any]) -> None:
    """Adds one line of JSON to the log called `log` of the dataset at `root`.

    The line is a single write, so that lines of several processes do not mix. A store cannot append: there, each line
    becomes a file of its own in a folder, named by the clock.
    """
    path = paths.log_file(root, log)
    line = json.dumps(document, ensure_ascii=False).encode() + b"\n"
    if is_remote(path):
        path = path.with_suffix("") / f"{time.time_ns()}-{secrets.token_hex(4)}.jsonl"
        path.write_bytes(line)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as stream:
        stream.write(line)


def _version(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _VERSION_NAMES if info.get(name)), "")


def _fs(path: Path) -> Any:
    return path.fs  # type: ignore[attr-defined]


def _key(path: Path) -> str:
    return str(path.path)  # type: ignore[attr-defined]
