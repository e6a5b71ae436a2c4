"""Making a folder that is there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from x2i.errors import RunError, UserError
from x2i.store.files.atomic import TEMPORARY_MARK

OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


@contextmanager
def new_folder(path: Path, num_bytes: int) -> Iterator[Path]:
    """Gives a temporary folder to fill, and renames it to `path` if the block succeeds; removes it if it fails.

    The folders above it are made, and go again if the block fails. What killed writers of the same folder left is
    cleared away first. num_bytes: that will be written. Raises UserError if there is something at `path` already or
    it may not be written, RunError if the disk is full or fails.
    """
    require_free(path)
    try:
        with _parents(path), _filling(path, num_bytes) as temporary:
            yield temporary
    except OSError as error:
        kind = RunError if error.errno in OF_THE_DISK else UserError
        raise kind(f"{error.filename or path}: {error.strerror or error}; nothing was written to {path}") from error


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Makes the folders above `path`; if the block fails, removes those that were not there and are empty."""
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for parent in missing:
            with suppress(OSError):
                parent.rmdir()
        raise


@contextmanager
def _filling(path: Path, num_bytes: int) -> Iterator[Path]:
    _clear_stale(path)
    room = shutil.disk_usage(path.parent).free
    if room < num_bytes:
        raise RunError(f"{path}: {num_bytes / 1e9:.2f} GB are to be written, the disk has room for {room / 1e9:.2f}")
    temporary = path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}-{secrets.token_hex(4)}")
    temporary.mkdir()
    # Held as long as this process lives: how another one knows that the folder is in use.
    lock = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary
        os.fsync(lock)
        _rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary)
        raise
    finally:
        os.close(lock)


def require_free(path: Path) -> None:
    """Raises UserError unless `path` is free for a new folder: nothing, or an empty folder."""
    try:
        if path.is_symlink():
            raise UserError(f"{path}: a symbolic link, which is not written through; give the folder itself")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path}: exists already; give a new folder, or remove this one")
        # A rename puts the new folder in the place of the old; whoever stands in the old one would be nowhere.
        if path.name in ("", "..") or (path.exists() and path.samefile(Path.cwd())):
            raise UserError(f"{path}: the folder that this runs in cannot be replaced; give a new folder in it")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give another folder") from error


def _rename(temporary: Path, path: Path) -> None:
    os.replace(temporary, path)
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def _clear_stale(path: Path) -> None:
    for old in path.parent.glob(f"{glob.escape(path.name)}{TEMPORARY_MARK}*"):
        if not old.is_dir():
            continue
        lock = os.open(old, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            shutil.rmtree(old)
        finally:
            os.close(lock)
