"""Datasets on object stores: an fsspec URL is handled like a folder, and its files are read through a local cache.

A path on a store is a `upath.UPath`. It has pathlib's methods, so code that goes through methods need not know; what
pathlib cannot do on a store (mmap, pread, rename, append) goes through this file. Credentials and endpoints are the
business of each fsspec library and its environment variables, such as AWS_ENDPOINT_URL for s3fs.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from x2i.errors import UserError

CACHE_FOLDER = "X2I_CACHE"
CACHE_GIGABYTES = "X2I_CACHE_GB"
DEFAULT_CACHE_GIGABYTES = 20.0
_VERSION_NAMES = ("ETag", "etag", "generation", "mtime", "created", "LastModified", "last_modified")
IN_USE_SECONDS = 600.0
"""A cached file that was asked for this recently is not evicted: someone may be about to open it."""


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


def local_copy(path: Path) -> Path:
    """Returns a local file with the bytes of `path`: itself, or its copy in the cache, fetched if it is not there.

    Raises FileNotFoundError.
    """
    if not is_remote(path):
        return path
    cached = _cached_name(path)
    if cached.exists():
        os.utime(cached)
        return cached
    temporary = _temporary(cached)
    try:
        _fs(path).get_file(_key(path), str(temporary))
        os.replace(temporary, cached)
    finally:
        temporary.unlink(missing_ok=True)
    _evict(cached.parent)
    return cached


def publish(written: Path, path: Path) -> None:
    """Puts the local file `written` at `path` on its store, whole or not at all, and moves it into the cache."""
    _fs(path).put_file(str(written), _key(path))
    cached = _cached_name(path)
    shutil.move(written, cached)
    _evict(cached.parent)


def read_remote_range(path: Path, offset: int, size: int) -> bytes:
    """Returns up to `size` bytes of a file on a store from `offset`; from the cache if it is there."""
    cached = _cached_name(path)
    if cached.exists():
        with open(cached, "rb") as stream:
            stream.seek(offset)
            return stream.read(size)
    return bytes(_fs(path).cat_file(_key(path), start=offset, end=offset + size))


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
    if is_remote(folder):
        try:
            infos = _fs(folder).ls(_key(folder), detail=True)
        except FileNotFoundError:
            return {}
        return {info["name"].rpartition("/")[2]: info["size"] for info in infos if info["type"] == "file"}
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    except FileNotFoundError:
        return {}


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


def append_line(path: Path, line: str) -> None:
    """Adds one line to a log file, in a single write so that lines of several processes do not mix.

    A store cannot append: there, each line becomes a file of its own in a folder beside `path`, named by the clock.
    """
    data = line.encode() + b"\n"
    if is_remote(path):
        target = path.with_suffix("") / f"{time.time_ns()}-{secrets.token_hex(4)}.jsonl"
        _fs(path).pipe_file(_key(target), data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as stream:
        stream.write(data)


def lock_file(root: Path, name: str) -> Path:
    """Returns the local file whose lock guards `name` in the dataset at `root`."""
    if not is_remote(root):
        return root / "locks" / f"{name}.lock"
    return _cache_folder() / "locks" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}-{name}.lock"


def scratch_file(path: Path) -> Path:
    """Returns a local name, used by nobody else, for writing what `publish` will put at `path`."""
    return _temporary(_cache_folder() / path.name)


def cache_folder() -> Path:
    """Returns the folder of this user's local copies: X2I_CACHE, or one in the folder for temporary files."""
    return _cache_folder()


@functools.cache
def _cache_folder() -> Path:
    folder = Path(os.environ.get(CACHE_FOLDER) or Path(tempfile.gettempdir()) / f"x2i-cache-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _cached_name(path: Path) -> Path:
    """Returns where the present version of `path` belongs in the cache: another version has another name."""
    info = _fs(path).info(_key(path))
    name = hashlib.sha256(f"{path}\n{info.get('size')}\n{_version(info)}".encode()).hexdigest()[:32]
    return _cache_folder() / f"{name}{path.suffix}"


def _version(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _VERSION_NAMES if info.get(name)), "")


def _evict(folder: Path) -> None:
    """Deletes the files that were longest not asked for until the cache keeps within its bound."""
    bound = float(os.environ.get(CACHE_GIGABYTES) or DEFAULT_CACHE_GIGABYTES) * 1e9
    entries = []
    for entry in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):  # another writer may have moved it since it was listed
            if entry.is_file():
                state = entry.stat()
                entries.append((state.st_mtime, state.st_size, entry.path))
    entries.sort()
    total = sum(size for _, size, _ in entries)
    for touched, size, name in entries:
        if total <= bound or time.time() - touched < IN_USE_SECONDS:
            return
        Path(name).unlink(missing_ok=True)
        total -= size


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def _fs(path: Path) -> Any:
    return path.fs  # type: ignore[attr-defined]


def _key(path: Path) -> str:
    return str(path.path)  # type: ignore[attr-defined]
