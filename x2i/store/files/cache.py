"""A bounded folder of local copies of files on a store, shared by every process of a machine.

A copy is fetched once, under a lock, under a temporary name, and renamed when it has all its bytes. To make room, the
copies with the oldest modification time are deleted, except those that a process has open (`ranges.open_in_use`) and
those that were promised to a caller a short while ago (`FileCache.local_copy`, which dates them into the future).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from x2i.errors import UserError
from x2i.store.files.remote import file_version, is_remote
from x2i.store.files.retry import RequestError, with_retries

CACHE_FOLDER = "X2I_CACHE"
CACHE_GIGABYTES = "X2I_CACHE_GB"
DEFAULT_CACHE_GIGABYTES = 20.0
PROMISED_SECONDS = 600.0
"""For so long a copy that `local_copy` returned is not deleted: its caller may be about to open it."""
PART = ".part"
WRITE_BUFFER = 2**20  # bytes; large writes lie in large pieces in the page cache, from which reads are quicker


@dataclass(frozen=True)
class StoredFile:
    """A file on a store. size: in bytes. version: what its store tells versions apart by, "" where it tells nothing."""

    path: Path
    size: int
    version: str = ""


def cache_folder() -> Path:
    """Returns the folder of this user's local copies: X2I_CACHE, or one in the folder for temporary files."""
    folder = Path(os.environ.get(CACHE_FOLDER) or Path(tempfile.gettempdir()) / f"x2i-cache-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def machine_cache() -> FileCache:
    """Returns the cache that all commands of this user share: `cache_folder`, of at most X2I_CACHE_GB gigabytes."""
    return FileCache(cache_folder(), int(float(os.environ.get(CACHE_GIGABYTES) or DEFAULT_CACHE_GIGABYTES) * 1e9))


def local_copy(path: Path) -> Path:
    """Returns a local file with the bytes of `path`: itself, or its copy in the machine's cache, fetched if need be.

    Raises FileNotFoundError, and UserError if the store does not give the file.
    """
    return machine_cache().local_copy(_present_version(path)) if is_remote(path) else path


def cached_copy(path: Path) -> Path | None:
    """Returns the copy of the present version of a file on a store if the machine's cache has it."""
    copy = machine_cache().path_of(_present_version(path))
    return copy if copy.exists() else None


@contextmanager
def stored_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a local file for writing; if the block succeeds it is put at `path` on its store, and kept in the cache.

    An upload appears whole or not at all: stores promise that.
    """
    cache = machine_cache()
    written = _scratch_name(cache.folder / path.name)
    try:
        with open(written, "wb", WRITE_BUFFER) as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)  # whoever makes room leaves it alone
            yield stream
            stream.flush()
            store: Any = path
            store.fs.put_file(str(written), str(store.path))
            os.replace(written, cache.path_of(_present_version(path)))
        cache.make_room(0)
    finally:
        written.unlink(missing_ok=True)


@dataclass(frozen=True)
class FileCache:
    """Copies in `folder`, of at most `limit` bytes together, those on their way included."""

    folder: Path
    limit: int

    def path_of(self, file: StoredFile) -> Path:
        """Returns where the copy of `file` belongs; another version of it belongs elsewhere."""
        name = hashlib.sha256(f"{file.path}\n{file.size}\n{file.version}".encode()).hexdigest()[:32]
        return self.folder / f"{name}{file.path.suffix}"

    def local_copy(self, file: StoredFile) -> Path:
        """Returns the copy of `file`, fetched if it is not there; it is not deleted for PROMISED_SECONDS.

        Where everything else is in use, the cache outgrows its limit for it. Raises UserError as `fetch` does.
        """
        copy = self.fetch(file, beyond_limit=True)
        assert copy is not None
        until = time.time() + PROMISED_SECONDS
        try:
            os.utime(copy, (until, until))
        except FileNotFoundError:  # deleted between the two lines, by a process whose own limit is smaller
            return self.local_copy(file)
        return copy

    def fetch(self, file: StoredFile, wait: bool = True, beyond_limit: bool = False) -> Path | None:
        """Returns the copy of `file`, fetching it if it is not there.

        None if there is no room for it beside the copies in use (unless `beyond_limit`), or, unless `wait`, if another
        process is fetching it. Raises UserError if the store does not give the file, or gives less of it than it
        promised, or if the folder of the cache cannot be written to.
        """
        try:
            return self._fetch(file, wait, beyond_limit)
        except OSError as error:
            raise UserError(f"{self.folder}: the cache cannot be used: {error}. Give it another folder") from error

    def _fetch(self, file: StoredFile, wait: bool, beyond_limit: bool) -> Path | None:
        copy = self.path_of(file)
        if copy.exists():
            return copy
        with self._locked(copy.name, wait) as held:
            if not held:
                return None
            if copy.exists():
                return copy
            part = self.folder / f"{copy.stem}.{file.size}{copy.suffix}{PART}"
            part.unlink(missing_ok=True)
            if not self.make_room(file.size, part, beyond_limit):
                return None
            try:
                with_retries(lambda: _download(file, part), "could not be fetched")
                os.replace(part, copy)
            finally:
                part.unlink(missing_ok=True)
        return copy

    def make_once(self, name: str, make: Callable[[], bytes]) -> Path:
        """Returns the small file `name` of the cache; what `make` gives is written there if it is not there yet."""
        path = self.folder / name
        with self._locked(name, wait=True):
            if not path.exists():
                written = _scratch_name(path)
                written.write_bytes(make())
                os.replace(written, path)
        return path

    def make_room(self, size: int, part: Path | None = None, beyond_limit: bool = False) -> bool:
        """Deletes the oldest copies until `size` more bytes fit; returns whether they do, or `beyond_limit`.

        part: is made, as the mark that the bytes are spoken for.
        """
        with self._locked("room", wait=True):
            self._remove_abandoned()
            kept = sorted(self._copies())
            room = self.limit - sum(count for _, count, _ in kept) - self._reserved()
            now = time.time()
            for used, count, path in kept:
                if room >= size or used > now:
                    break
                if _delete_unused(path):
                    room += count
            fits = room >= size or beyond_limit
            if part is not None and fits:
                part.touch()
            return fits

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        for entry in os.scandir(self.folder):
            if not entry.name.endswith(PART):
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file():
                        state = entry.stat()
                        yield state.st_mtime, state.st_size, Path(entry.path)

    def _reserved(self) -> int:
        return sum(int(part.name.split(".")[1]) for part in self.folder.glob(f"*{PART}"))

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


def _present_version(path: Path) -> StoredFile:
    state = file_version(path)
    if state is None:
        raise FileNotFoundError(path)
    return StoredFile(path, *state)


def _scratch_name(path: Path) -> Path:
    return path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


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
    try:
        store.fs.get_file(str(store.path), str(target))
    except Exception as error:  # every fsspec library raises its own kinds, and they are told
        raise RequestError(file.path, error) from error
    found = target.stat().st_size
    if found != file.size:
        cut = f"{found} bytes arrived of {file.size}: the download was cut short, or the file was replaced"
        raise RequestError(file.path, cut)
