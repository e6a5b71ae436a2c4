"""A lock on a run's folder: a second run is kept out as long as the first one lives."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnigen.train.parallel import Ranks
from x2i.errors import UserError

# Errors of file systems without such locks: there a second run is not kept out.
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)


@contextmanager
def lock_run_folder(run: Path, ranks: Ranks) -> Iterator[None]:
    """Makes the folder of a run and locks it for this process; the lock ends with the process.

    Raises UserError, on every rank, if the folder cannot be made or another process trains in it.
    """
    descriptor, problem = _lock(run) if ranks.is_main else (None, "")
    try:
        if problems := [each for each in ranks.gather([problem]) if each]:
            raise UserError(f"{run}: {problems[0]}")
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(run: Path) -> tuple[int | None, str]:
    """Returns the folder, open and locked, or why it is not."""
    try:
        run.mkdir(parents=True, exist_ok=True)
        if not os.access(run, os.W_OK):
            return None, "may not be written; give another folder with --out"
        descriptor = os.open(run, os.O_RDONLY)
    except OSError as error:
        return None, f"{error.strerror or error}; give another folder with --out"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None, "another process trains in this folder; wait for it, or give another folder with --out"
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            os.close(descriptor)
            return None, f"cannot be locked: {error.strerror}"
    return descriptor, ""
