"""Worker processes of this machine, forked by multiprocessing's fork server, which has imported what they need."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import connection, forkserver, resource_tracker
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType

from pipelines.engine.executors.pool import TRIES, WorkerDiedError
from pipelines.engine.partition import Batch, PartitionRunner, Result
from x2i.errors import RunError

_ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""what numpy's BLAS, torch and OpenMP read. As many processes as cores, each with threads for all cores, would wait for
each other; Ray sets it for its workers too.
"""


def start_fork_server(modules: Sequence[str] = ()) -> None:
    """Starts the process that workers are forked from, unless it runs. It imports `modules` while this one goes on.

    It ends with this process.
    """
    # pandas, where it is installed, is imported with pyarrow's first array: once for all workers is enough
    multiprocessing.set_forkserver_preload([__name__, "pandas", *modules])
    resource_tracker.ensure_running()  # would unblock the signal below
    environment = dict(os.environ)
    # Ctrl-C goes to every process of a terminal. The driver ends its workers itself, without their tracebacks.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        os.environ.update(_ONE_THREAD | environment)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(environment)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


class ProcessPool:
    """A `WorkerPool` of processes. They end when this process ends, whatever ends it.

    devices: CUDA_VISIBLE_DEVICES of each worker that may run at once; None leaves it as it is.
    """

    def __init__(self, root: Path, stages: bytes, devices: Sequence[str] | None = None) -> None:
        self._root = str(root)
        self._stages = stages
        self._devices = None if devices is None else list(devices)

    def start(self) -> ProcessWorker:
        """Raises RunError if no process can be started."""
        device = self._devices.pop(0) if self._devices is not None else None
        environment = {**_ONE_THREAD, **os.environ, **({} if device is None else {"CUDA_VISIBLE_DEVICES": device})}
        ours, theirs = multiprocessing.Pipe()
        with theirs:
            _start_process((theirs, environment, self._root, self._stages))
        return ProcessWorker(ours, device)

    def wait(self, workers: Sequence[ProcessWorker]) -> ProcessWorker:
        by_connection = {worker.connection: worker for worker in workers}
        return by_connection[connection.wait(list(by_connection))[0]]  # type: ignore[index]

    def kill(self, worker: ProcessWorker) -> None:
        worker.connection.close()
        if self._devices is not None and worker.device is not None:
            self._devices.append(worker.device)


class ProcessWorker:
    """A worker process, as its driver sees it: a connection. Closing that ends it at once."""

    def __init__(self, connection: connection.Connection, device: str | None) -> None:
        self.connection = connection
        self.device = device

    def submit(self, batch: Batch) -> None:
        try:
            self.connection.send(batch)
        except OSError:
            return  # it has died: there will be no result, which says so

    def result(self) -> list[Result] | None:
        try:
            results: list[Result] | None = self.connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError("it ends at once") from error
        return results


class _Process(ForkServerProcess):
    """A process that does not import the user's script, which multiprocessing's own would run once more."""

    def start(self) -> None:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = script


def _start_process(arguments: tuple[connection.Connection, dict[str, str], str, bytes]) -> None:
    error: Exception = RuntimeError()
    for _ in range(TRIES):
        try:
            start_fork_server()
            _Process(target=_run_items, args=arguments, daemon=True).start()
            return
        except (OSError, EOFError) as found:  # the fork server has died: the next turn starts another
            error = found
    raise RunError(f"no worker process can be started ({error!r}): --executor inline needs none") from error


def _run_items(driver: connection.Connection, environment: dict[str, str], root: str, stages: bytes) -> None:
    """What a worker process does: batches in, results out, until the driver closes the connection."""
    os.dup2(2, 1)  # stdout belongs to what the command itself prints, such as --json
    os.environ.clear()  # the fork server's, which may have been started long ago
    os.environ.update(environment)
    threading.Thread(target=_exit_with_driver, args=(driver,), daemon=True).start()
    runner = PartitionRunner(root, stages)
    with suppress(EOFError, OSError):  # the driver has closed the connection
        driver.send(None)
        while True:
            driver.send(runner.run(driver.recv()))


def _exit_with_driver(driver: connection.Connection) -> None:
    """Ends this process when the driver has closed the connection or is gone, in the midst of a partition too."""
    poll = select.poll()
    poll.register(driver.fileno(), 0)  # POLLHUP is reported without being asked for
    poll.poll()
    os._exit(1)
