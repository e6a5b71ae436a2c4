"""Reading many byte ranges of many files quickly: local files stay open, files on a store are asked in parallel."""

from __future__ import annotations

import fcntl
import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.store.remote import is_remote

Place = tuple[int, int]
"""In a file: the first byte wanted, and how many."""
Range = tuple[Path, int, int]
"""A file and a place in it."""

LARGEST_GAP = 2**16  # bytes; getting that many for nothing is quicker than asking a store once more
MOST_OPEN = 256  # files; half of the usual limit of a process, which its libraries share
ATTEMPTS = 4
FIRST_PAUSE = 0.2  # seconds before the second attempt; each pause is twice as long as the one before


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

    def read_all(self, path: Path, places: Sequence[Place]) -> list[bytes]:
        """Returns the bytes of `path` at `places`, in order. Raises UserError if they cannot be had."""
        descriptor = self._descriptor(path)
        if descriptor is None:
            return self._fetched(path, places)
        # Reading what lies side by side at once, and cutting it, takes longer than asking the kernel twice.
        found = [os.pread(descriptor, size, offset) for offset, size in places]
        for data, (offset, size) in zip(found, places):
            if len(data) != size:
                raise _truncated(path, offset, size, data)
        return found

    def fetch_ahead(self, wanted: Sequence[tuple[Path, Sequence[Place]]]) -> None:
        """Asks for what only a store has, all at once; `read_all` with the same places then finds it.

        What is not read is kept until `forget`.
        """
        ranges = [
            (path, joint.offset, joint.size)
            for path, places in wanted
            if self._descriptor(path) is None
            for joint in join(places)
        ]
        missing = [part for part in dict.fromkeys(ranges) if part not in self._ahead]
        if missing:
            self._ahead.update(zip(missing, fetch_ranges(missing)))

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

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict(), "_ahead": {}}

    def _fetched(self, path: Path, places: Sequence[Place]) -> list[bytes]:
        found: list[bytes] = []
        for joint in join(places):
            data = self._ahead.pop((path, joint.offset, joint.size), None)
            if data is None:
                [data] = fetch_ranges([(path, joint.offset, joint.size)])
            if len(data) > joint.size:
                raise UserError(
                    f"{path}: asked for {joint.size} bytes, was sent {len(data)}: its server ignores byte ranges"
                )
            for offset, size in joint.places:
                part = data[offset - joint.offset : offset - joint.offset + size]
                if len(part) != size:
                    raise _truncated(path, offset, size, part)
                found.append(part)
        return found

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


@dataclass(frozen=True)
class Joint:
    """One request for several places that follow upon each other."""

    offset: int
    size: int
    places: tuple[Place, ...]


def join(places: Sequence[Place]) -> list[Joint]:
    """Returns the requests to make for `places`, in order: what lies close behind the place before it is had with it.

    Close: at most LARGEST_GAP bytes after its end.
    """
    groups: list[list[Place]] = []
    end = 0
    for offset, size in places:
        if groups and end <= offset <= end + LARGEST_GAP:
            groups[-1].append((offset, size))
        else:
            groups.append([(offset, size)])
        end = offset + size
    return [Joint(group[0][0], sum(group[-1]) - group[0][0], tuple(group)) for group in groups]


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
    if not os.fstat(descriptor).st_nlink:
        os.close(descriptor)
        return None
    os.utime(descriptor)
    return descriptor


def fetch_ranges(ranges: Sequence[Range]) -> list[bytes]:
    """Returns ranges of files of one store, asked for side by side; what fails is asked for again a few times.

    Raises UserError naming the file and the last failure. A file that is not there is not asked for twice.
    """
    found: dict[int, bytes] = {}
    for attempt in range(ATTEMPTS):
        missing = [number for number in range(len(ranges)) if number not in found]
        answers = _ask([ranges[number] for number in missing])
        failed = [(number, answer) for number, answer in zip(missing, answers) if isinstance(answer, BaseException)]
        found.update(
            (number, bytes(data)) for number, data in zip(missing, answers) if not isinstance(data, BaseException)
        )
        if not failed:
            return [found[number] for number in range(len(ranges))]
        number, error = failed[0]
        if attempt == ATTEMPTS - 1 or isinstance(error, FileNotFoundError | PermissionError):
            break
        time.sleep(FIRST_PAUSE * 2**attempt)
    raise UserError(f"{ranges[number][0]}: could not be read, {attempt + 1} attempts: {error!r}") from error


def _ask(ranges: Sequence[Range]) -> list[Any]:
    store: Any = ranges[0][0]
    keys = [str(path.path) for path, _, _ in ranges]  # type: ignore[attr-defined]
    starts = [offset for _, offset, _ in ranges]
    ends = [offset + size for _, offset, size in ranges]
    try:
        return list(store.fs.cat_ranges(keys, starts, ends, on_error="return"))
    except Exception as error:  # noqa: BLE001 - every fsspec library raises its own kinds, and they are told
        return [error] * len(ranges)


def _truncated(path: Path, offset: int, size: int, found: bytes) -> UserError:
    return UserError(f"{path}: wanted {size} bytes at {offset}, found {len(found)}: the file is truncated")


def _open_local(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError as error:
        raise UserError(f"{path}: it was there when the run began, and is not any more") from error
