"""Locks on a dataset: each stage holds its own, and a command that rewrites files of all stages holds them all out."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from x2i.errors import UserError
from x2i.store.files.cache import cache_folder
from x2i.store.files.remote import is_remote

WHOLE = "dataset"


def lock_file(root: Path, name: str) -> Path:
    """Returns the local file whose lock guards `name` in the dataset at `root`: in it, or here if it is on a store."""
    if not is_remote(root):
        return root / "locks" / f"{name}.lock"
    return cache_folder() / "locks" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}-{name}.lock"


@contextmanager
def shared_lock(root: Path) -> Iterator[None]:
    """Keeps commands that rewrite the whole dataset out; any number of stages may hold this together.

    Raises UserError if such a command is running.
    """
    with _lock(root, WHOLE, fcntl.LOCK_SH, "a takedown is running on this dataset: wait for it"):
        yield


@contextmanager
def exclusive_lock(root: Path, name: str, busy: str) -> Iterator[None]:
    """Holds `name`, a stage or WHOLE, alone. Raises UserError saying `busy` if someone else holds it."""
    with _lock(root, name, fcntl.LOCK_EX, busy):
        yield


@contextmanager
def _lock(root: Path, name: str, kind: int, busy: str) -> Iterator[None]:
    path = lock_file(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"{root}: {busy}") from error
        yield
    finally:
        os.close(descriptor)
