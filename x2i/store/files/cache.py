"""A bounded folder of local copies of files on a store, shared by every process of a machine.

A copy is fetched once, under a lock, under a temporary name, and renamed when it has all its bytes. To make room, the
copies that were longest not opened are deleted, never one that somebody has open (`reading.open_in_use`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from x2i.errors import UserError
from x2i.store.files.atomic import write_bytes
from x2i.store.files.ranges import ATTEMPTS, FIRST_PAUSE

PART = ".part"


@dataclass(frozen=True)
class StoredFile:
    """A file on a store. size: in bytes. version: what its store tells versions apart by, "" where it tells nothing."""

    path: Path
    size: int
    version: str = ""


@dataclass(frozen=True)
class FileCache:
    """Copies in `folder`, of at most `limit` bytes together, those on their way included."""

    folder: Path
    limit: int

    def place(self, file: StoredFile) -> Path:
        """Returns where the copy of `file` belongs; another version of it belongs elsewhere."""
        name = hashlib.sha256(f"{file.path}\n{file.size}\n{file.version}".encode()).hexdigest()[:32]
        return self.folder / f"{name}{file.path.suffix}"

    def fetch(self, file: StoredFile, wait: bool = True) -> Path | None:
        """Returns the copy of `file`, fetching it if it is not there.

        None if there is no room for it beside the copies in use, or, unless `wait`, if another process is fetching it.
        Raises UserError if the store does not give the file, or gives less of it than it promised, or if the folder of
        the cache cannot be written to.
        """
        try:
            return self._fetch(file, wait)
        except OSError as error:
            raise UserError(f"{self.folder}: the cache cannot be used: {error}. Give it another folder") from error

    def _fetch(self, file: StoredFile, wait: bool) -> Path | None:
        place = self.place(file)
        if place.exists():
            return place
        with self._locked(place.name, wait) as held:
            if not held:
                return None
            if place.exists():
                return place
            part = self.folder / f"{place.stem}.{file.size}{place.suffix}{PART}"
            part.unlink(missing_ok=True)
            if not self._reserve(part, file.size):
                return None
            try:
                _download(file, part)
                os.replace(part, place)
            finally:
                part.unlink(missing_ok=True)
        return place

    def made(self, name: str, make: Callable[[], bytes]) -> Path:
        """Returns the small file `name` of the cache; what `make` gives is written there if it is not there yet."""
        place = self.folder / name
        with self._locked(name, wait=True):
            if not place.exists():
                write_bytes(place, make())
        return place

    def _reserve(self, part: Path, size: int) -> bool:
        """Makes room for `size` bytes and leaves `part` as the mark that they are spoken for."""
        with self._locked("room", wait=True):
            self._remove_abandoned()
            kept = sorted(self._copies())
            room = self.limit - sum(count for _, count, _ in kept) - self._reserved()
            for _, count, path in kept:
                if room >= size:
                    break
                if _delete_unused(path):
                    room += count
            if room < size:
                return False
            part.touch()
            return True

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        for entry in os.scandir(self.folder):
            if entry.is_file() and not entry.name.endswith(PART):
                with contextlib.suppress(FileNotFoundError):
                    state = entry.stat()
                    yield state.st_mtime, state.st_size, Path(entry.path)

    def _reserved(self) -> int:
        return sum(int(path.name.split(".")[1]) for path in self.folder.glob(f"*{PART}"))

    def _remove_abandoned(self) -> None:
        """Deletes what processes that were killed left half fetched."""
        for part in self.folder.glob(f"*{PART}"):
            stem, _, *suffix = part.name.removesuffix(PART).split(".")
            with self._locked(".".join([stem, *suffix]), wait=False) as held:
                if held:
                    part.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, name: str, wait: bool) -> Iterator[bool]:
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(locks / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                held = True
            except BlockingIOError:
                held = False
            yield held
        finally:
            os.close(descriptor)


def _delete_unused(copy: Path) -> bool:
    try:
        descriptor = os.open(copy, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        copy.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _download(file: StoredFile, target: Path) -> None:
    store: Any = file.path
    problem: object = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
        try:
            store.fs.get_file(str(store.path), str(target))
        except (FileNotFoundError, PermissionError) as error:
            raise UserError(f"{file.path}: could not be fetched: {error!r}") from error
        except Exception as error:  # noqa: BLE001 - every fsspec library raises its own kinds, and they are told
            problem = repr(error)
            continue
        found = target.stat().st_size
        if found == file.size:
            return
        problem = f"{found} bytes arrived of {file.size}: the download was cut short, or the file was replaced"
    raise UserError(f"{file.path}: could not be fetched, {ATTEMPTS} attempts: {problem}")
