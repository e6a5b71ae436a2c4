"""Reading many byte ranges of many files quickly: local files stay open, files on a store are asked in parallel."""

from __future__ import annotations

import fcntl
import os
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.store.files.remote import is_remote
from x2i.store.files.retry import RequestError, with_retries

Extent = tuple[int, int]
"""In a file: the first byte wanted, and how many."""
Range = tuple[Path, int, int]
"""A file, and an extent of it."""

LARGEST_REQUEST = 2**23  # bytes; more are better had side by side
LARGEST_GAP = 2**16  # bytes; getting that many for nothing is quicker than asking a store once more
MOST_OPEN = 256  # files of a reader; a quarter of the usual limit of a process, which has a few


class RangeReader:
    """Reads ranges of files wherever they lie. Not for several threads; pickles without what it has open.

    copies: for the URL of a file on a store, where its local copy will lie once somebody has fetched it. While a copy
    is open it is locked (shared), so that `FileCache` does not delete it. most_open: files kept open.
    """

    def __init__(self, copies: Mapping[str, Path] | None = None, most_open: int = MOST_OPEN) -> None:
        self._copies, self._most_open = copies or {}, most_open
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._ahead: dict[Range, bytes] = {}

    def read(self, path: Path, offset: int, size: int) -> bytes:
        """Returns `size` bytes of `path` from `offset`. Raises UserError if they cannot be had."""
        return self.read_all(path, [(offset, size)])[0]

    def read_all(self, path: Path, extents: Sequence[Extent]) -> list[bytes]:
        """Returns what stands at `extents` of `path`, in their order. Raises UserError if it cannot be had."""
        if not extents:
            return []
        descriptor = self._descriptor(path)
        if descriptor is None:
            return self._fetched([(path, offset, size) for offset, size in extents])
        # Reading what lies side by side at once, and cutting it, takes longer than asking the kernel twice.
        try:
            found = [os.pread(descriptor, size, offset) for offset, size in extents]
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        for data, (offset, size) in zip(found, extents):
            if len(data) != size:
                raise _truncated((path, offset, size), data)
        return found

    def fetch_ahead(self, ranges: Sequence[Range]) -> None:
        """Asks for the ranges that only a store has, all at once; reading then finds them, and `forget` drops them.

        Raises UserError as `fetch_ranges` does.
        """
        stored = {path for path in dict.fromkeys(path for path, _, _ in ranges) if self._descriptor(path) is None}
        missing = [part for part in dict.fromkeys(ranges) if part[0] in stored and part not in self._ahead]
        self._ahead.update(fetch_ranges(missing))

    def forget(self) -> None:
        """Drops what was fetched ahead and not read."""
        self._ahead.clear()

    def close(self) -> None:
        """Closes every file; a later `read` opens them again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __enter__(self) -> RangeReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        for descriptor in self._open.values():  # `os` is gone where this is the last thing that a program does
            close(descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_ahead": {}}

    def _fetched(self, ranges: Sequence[Range]) -> list[bytes]:
        found = {part: self._ahead.pop(part) for part in dict.fromkeys(ranges) if part in self._ahead}
        found |= fetch_ranges([part for part in dict.fromkeys(ranges) if part not in found])
        return [found[part] for part in ranges]

    def _descriptor(self, path: Path) -> int | None:
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        descriptor = self._open_copy(path) if is_remote(path) else _open_local(path)
        if descriptor is not None:
            self._open[path] = descriptor
            if len(self._open) > self._most_open:
                os.close(self._open.popitem(last=False)[1])
        return descriptor

    def _open_copy(self, path: Path) -> int | None:
        copy = self._copies.get(str(path))
        return None if copy is None else open_in_use(copy)


def open_in_use(copy: Path) -> int | None:
    """Opens a cached file and marks it as used, until the descriptor is closed; None if it is not there."""
    try:
        descriptor = os.open(copy, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # it is being deleted
        os.close(descriptor)
        return None
    state = os.fstat(descriptor)
    if not state.st_nlink:
        os.close(descriptor)
        return None
    if state.st_mtime < time.time():  # a later time is a promise (`FileCache.local_copy`)
        os.utime(descriptor)
    return descriptor


def fetch_ranges(ranges: Sequence[Range]) -> dict[Range, bytes]:
    """Returns ranges of files on stores; those that lie close together are one request, all of a store side by side.

    What fails is asked for again a few times, unless a file is not there. Raises UserError naming the file and the last
    failure, or if a file has fewer bytes, or its server sends more than it was asked for.
    """
    requests = join_ranges(ranges)
    answers: dict[Range, bytes] = {}

    def ask_for_missing() -> None:
        failed: list[RequestError] = []
        for request, answer in _ask([request for request in requests if request not in answers]):
            if isinstance(answer, BaseException):
                failed.append(RequestError(request[0], answer))
            else:
                answers[request] = bytes(answer)
        if failed:
            raise max(failed, key=lambda failure: failure.is_final)

    with_retries(ask_for_missing, "could not be read")
    return {part: _cut(part, request, answers[request]) for request in requests for part in requests[request]}


def join_ranges(ranges: Sequence[Range]) -> dict[Range, list[Range]]:
    """Returns the requests to make for `ranges`, and which of these lie in each.

    A request is for one file. It covers gaps of up to LARGEST_GAP bytes, and has at most LARGEST_REQUEST bytes unless
    one range alone has more.
    """
    from fsspec.utils import merge_offset_ranges

    by_path: dict[Path, list[Range]] = {}
    for part in ranges:
        by_path.setdefault(part[0], []).append(part)
    requests: dict[Range, list[Range]] = {}
    for path, parts in by_path.items():
        parts.sort(key=lambda part: part[1:])
        starts, ends = [offset for _, offset, _ in parts], [offset + size for _, offset, size in parts]
        _, starts, ends = merge_offset_ranges([""] * len(parts), starts, ends, LARGEST_GAP, LARGEST_REQUEST)
        for part in parts:  # each lies in the last request that does not begin behind it
            at = bisect_right(starts, part[1]) - 1
            requests.setdefault((path, starts[at], ends[at] - starts[at]), []).append(part)
    return requests


def _cut(part: Range, request: Range, answer: bytes) -> bytes:
    (path, offset, size), (_, first, asked) = part, request
    if len(answer) > asked:
        raise UserError(f"{path}: asked for {asked} bytes, was sent {len(answer)}: its server ignores byte ranges")
    data = answer[offset - first : offset - first + size]
    if len(data) != size:
        raise _truncated(part, data)
    return data


def _ask(requests: Sequence[Range]) -> Iterator[tuple[Range, Any]]:
    """Yields what the stores answer: bytes, or an exception. Every store is asked once, for all its files."""
    by_store: dict[Any, list[Range]] = {}
    for request in requests:
        path: Any = request[0]
        by_store.setdefault(path.fs, []).append(request)
    for store, asked in by_store.items():
        keys = [str(path.path) for path, _, _ in asked]  # type: ignore[attr-defined]
        starts = [offset for _, offset, _ in asked]
        ends = [offset + size for _, offset, size in asked]
        try:
            answers = list(store.cat_ranges(keys, starts, ends, on_error="return"))
        except Exception as error:  # noqa: BLE001 - every fsspec library raises its own kinds, and they are told
            answers = [error] * len(asked)
        yield from zip(asked, answers)


def _truncated(part: Range, found: bytes) -> UserError:
    path, offset, size = part
    return UserError(f"{path}: wanted {size} bytes at {offset}, found {len(found)}: the file is truncated")


def _open_local(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise UserError(f"{path}: it was there when the run began, and is not any more") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be opened: {error.strerror}") from error
