"""Limits per host, shared by all processes of this user on this machine through one small file."""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from io import FileIO
from pathlib import Path

from x2i.errors import UserError
from x2i.seeding import stable_hash

MOST_PER_HOST = 4096
LONGEST_PAUSE = 3600.0
"""Seconds. What lies further in the future than this is damage, or from before the machine started: it is forgotten."""

_HOSTS = 1 << 18
_ENTRY = struct.Struct("dddd")
_NUMBER = struct.Struct("d")
_DELAY_REMEMBERED = 60.0
_ENTRY_LOCKS = 1 << 48
_FLOCK = struct.Struct("hhqqi4x")
_BUSY = 0.001


@dataclass(frozen=True, slots=True)
class _Entry:
    """What all processes know of a host: when a request started last, until when none may, and the delay asked for."""

    last_start: float = 0.0
    paused_until: float = 0.0
    delay: float = 0.0
    delay_until: float = 0.0

    def shared_delay(self, now: float) -> float:
        return self.delay if now < self.delay_until else 0.0

    def wait(self, delay: float, now: float) -> float:
        distance = max(delay, self.shared_delay(now))
        return max(0.0, self.paused_until - now, self.last_start + distance - now if distance else 0.0)

    def is_sound(self, now: float) -> bool:
        """Whether this can have been written since the machine started, whose clock then began anew."""
        latest = now + 2 * LONGEST_PAUSE
        return self.last_start <= now and self.paused_until <= latest and self.delay_until <= latest


class HostRateLimiter:
    """Counts the requests to each host that are under way, and when the next may start, over all processes.

    A slot is a byte of the file, locked by its holder; the kernel unlocks it when that process dies. Times are on the
    monotonic clock, which all processes of a machine share. Hosts are told apart by a hash of 18 bits; two that collide
    share their slots and delays, which only slows the crawl.

    The file lies in `folder`, by default a folder of this user beneath the system's temporary one. No call waits or
    blocks: what is not free is refused, and the caller tries again. A lock belongs to the object that took it, not to
    its process, so several objects in one process count as well.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = _open_table(folder or default_folder())
        self._table = mmap.mmap(self._file.fileno(), _HOSTS * _ENTRY.size)
        self._held: set[int] = set()
        self._first = os.getpid()  # where the search for a free slot begins: elsewhere in each process

    def acquire(self, origin: str, per_host: int) -> int | None:
        """Returns one of the `per_host` slots at `origin`, to be released, or None if all are taken."""
        base, count = _bucket(origin) * MOST_PER_HOST, min(per_host, MOST_PER_HOST)
        for step in range(count):
            slot = base + (self._first + step) % count
            if slot not in self._held and self._lock(slot):
                self._held.add(slot)
                return slot
        return None

    def release(self, slot: int) -> None:
        """Frees a slot that `acquire` returned."""
        self._held.discard(slot)
        self._unlock(slot)

    def wait_seconds(self, origin: str, delay: float) -> float:
        """Returns how long no request to `origin` may start; 0 if one may now."""
        return self._read(_bucket(origin)).wait(delay, time.monotonic())

    def start(self, origin: str, delay: float) -> float:
        """Registers the start of a request, at least `delay` seconds after the last one that anybody started.

        Returns 0, or the seconds to wait before asking again. Between processes that ask for other delays at the same
        host, the longest counts, as long as it was asked for in the last minute.
        """
        bucket = _bucket(origin)
        if not delay and self._is_free(bucket):
            return 0.0
        if not self._lock(_ENTRY_LOCKS + bucket):
            return _BUSY
        try:
            entry, now = self._read(bucket), time.monotonic()
            if delay and delay >= entry.shared_delay(now):
                entry = replace(entry, delay=delay, delay_until=now + max(_DELAY_REMEMBERED, 2 * delay))
            wait = entry.wait(delay, now)
            self._write(bucket, entry if wait else replace(entry, last_start=now))
            return wait
        finally:
            self._unlock(_ENTRY_LOCKS + bucket)

    def _is_free(self, bucket: int) -> bool:
        """Whether no process asks for a delay at a host; if so, registers that a request starts there now.

        One aligned number is written atomically, so this needs no lock; a process that has just asked for a delay sees
        it.
        """
        now = time.monotonic()
        entry = self._read(bucket)
        if entry.shared_delay(now) or entry.paused_until > now:
            return False
        _NUMBER.pack_into(self._table, bucket * _ENTRY.size, now)
        return True

    def mark_sent(self, origin: str) -> bool:
        """Counts the delay from now on, since the request has only now left. False: busy, ask again."""
        return self._change(origin, lambda entry, now: replace(entry, last_start=now))

    def pause(self, origin: str, seconds: float) -> bool:
        """Lets no request to `origin` start for `seconds`. False: busy, ask again."""
        seconds = min(seconds, LONGEST_PAUSE)
        return self._change(
            origin, lambda entry, now: replace(entry, paused_until=max(entry.paused_until, now + seconds))
        )

    def close(self) -> None:
        """Releases every slot."""
        self._table.close()
        self._file.close()

    def _change(self, origin: str, change: Callable[[_Entry, float], _Entry]) -> bool:
        bucket = _bucket(origin)
        if not self._lock(_ENTRY_LOCKS + bucket):
            return False
        try:
            self._write(bucket, change(self._read(bucket), time.monotonic()))
            return True
        finally:
            self._unlock(_ENTRY_LOCKS + bucket)

    def _read(self, bucket: int) -> _Entry:
        entry = _Entry(*_ENTRY.unpack_from(self._table, bucket * _ENTRY.size))
        return entry if entry.is_sound(time.monotonic()) else _Entry()

    def _write(self, bucket: int, entry: _Entry) -> None:
        packed = _ENTRY.pack(entry.last_start, entry.paused_until, entry.delay, entry.delay_until)
        self._table[bucket * _ENTRY.size : (bucket + 1) * _ENTRY.size] = packed

    def _lock(self, offset: int) -> bool:
        try:
            _set_lock(self._file.fileno(), fcntl.F_WRLCK, offset)
        except BlockingIOError:
            return False
        except PermissionError:  # what some systems say for a lock that another holds
            return False
        return True

    def _unlock(self, offset: int) -> None:
        _set_lock(self._file.fileno(), fcntl.F_UNLCK, offset)


def default_folder() -> Path:
    """Returns the folder that all crawls of this user on this machine share."""
    return Path(tempfile.gettempdir()) / f"x2i-{os.getuid()}"


@lru_cache(maxsize=4096)
def _bucket(origin: str) -> int:
    return stable_hash("host", origin) % _HOSTS


def _open_table(folder: Path) -> FileIO:
    """Opens the shared file, making it first if there is none; the holes in it take no room on the disk."""
    path = folder / "hosts.limits"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} is not this user's own folder")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        file = FileIO(descriptor, "r+")
        if os.fstat(descriptor).st_size < _HOSTS * _ENTRY.size:
            os.ftruncate(descriptor, _HOSTS * _ENTRY.size)
        return file
    except OSError as error:
        raise UserError(
            f"cannot keep the limits per host in {path}: {error}. Set TMPDIR to a folder that you can write to."
        ) from error


def _set_lock(descriptor: int, kind: int, offset: int) -> None:
    """Locks or unlocks one byte, without waiting."""
    if sys.platform == "linux":
        # Locks of the open file, not of the process: they neither merge nor vanish with another object's file.
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0))
    else:
        operation = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(descriptor, operation, 1, offset)
