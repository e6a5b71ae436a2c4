"""The process that worker processes are forked from: it has imported what they need, and no threads that would be lost.

multiprocessing has one too, which imports the user's own script anew in every worker, keeps a socket in the temporary
folder, whose path may be too long for one, and prints a traceback at Ctrl-C.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from x2i.errors import UserError

_FOR_CRAWLS = (
    "pipelines.stages.crawl.worker",
    "pipelines.stages.crawl.stage",
    "pipelines.stages.crawl.incremental",
    "PIL.Image",
    "simplejpeg",
)
_WORKER = "pipelines.engine.executors.processes"
_LARGE_TABLE = 64 * 1024
"""Bytes of a table whose crawl probably has work for several processes."""
_NO_WORKERS = ("inline", "ray", "--dry-run", "--help")
_ONE_THREAD = "OMP_NUM_THREADS"
"""What numpy's BLAS, torch and OpenMP heed. As many processes as cores, each with threads for all cores, would wait for
each other; Ray sets it for its workers too.
"""
_READY = b"+"
_PATIENCE = 120.0
"""Seconds in which a worker has to say that it is there, the server's imports included."""
_STARTS = 3

_server: tuple[subprocess.Popen[bytes], socket.socket] | None = None
_lock = threading.Lock()


def start(modules: Sequence[str] = ()) -> socket.socket:
    """Starts the server, unless it runs, and has it import `modules` while this process goes on.

    Returns the socket on which it takes orders; it ends when that is closed, and so when this process ends.
    """
    global _server
    if _server is not None and _server[0].poll() is None:
        return _server[1]
    stop()
    ours, its = socket.socketpair()
    code = f"import sys; sys.path[:] = {sys.path!r}; from pipelines.engine.executors import fork_server; "
    code += f"fork_server.serve({its.fileno()}, {[*modules, _WORKER]!r})"
    # Ctrl-C goes to every process of a terminal: of this one it is the end, of the server and its workers it is not.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=2,  # stdout belongs to what the command itself prints, such as --json
            pass_fds=[its.fileno()],
            env={_ONE_THREAD: "1", **os.environ},
        )
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        its.close()
    _server = process, ours
    atexit.register(stop)
    return ours


def stop() -> None:
    """Ends the server, if there is one. Its workers go on to the end of their sockets."""
    global _server
    if _server is not None:
        process, orders = _server
        orders.close()
        process.kill()
        process.wait()
        _server = None
        atexit.unregister(stop)


def start_early(command: str, arguments: Sequence[str]) -> None:
    """Starts the server before anything else is imported, if `x2i COMMAND ARGUMENTS` will probably need it.

    Two thirds of a second pass before a crawl's first request, most of it imports; this way they happen in both
    processes at once. A wrong guess costs half a second of one core.
    """
    if command != "crawl" or any(argument.rpartition("=")[2] in _NO_WORKERS for argument in arguments):
        return
    if any(_is_large_table(argument) for argument in arguments if not argument.startswith("-")):
        with contextlib.suppress(OSError):  # whoever needs it will try again, and say what is wrong
            start(_FOR_CRAWLS)


def fork_worker() -> socket.socket:
    """Returns a connection to a new worker process (`pipelines.engine.executors.processes.work`).

    The worker ends when it is closed, whatever it is doing. Raises UserError if none can be started.
    """
    why: object = "it ends at once"
    with _lock:
        for _ in range(_STARTS):
            try:
                ours, its = socket.socketpair()
                with its:
                    socket.send_fds(start(), [b"f"], [its.fileno()])
                ours.settimeout(_PATIENCE)
                if ours.recv(1) == _READY:
                    ours.settimeout(None)
                    return ours
            except OSError as error:
                why = error
            stop()
    raise UserError(f"no worker process can be started ({why}): --executor inline does without")


def serve(orders_fd: int, modules: Sequence[str]) -> None:
    """What the server does: imports `modules`, and forks a worker for every socket that it is sent."""
    for name in modules:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    with socket.socket(fileno=orders_fd) as orders:
        while True:
            order, [*fds], _, _ = socket.recv_fds(orders, 1, 1)
            if not order:
                return
            with contextlib.suppress(OSError):  # no process is left for us: the socket is closed, which says so
                if os.fork() == 0:
                    orders.close()
                    _be_worker(fds[0])
            os.close(fds[0])


def _be_worker(fd: int) -> None:
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        from pipelines.engine.executors.processes import work

        with socket.socket(fileno=fd) as connection:
            connection.sendall(_READY)
            work(connection)
        code = 0
    finally:
        sys.stderr.flush()
        os._exit(code)


def _is_large_table(argument: str) -> bool:
    try:
        path = Path(argument)
        return path.is_file() and path.stat().st_size > _LARGE_TABLE
    except (OSError, ValueError):  # whatever it is, it is no file
        return False
