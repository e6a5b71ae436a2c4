"""The process that worker processes are forked from: it has imported what they need, and has no threads to lose."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

_FOR_CRAWLS = ("pipelines.crawl_worker", "pipelines.crawl_stage", "pipelines.generations", "PIL.Image", "simplejpeg")
_LARGE_TABLE = 64 * 1024
"""Bytes of a table whose crawl probably has work for several processes."""
_NO_WORKERS = ("inline", "ray", "--dry-run", "--help")
_ONE_THREAD = "OMP_NUM_THREADS"
"""What numpy's BLAS, torch and OpenMP heed. As many processes as cores, each with threads for all cores, would wait for
each other; Ray sets it for its workers too.
"""


def start(modules: Sequence[str] = ("__main__",)) -> None:
    """Starts the server, unless it runs, and has it import `modules` while this process goes on."""
    from multiprocessing import forkserver

    forkserver.set_forkserver_preload([*modules])
    threads = os.environ.get(_ONE_THREAD)
    # Ctrl-C goes to every process of a terminal: of this one, not of its server, it is the end.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        os.environ.setdefault(_ONE_THREAD, "1")
        forkserver.ensure_running()
    finally:
        if threads is None:
            del os.environ[_ONE_THREAD]
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def start_early(command: str, arguments: Sequence[str]) -> None:
    """Starts the server before anything else is imported, if `x2i COMMAND ARGUMENTS` will probably need it.

    Two thirds of a second pass before a crawl's first request, most of it imports; this way they happen in both
    processes at once. A wrong guess costs half a second of one core.
    """
    if command != "crawl" or any(argument.rpartition("=")[2] in _NO_WORKERS for argument in arguments):
        return
    if any(_is_large_table(argument) for argument in arguments if not argument.startswith("-")):
        start(_FOR_CRAWLS)


def _is_large_table(argument: str) -> bool:
    try:
        path = Path(argument)
        return path.is_file() and path.stat().st_size > _LARGE_TABLE
    except (OSError, ValueError):  # whatever it is, it is no file
        return False
