"""Where the bytes of a planned image lie when they need no network: in a file, inside an archive, in a video."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from x2i.reasons import DroppedError, Reason
from x2i.sample import canonical_json
from x2i.store.commits import file_digest

WHOLE_FILE = "file"
BYTE_RANGE = "range"
"""A plain range of bytes of a file, such as a tar's member."""


@dataclass(frozen=True)
class Location:
    """kind: WHOLE_FILE, BYTE_RANGE, or the name (registered, or module:Class) of the source kind that reads it.

    path: a file:// URL, or an fsspec URL such as s3://bucket/name. offset, size: in bytes. Of a frame of a video,
    offset is its presentation time and start that of the key frame before it, in units of the video stream.
    """

    kind: str
    path: str
    offset: int = 0
    size: int = 0
    start: int = 0

    def to_json(self) -> str:
        """Returns the text that a plan row keeps."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Location:
        return cls(**json.loads(text))


@dataclass(frozen=True)
class LocatedBytes:
    """What lies at a location. http_status: of the answer in which a web archive keeps it, else 0."""

    data: bytes
    http_status: int = 0


def read_plain(location: Location, max_bytes: int) -> LocatedBytes:
    """Returns a whole file or a range of one. Raises OSError, or DroppedError: BODY_TOO_LARGE, BODY_TRUNCATED."""
    if location.kind == BYTE_RANGE:
        _require_size(location.size, max_bytes)
        data = read_bytes(location.path, location.offset, location.size)
        if len(data) < location.size:
            raise DroppedError(Reason.BODY_TRUNCATED, f"{len(data)} of {location.size} bytes are there")
        return LocatedBytes(data)
    with open_url(location.path) as stream:
        _require_size(stream.seek(0, os.SEEK_END), max_bytes)
        stream.seek(0)
        return LocatedBytes(stream.read(max_bytes))


def location_states(locations: Iterable[Location], max_bytes: int) -> list[str]:
    """Returns texts that change when the bytes at any of `locations` do.

    A whole file that the crawl reads counts with its sha256; an archive or video, asked once, with its `file_state`.
    """
    states: list[str] = []
    archives: dict[str, str] = {}
    for location in locations:
        if location.kind == WHOLE_FILE:
            states.append(_content_state(location.path, max_bytes))
        elif location.path not in archives:
            archives[location.path] = file_state(location.path)
            states.append(archives[location.path])
    return states


def file_state(url: str) -> str:
    """Returns a file's size and what its store tells of its version (time of change, ETag); "unreadable" if nothing."""
    try:
        if is_local(url):
            state = local_path(url).stat()
            return f"{state.st_size} bytes, {state.st_mtime_ns}"
        fs, path = _filesystem(url)
        info = fs.info(path)
    except OSError:
        return "unreadable"
    version = next(
        (info[name] for name in ("ETag", "etag", "md5Hash", "LastModified", "created") if info.get(name)), ""
    )
    return f"{info.get('size')} bytes, {version}"


def open_url(url: str) -> BinaryIO:
    """Opens the file at a file:// or fsspec URL for reading, with `seek`. Raises OSError."""
    if is_local(url):
        return open(local_path(url), "rb")
    fs, path = _filesystem(url)
    return cast("BinaryIO", fs.open(path, "rb"))


def read_bytes(url: str, offset: int, size: int) -> bytes:
    """Returns up to `size` bytes from `offset`: fewer only where the file ends. Raises OSError."""
    if is_local(url):
        with open(local_path(url), "rb") as stream:
            stream.seek(offset)
            return stream.read(size)
    fs, path = _filesystem(url)
    return bytes(fs.cat_file(path, start=offset, end=offset + size))


def source_url(source: str) -> str:
    """Returns the URL of a file that a user names as a path or as an fsspec URL."""
    return source if "://" in source else Path(source).resolve().as_uri()


def stable_name(url: str) -> str:
    """Returns a file's name with that of its folder: what stays when the folder is moved."""
    parts = [part for part in unquote(urlsplit(url).path).split("/") if part]
    return "/".join(parts[-2:])


def is_local(url: str) -> bool:
    return url.startswith("file://")


def local_path(url: str) -> Path:
    """Returns the file that a file:// URL names; a file name is bytes, not always UTF-8."""
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))


def _filesystem(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        return cast("tuple[Any, str]", url_to_fs(url))
    except (ValueError, ImportError) as error:  # an unknown protocol, or one whose library is not installed
        raise OSError(f"{url}: {error}") from error


def _require_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise DroppedError(Reason.BODY_TOO_LARGE, f"{size} bytes; at most {max_bytes}")


def _content_state(url: str, max_bytes: int) -> str:
    """Returns a whole file's sha256; its `file_state` if it lies on a store; its size if it is not read at all."""
    if not is_local(url):
        return file_state(url)
    path = local_path(url)
    try:
        size = path.stat().st_size
        return f"{size} bytes" if size > max_bytes else file_digest(path)
    except OSError:
        return "unreadable"
